"""`textcl report`: one page that shows what training did, with every number's protocol beside it.

`write_report` reads run and sweep folders (`runs`), encodes texts with the models before and after training (`texts`,
`models`), and fills the sections (`scores`, `training`, `space`, …) of a page (`page`) that opens without a network.
What cannot be shown is left out with one sentence that says why.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from textcl.data.arguments import checked_arguments
from textcl.data.files import write_text
from textcl.errors import RunError, UserError
from textcl.evaluation.tasks import load_task, task_names
from textcl.figures.charts import altair, vl_convert
from textcl.figures.files import save
from textcl.probe.maps import has_umap
from textcl.probe.numbers import Space
from textcl.probe.texts import ProbeData
from textcl.report import classes, provenance, scores, space, training
from textcl.report.atlas import write_atlas
from textcl.report.models import POINTS, Model, models_of, stages
from textcl.report.page import Document, Tile
from textcl.report.runs import RunRecord, open_all
from textcl.report.sweeps import sweep_section
from textcl.report.texts import shown_texts
from textcl.versions import versions


@dataclass(frozen=True)
class ReportOptions:
    """Contents of a report beyond its run folders.

    Args:
        data: Texts that the space is shown on; the dev set of the first run when None.
        columns: Role to column name of `data`.
        split: Split of `data`.
        suites: Benchmarks that the models are scored on.
        beside: Published rows that stand beside, as of `textcl eval --beside`.
        maps: "pca", "umap" or both; PCA, and UMAP where it is installed, when empty.
        points: Most points of a map.
        seed: Of everything that is drawn.
    """

    data: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    split: str | None = None
    suites: Sequence[str] = ()
    beside: Sequence[str] = ()
    maps: Sequence[str] = ()
    points: int = POINTS
    seed: int = 0


@checked_arguments
def write_report(
    paths: Sequence[Path],
    output: Path,
    options: ReportOptions | None = None,
    *,
    figures: Path | None = None,
    atlas: Path | None = None,
    log: Callable[[str], object] = lambda text: None,
) -> list[str]:
    """Write the report of runs and sweeps.

    Args:
        paths: Run folders and sweep folders.
        output: HTML file to make or replace.
        options: What it shows.
        figures: Folder for a PNG and an SVG of every figure.
        atlas: Parquet file for embedding-atlas, of the first run's model.
        log: Called with a line on what is being done.

    Returns:
        The names of the figures.

    Raises:
        UserError: If a folder is no run, a benchmark or data that was asked for is not there, or an extra is missing.
    """
    options = options or ReportOptions()
    altair()  # a missing extra ends the command before any work
    vl_convert()
    if "umap" in options.maps and not has_umap():
        raise UserError(
            "a UMAP needs umap-learn, which is not installed: pip install 'textcl-train[umap]'"
        )
    runs, sweeps = open_all(paths)
    if atlas and not runs:
        raise UserError("--atlas shows the texts of a run, and only sweeps are given: name a run")
    tasks = [load_task(name) for name in task_names(list(options.suites))] if options.suites else []
    names = ", ".join([run.label for run in runs] + [sweep.label for sweep in sweeps])
    page = Document(f"Report of {names}", _lead(runs, len(sweeps)))
    models, data = _space(page, runs, options, log)
    if models:
        _tiles(page, runs, models)
    if runs:
        scores.results_section(page, runs, options.beside)
        if tasks:
            model = runs[0].facts.common.model
            scores.suite_section(page, stages(runs), tasks, options.beside, model, log)
    for sweep in sweeps:
        sweep_section(page, sweep)
    if runs:
        training.training_section(page, runs)
        training.push_section(page, runs)
        _shape(page, runs, models, data, options)
        provenance.data_section(page, runs)
    own = {"command": " ".join(["textcl", *sys.argv[1:]]), "seed": options.seed, **versions()}
    provenance.settings_section(page, runs, own)
    write_text(output, page.render())
    if figures:
        _write_figures(page, figures, log)
    if atlas:
        _write_atlas(models, data, atlas, options.seed, log)
    return [figure.name for figure in page.figures]


def _lead(runs: Sequence[RunRecord], sweeps: int) -> str:
    parts: list[str] = []
    for run in runs[:4]:
        common, recipe = run.facts.common, run.facts.recipe_name
        cut = f", first {common.num_layers} layers" if common.num_layers else ""
        parts.append(
            f"{recipe} on {Path(common.model).name}{cut}: {run.steps:,} updates of {common.batch_size} rows, "
            f"seed {common.seed}"
        )
    if len(runs) > 4:
        parts.append(f"{len(runs) - 4} more runs")
    if sweeps:
        parts.append(f"{sweeps} sweep{'s' * (sweeps > 1)}")
    return "; ".join(parts) + "."


def _space(
    page: Document, runs: Sequence[RunRecord], options: ReportOptions, log: Callable[[str], object]
) -> tuple[list[Model], ProbeData | str]:
    """The models on their texts, or why there are none; models that are left out are listed in `left_out`."""
    if not runs:
        return [], "no run was given"
    try:
        data = shown_texts(runs[0], options.data, options.columns, options.split, options.seed)
    except (UserError, RunError) as error:
        if options.data:
            raise
        return [], str(error)
    models, page.left_out = models_of(stages(runs), data, log)
    return models, data


def _tiles(page: Document, runs: Sequence[RunRecord], models: Sequence[Model]) -> None:
    """Key numbers of a single run, before and after."""
    if len(runs) != 1:
        return
    scored = runs[0].scores
    tiles: list[Tile] = []
    if scored.before is not None and scored.best is not None:
        words = Path((runs[0].protocol or "").split(",")[0]).name
        value = f"{scored.before:.2f} → {scored.best:.2f}"
        tiles.append(Tile("dev score", value, words, scored.best < scored.before))
    if len(models) == 2:
        for name, number, form, words, better in _TILES:
            before, after = (number(model.space) for model in models)
            if before is not None and after is not None:
                worse = better * (after - before) < 0
                tiles.append(Tile(name, _moved(before, after, form), words, worse))
    if tiles:
        page.tiles(tiles)


_TILES: Sequence[tuple[str, Callable[[Space], float | None], str, str, int]] = (
    ("uniformity", lambda space: space.uniformity, ".2f", "lower: spread more evenly", -1),
    ("alignment", lambda space: space.alignment, ".3f", "lower: positives closer", -1),
    ("tolerance", lambda space: space.tolerance, ".3f", "higher: classes closer", 1),
    ("mean cosine", lambda space: space.mean_cosine, ".3f", "of any two texts", 0),
    ("effective rank", lambda space: space.effective_rank, ".0f", "directions in use", 0),
)
"""Name, number, format, how to read it, and which way is better: 1 up, -1 down, 0 neither."""


def _moved(before: float, after: float, form: str) -> str:
    return f"{before:{form}} → {after:{form}}".replace("-", "−")


def _shape(
    page: Document,
    runs: Sequence[RunRecord],
    models: Sequence[Model],
    data: ProbeData | str,
    options: ReportOptions,
) -> None:
    page.section("space", "The space before and after")
    if isinstance(data, str):
        page.missing(
            f"The space, maps and neighbours are left out, there are no texts to show them on: {data}. "
            "Name some with --data."
        )
        return
    for sentence in page.left_out:
        page.missing(sentence)
    if not models:
        return
    facts = data.facts()
    what = f"{facts.texts:,} texts of {data.source}"
    if facts.sampled:
        what += f", drawn with seed {options.seed}"
    page.text(f"{what}. All models see the same texts.")
    space.space_section(page, models, data)
    kinds = options.maps or ("pca", *(("umap",) if has_umap() else ()))
    space.map_section(page, models, data, kinds, options.points, options.seed)
    if not options.maps and not has_umap():
        page.text(
            "A UMAP is drawn too where umap-learn is installed (pip install 'textcl-train[umap]').",
            "note",
        )
    space.neighbour_section(page, models, data, options.seed)
    for run in runs:
        if run.facts.classifies:
            classes.class_section(page, run, data, alone=len(runs) == 1)


def _write_figures(page: Document, folder: Path, log: Callable[[str], object]) -> None:
    if not page.figures:
        log(f"no figures were drawn, so there is no folder {folder}")
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for figure in page.figures:
            for ending in ("svg", "png"):
                save(figure.chart, folder / f"{figure.name}.{ending}")
    except BaseException:
        with suppress(OSError):  # unless something is in it
            folder.rmdir()
        raise
    log(f"{len(page.figures)} figures as PNG and SVG in {folder}")


def _write_atlas(
    models: Sequence[Model],
    data: ProbeData | str,
    path: Path,
    seed: int,
    log: Callable[[str], object],
) -> None:
    trained = [model for model in models if model.trained]
    if isinstance(data, str) or not trained:
        why = data if isinstance(data, str) else "the run has saved no weights that can be loaded"
        raise UserError(f"there is nothing for --atlas: {why}")
    how = write_atlas(trained[0], data, path, seed)
    flags = "--text text --x x --y y --neighbors neighbors"
    log(f"{path} ({how}); open it with: embedding-atlas {path} {flags}")
