"""Texts on which a report shows the space: those that select the weights, else training texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from textcl.classifier.dev import held_out_share, hold_out
from textcl.data.label_columns import split_label
from textcl.data.pairs import named_sources
from textcl.data.rows import Rows, load_rows
from textcl.errors import UserError
from textcl.evaluation.labelled import load_labelled, named_task
from textcl.probe.texts import ProbeData, load_probe_data
from textcl.report.runs import RunRecord
from textcl.resources import sample_dir
from textcl.retrieval.dev import is_beir
from textcl.training.request import RowRequest


def shown_texts(
    run: RunRecord, given: str | None, columns: Mapping[str, str], split: str | None, seed: int
) -> ProbeData:
    """The texts of a report.

    Args:
        run: The run whose texts are taken where none are given.
        given: What the user asked for: a task, file, folder or hub data set.
        columns: Role to column name of `given`.
        split: Split of `given`.
        seed: Draws texts where there are too many.

    Raises:
        UserError: If the data is not there or has no texts.
    """
    if given:
        return load_probe_data(given, columns=columns, split=split, seed=seed)
    facts = run.facts
    dev, classifies = facts.common.dev, facts.classifies
    if facts.common.label_columns:
        first = column_texts(run)[facts.common.label_columns[0]]
        return _labelled(first.report.source, first.strings("text"), first.strings("label"), seed)
    if classifies and dev and held_out_share(dev) is not None:
        return _held_out(run, float(dev), seed)
    if classifies and (task := named_task(dev)):
        task_texts = load_labelled(task[0], "dev", lcl_preparation=task[1])
        return _labelled(
            f"{dev}, dev",
            task_texts.texts,
            None if task_texts.multi_label else task_texts.labels,
            seed,
        )
    retrieves = bool(dev) and (held_out_share(dev) is not None or is_beir(dev))
    if dev and not retrieves and (classifies or facts.dev):
        return load_probe_data(dev, columns=facts.columns if classifies else {}, seed=seed)
    source = training_source(run)
    roles = {
        role: name
        for role, name in facts.columns.items()
        if role in ("text", "label", "anchor", "positive")
    }
    return load_probe_data(source, columns=roles, split=facts.split, seed=seed)


def column_texts(run: RunRecord) -> dict[str, Rows]:
    """The texts that have a label in each of several label columns: those that select the weights, else training rows.

    Raises:
        UserError: If they are gone, or others than then.
    """
    facts = run.facts
    dev, names = facts.common.dev, facts.common.label_columns
    if dev and held_out_share(dev) is None:
        roles, columns = split_label(("text", "label"), _without_label(facts.columns), names)
        rows = load_rows(dev, roles=roles, columns=columns, drop_unlabelled=True)
    else:
        rows = training_rows(run)
        rows = hold_out(rows, float(dev), facts.common.seed)[1] if dev else rows
    return {name: rows.of_label_column(name) for name in names}


def _without_label(columns: Mapping[str, str]) -> dict[str, str]:
    return {role: name for role, name in columns.items() if role == "text"}


def training_source(run: RunRecord) -> str:
    """The place of the training rows; of several data sets, the first.

    Raises:
        UserError: If they were in memory.
    """
    source = run.facts.common.data
    if not source:
        raise UserError("the run was trained on rows in memory")
    return (
        str(sample_dir() / "sentences.txt") if source == "sample" else named_sources(source)[0][0]
    )


def training_rows(run: RunRecord) -> Rows:
    """The training rows, as long as they are what the run read.

    Raises:
        UserError: If they are gone, or others than then.
    """
    facts, name = run.facts, Path(training_source(run)).name
    if facts.roles is None:
        raise UserError("the run is of an earlier version, which did not note its columns")
    rows = RowRequest.of_run(facts, facts.roles).rows()
    if rows.report.sha256 != facts.data.sha256:
        raise UserError(f"the data in {name} changed since the run")
    return rows


def _held_out(run: RunRecord, share: float, seed: int) -> ProbeData:
    rows = training_rows(run)
    _, held, split = hold_out(rows, share, run.facts.common.seed)
    name = f"{split.describe()}, held out"
    labels = None if "labels" in held.roles else held.strings("label")
    return _labelled(name, held.strings("text"), labels, seed)


def _labelled(
    name: str, texts: Sequence[str], labels: Sequence[str] | None, seed: int
) -> ProbeData:
    kind = "texts" if labels is None else "labelled"
    return ProbeData(name, kind, texts, labels=labels, rows=len(texts), seed=seed)
