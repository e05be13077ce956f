"""Scores that others published, to stand beside ours where the protocol is the same."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from textcl.data.json_files import read_as
from textcl.evaluation.labelled import labelled_manifests
from textcl.evaluation.tasks import descriptions, suites
from textcl.resources import published_path


@dataclass(frozen=True)
class PublishedRow:
    """One row of somebody's table.

    Args:
        id: Key of the row in `published.json`.
        model: What the source calls it.
        backbone: The pretrained model it started from.
        supervision: What labels its training saw.
        protocol: How it was measured; rows of two protocols are not comparable.
        scores: Value by task, times 100.
        average: The printed average, times 100; None where it covers other tasks than those asked for.
        seeds: Runs that the row averages over, where it says so.
        source: Paper and table, or file.
        source_kind: "primary" (the authors), "secondary" (collected by others) or "reproduction".
        notes: What a reader should know before comparing.
        spread: Standard deviation over seeds by task, times 100, where the source gives it.
    """

    id: str
    model: str
    backbone: str
    supervision: str
    protocol: str
    scores: Mapping[str, float]
    average: float | None
    seeds: int | None
    source: str
    source_kind: str
    notes: str
    spread: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True)
class _Entry:
    """A row of `published.json`."""

    id: str
    model: str
    backbone: str
    supervision: str
    protocol: str
    metric: str
    scale: float
    scores: Mapping[str, float | None]
    source: str
    source_kind: str
    avg: float | None = None
    n_seeds: int | None = None
    notes: str = ""
    std: Mapping[str, float | None] = field(default_factory=dict[str, float | None])


def published_rows(
    *, protocol: str, match: str = "", tasks: Sequence[str] = (), metric: str = "spearman"
) -> list[PublishedRow]:
    """Published scores under one protocol, best average first.

    Args:
        protocol: Such as "senteval-all".
        match: Words that must all start a word of a row's model, backbone, supervision or id: "bert-base" finds
            bert-base-uncased but not roberta-base; case does not matter.
        tasks: Tasks to keep; all when empty. Rows with none of them are left out, and averages too unless the tasks
            are those of the whole suite.
        metric: What was measured: "spearman", or of classifiers "accuracy", "weighted-f1" or "macro-f1".
    """
    whole = not tasks or set(tasks) == set(suites()["sts"])
    words = [re.compile(rf"(?<![a-z0-9]){re.escape(word)}") for word in match.lower().split()]
    theirs = {about["name"]: about.get("published_as") or about["name"] for about in descriptions()}
    theirs |= {name: each.published_as or name for name, each in labelled_manifests().items()}
    names = {theirs.get(task, task): task for task in tasks}
    matching: list[PublishedRow] = []
    for entry in read_as(published_path(), list[_Entry]):
        if entry.protocol != protocol or entry.metric != metric:
            continue
        text = " ".join((entry.id, entry.model, entry.backbone, entry.supervision)).lower()
        row = _row(entry, names, whole)
        if all(word.search(text) for word in words) and (row.scores or row.average is not None):
            matching.append(row)
    return sorted(matching, key=_rank, reverse=True)


def _row(entry: _Entry, names: Mapping[str, str], whole: bool) -> PublishedRow:
    """One row; `names` are our tasks by the names that the row has for them, empty for all of its own."""
    factor = 100 / entry.scale

    def chosen(values: Mapping[str, float | None]) -> dict[str, float]:
        return {
            names.get(task, task): round(value * factor, 4)
            for task, value in values.items()
            if value is not None and (not names or task in names)
        }

    average = round(entry.avg * factor, 4) if whole and entry.avg is not None else None
    return PublishedRow(
        entry.id,
        entry.model,
        entry.backbone,
        entry.supervision,
        entry.protocol,
        chosen(entry.scores),
        average,
        entry.n_seeds,
        entry.source,
        entry.source_kind,
        entry.notes,
        chosen(entry.std),
    )


def _rank(row: PublishedRow) -> float:
    if row.average is not None:
        return row.average
    return sum(row.scores.values()) / len(row.scores)
