"""The section on a sweep."""

from __future__ import annotations

from textcl.figures.curves import curves
from textcl.figures.space import plane
from textcl.figures.sweeps import PANELS
from textcl.report.page import Document, slug
from textcl.report.runs import SweepRecord
from textcl.sweep.curve import curve_of


def sweep_section(page: Document, sweep: SweepRecord) -> None:
    """The table of a sweep, its tests, and its curves where one number varies."""
    content, name = sweep.content, slug(sweep.label)
    page.section(f"sweep-{name}", f"Sweep {sweep.label}")
    done = sum(cell.status == "finished" for cell in content.cells)
    failed = [cell.name for cell in content.cells if cell.status == "failed"]
    if done < len(content.cells):
        page.missing(
            f"{done} of {len(content.cells)} runs are finished"
            + (f"; failed: {', '.join(failed)}." if failed else ".")
        )
    keys = list(dict.fromkeys(key for row in content.table for key in row.settings))
    page.table(
        "Mean and standard deviation (n − 1) over seeds",
        ("recipe", *keys, "seeds", "score", "sd"),
        [
            [row.recipe, *(row.settings.get(key) for key in keys), row.n, row.mean, row.sd]
            for row in content.table
        ],
    )
    if note := content.note:
        page.text(f"{note[0].upper()}{note[1:]}.", "note")
    curve = curve_of(content.table)
    if curve is None:
        page.missing("There are no curves: they need exactly one setting that varies over numbers.")
        return
    for panel in PANELS:
        means = {recipe: curve.means(panel, recipe) for recipe in curve.recipes}
        means = {recipe: line for recipe, line in means.items() if line}
        if means:
            title = f"{panel.capitalize()} by {curve.setting}"
            chart = curves(means, title, panel, form=".4~g", x=curve.setting)
            page.figure(f"sweep-{name}-{panel}", chart)
    dots = [
        {
            "uniformity": point.uniformity.mean,
            "tolerance": point.tolerance.mean,
            "name": f"{curve.setting} {point.value:g}",
            "label": f"{point.value:g}",
            "recipe": point.recipe,
            "score": point.score.mean,
            "order": point.value,
        }
        for point in curve.points
        if point.uniformity.mean is not None and point.tolerance.mean is not None
    ]
    if not dots:
        page.missing("There is no uniformity–tolerance curve: it needs probes on labelled texts.")
        return
    chart = plane(
        dots,
        x="uniformity",
        y="tolerance",
        title="Uniformity and tolerance",
        subtitle=f"left is more uniform, up is more tolerant; numbers are the {curve.setting}",
        path="recipe",
        color="recipe",
        label="label",
    )
    page.figure(f"sweep-{name}-plane", chart, "wide")
