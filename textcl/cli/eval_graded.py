"""Tables and JSON of `textcl eval` on graded pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from textcl.cli.consoles import result_table

if TYPE_CHECKING:
    from textcl.data.json_files import JsonDict
    from textcl.evaluation.benchmarks import Encodes, Scores
    from textcl.evaluation.benchmarks import Whiten as Whitened
    from textcl.evaluation.published import PublishedRow


_SHORT = {"unsupervised": "unsup", "supervised-nli": "sup on NLI", "none": "not trained"}


def published(scores: Scores, protocol: str, beside: list[str]) -> list[PublishedRow]:
    """Rows that match any of `beside`, each once."""
    from textcl.evaluation.published import published_rows

    tasks = scores.by_protocol()[protocol]
    rows = [
        row
        for words in beside
        for row in published_rows(protocol=protocol, match=words, tasks=tasks)
    ]
    return list({row.id: row for row in rows}.values())


def plain(
    model: str,
    precision: str,
    scores: Scores,
    rows: dict[str, list[PublishedRow]],
    white: Mapping[str, object] | None,
) -> JsonDict:
    """Content of --json."""
    from dataclasses import asdict

    content = {"model": model, "precision": precision, "whitening": white, **scores.to_dict()}
    if any(rows.values()):
        content["published"] = [asdict(row) for of_task in rows.values() for row in of_task]
    return content


def show_scores(
    console: Console, model: str, scores: Scores, rows: dict[str, list[PublishedRow]]
) -> None:
    """One table a protocol: what stands in one table may be compared."""
    from textcl.evaluation.benchmarks import protocol_line

    for protocol, names in scores.by_protocol().items():
        tasks, averaged = [scores.tasks[name] for name in names], len(names) > 1
        table = result_table("model")
        for label in [*(task.label for task in tasks), *(["avg"] if averaged else [])]:
            table.add_column(label, justify="right", no_wrap=True)
        table.add_row("[dim]pairs", *(f"[dim]{task.pairs:,}" for task in tasks))
        average = [scores.mean(names)] if averaged else []
        ours = map(_number, [*(scores[name] for name in names), *average])
        table.add_row(f"[bold]{escape(model)}", *ours, end_section=True)
        for row in rows[protocol]:
            average = [row.average] if averaged else []
            theirs = map(_number, [*(row.scores.get(name) for name in names), *average])
            table.add_row(
                escape(f"{row.model}, {_SHORT.get(row.supervision, row.supervision)}"), *theirs
            )
        console.print(table)
        notes = dict.fromkeys(task.note for task in tasks if task.note)
        sources = ["the sources of the published rows are in --json"] if rows[protocol] else []
        for line in (protocol_line(protocol, scores.aggregation), *notes, *sources):
            console.print(line, soft_wrap=True, highlight=False, markup=False)


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def whitening(whiten: str | None, components: int | None) -> Callable[[Encodes], Whitened | None]:
    """Whitening of an encoder's vectors: from the encoder to what `evaluate` takes; None without one.

    The file is read at once, so that a wrong one is reported before a model is loaded.

    Raises:
        UserError: If there is no such file, or components are asked for without a whitening.
    """
    from textcl.errors import UserError
    from textcl.evaluation.whitening import Whitening

    if whiten is None:
        if components is not None:
            raise UserError("--components goes with --whiten target or --whiten FILE")
        return lambda encoder: None
    if whiten == "target":
        return lambda encoder: lambda rows: Whitening.fit(rows, components)
    from textcl.probe.models import texts_to_fit

    texts = texts_to_fit(whiten)

    def fitted(encoder: Encodes) -> Whitened:
        from textcl.probe.measure import embed

        one = Whitening.fit(embed(encoder, texts), components)
        return lambda rows: one

    return fitted
