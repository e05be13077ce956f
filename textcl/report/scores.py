"""The sections about numbers: scores with their protocol and published rows, sweeps, data, settings and versions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from textcl.errors import RunError, UserError
from textcl.evaluation.benchmarks import EncodeWith, Scores, evaluate, protocol_line
from textcl.evaluation.published import PublishedRow, published_rows
from textcl.evaluation.tasks import StsTask, manifests
from textcl.report.models import Stage
from textcl.report.page import Document
from textcl.report.runs import RunRecord

PUBLISHED = 4
"""Published rows that stand beside ours where none are asked for."""


def results_section(page: Document, runs: Sequence[RunRecord], beside: Sequence[str]) -> None:
    """Dev scores, a table for each protocol: what stands in one table may be compared."""
    page.section("results", "Results")
    protocols = list(dict.fromkeys(run.protocol for run in runs))
    for protocol in protocols:
        mine = [run for run in runs if run.protocol == protocol]
        rows = [_result(run) for run in mine]
        theirs = _published_dev(mine[0], beside) if protocol else []
        rows += [[_whose(row), None, None, None, _one(row), None, None] for row in theirs]
        page.table(
            _title(mine[0]),
            ("run", "recipe", "seed", "before", "best", "at update", "seconds"),
            rows,
            quiet=range(len(mine), len(rows)),
            note=_sources(theirs),
        )
    best = [[run.label, name, score] for run in runs for name, score in run.scores.columns.items()]
    if best:
        title = "Scores of each label column, where their mean is best"
        page.table(title, ("run", "column", "dev"), best)
    for run in runs:
        if not run.scores.finished:
            total = run.facts.common.steps
            of = f" of {total:,}" if total else ""
            page.missing(
                f"{run.label} is not finished: the report shows it as of update {run.steps:,}{of}."
            )
        if not run.protocol:
            page.missing(
                f"{run.label} has no dev set: its last weights are its best, and no score says how good."
            )
        before, best = run.scores.before, run.scores.best
        if before is not None and best is not None and best < before:
            page.missing(
                f"Training did not help {run.label} on this dev set: the model before it scores higher."
            )


def _title(run: RunRecord) -> str:
    if run.protocol is None:
        return "Runs without a dev set"
    return f"Scores on {'dev: ' if run.facts.dev else ''}{run.protocol}"


def _result(run: RunRecord) -> list[object]:
    scores, devs = run.scores, run.dev_scores()
    best = max(devs, key=lambda point: point[1], default=None) if not run.scores.finished else None
    name = run.label if run.scores.finished else f"{run.label} (unfinished)"
    return [
        name,
        run.facts.recipe_name,
        run.facts.common.seed,
        scores.before,
        best[1] if best else scores.best,
        int(best[0]) if best else scores.best_step if devs else None,
        scores.train_seconds,
    ]


def _published_dev(run: RunRecord, beside: Sequence[str]) -> list[PublishedRow]:
    """Published rows of the same dev protocol: those asked for, else those of the same model."""
    common = run.facts.common
    manifest = manifests().get(common.dev)
    if manifest is None:
        return []
    protocol = manifest.protocol.replace("{aggregation}", "all")
    return matching(protocol, [common.dev], beside, common.model)


def matching(
    protocol: str, tasks: Sequence[str], beside: Sequence[str], model: str
) -> list[PublishedRow]:
    """Published rows under one protocol, each once.

    Args:
        protocol: Such as "senteval-all".
        tasks: Tasks that the rows should have.
        beside: Words of the rows that are wanted, as of `textcl eval --beside`; when empty, rows of the same model, or
            of the backbone that most papers use.
        model: The model that a run started from.
    """
    rows = [
        row
        for words in beside
        for row in published_rows(protocol=protocol, match=words, tasks=tasks)
    ]
    if not beside:
        name = Path(model).name
        rows = published_rows(protocol=protocol, match=name, tasks=tasks)
        rows = rows or published_rows(protocol=protocol, match="bert-base-uncased", tasks=tasks)
        rows = rows[:PUBLISHED]
    return list({row.id: row for row in rows}.values())


def _whose(row: PublishedRow) -> str:
    return f"published: {row.model}, {row.backbone}, {row.supervision}"


def _one(row: PublishedRow) -> float | None:
    return next(iter(row.scores.values()), None)


def _sources(rows: Sequence[PublishedRow]) -> str:
    sources = "; ".join(dict.fromkeys(row.source for row in rows))
    return (
        f"Published rows are the papers' own, with their models, data and seeds: {sources}."
        if rows
        else ""
    )


def suite_section(
    page: Document,
    models: Sequence[Stage],
    tasks: Sequence[StsTask],
    beside: Sequence[str],
    model: str,
    log: Callable[[str], object],
) -> None:
    """Scores of every model on benchmarks, a table for each protocol."""
    page.section("benchmarks", "Benchmarks")
    scored: dict[str, Scores] = {}
    for name, _, _, load in models:
        if load is None:
            page.missing(f"{name} is left out: the run has saved no weights yet.")
            continue
        log(f"scoring {name}")
        try:
            scored[name] = evaluate(EncodeWith(load(), precision="float32"), list(tasks))
        except (UserError, RunError) as error:
            page.missing(f"{name} is left out: {error}.")
    if not scored:
        return
    one = next(iter(scored.values()))
    for protocol, names in one.by_protocol().items():
        mean = len(names) > 1
        rows: list[list[object]] = [
            [name, *(scores[task] for task in names), *([scores.mean(names)] if mean else [])]
            for name, scores in scored.items()
        ]
        theirs = matching(protocol, names, beside, model)
        for row in theirs:
            average = [row.average] if mean else []
            rows.append([_whose(row), *(row.scores.get(task) for task in names), *average])
        page.table(
            f"{protocol_line(protocol, 'all')}, float32",
            ("model", *(one.tasks[task].label for task in names), *(["average"] if mean else [])),
            rows,
            quiet=range(len(scored), len(rows)),
            note=_sources(theirs),
        )
        for note in dict.fromkeys(one.tasks[task].note for task in names):
            if note:
                page.text(note, "note")
