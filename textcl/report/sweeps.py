"""The section on a sweep."""

from __future__ import annotations

from textcl.figures.curves import curves
from textcl.figures.space import plane
from textcl.figures.sweeps import points as sweep_points
from textcl.report.page import Document, slug
from textcl.report.runs import SweepRecord


def sweep_section(page: Document, sweep: SweepRecord) -> None:
    """The table of a sweep, its tests, and its curves where one number varies."""
    content, name = sweep.content, slug(sweep.label)
    page.section(f"sweep-{name}", f"Sweep {sweep.label}")
    cells = content.get("cells", [])
    done = sum(cell["status"] == "finished" for cell in cells)
    failed = [cell["name"] for cell in cells if cell["status"] == "failed"]
    if done < len(cells):
        page.missing(
            f"{done} of {len(cells)} runs are finished"
            + (f"; failed: {', '.join(failed)}." if failed else ".")
        )
    table = content.get("table", [])
    keys = list(dict.fromkeys(key for row in table for key in row["settings"]))
    page.table(
        "Mean and standard deviation (n − 1) over seeds",
        ("recipe", *keys, "seeds", "score", "sd"),
        [
            [
                row["recipe"],
                *(row["settings"].get(key) for key in keys),
                row["n"],
                row["mean"],
                row["sd"],
            ]
            for row in table
        ],
    )
    if note := content.get("note"):
        page.text(f"{note[0].upper()}{note[1:]}.", "note")
    rows, setting = sweep_points(content)
    if not rows:
        page.missing("There are no curves: they need exactly one setting that varies over numbers.")
        return
    recipes_ = list(dict.fromkeys(row["recipe"] for row in rows))
    for key in ("score", "uniformity", "tolerance"):
        found = {
            recipe: [
                (row[setting], row[key])
                for row in rows
                if row["recipe"] == recipe and row[key] is not None
            ]
            for recipe in recipes_
        }
        found = {recipe: line for recipe, line in found.items() if line}
        if found:
            title = f"{key.capitalize()} by {setting}"
            chart = curves(found, title, key, form=".4~g", x=setting)
            page.figure(f"sweep-{name}-{key}", chart)
    both = [row for row in rows if row["uniformity"] is not None and row["tolerance"] is not None]
    if not both:
        page.missing("There is no uniformity–tolerance curve: it needs probes on labelled texts.")
        return
    dots = [
        {
            "uniformity": row["uniformity"],
            "tolerance": row["tolerance"],
            "name": f"{setting} {row[setting]:g}",
            "label": f"{row[setting]:g}",
            "recipe": row["recipe"],
            "score": row["score"],
            "order": row[setting],
        }
        for row in both
    ]
    chart = plane(
        dots,
        x="uniformity",
        y="tolerance",
        title="Uniformity and tolerance",
        subtitle=f"left is more uniform, up is more tolerant; numbers are the {setting}",
        path="recipe",
        color="recipe",
        label="label",
    )
    page.figure(f"sweep-{name}-plane", chart, "wide")
