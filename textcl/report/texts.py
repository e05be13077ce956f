"""Which texts a report shows the space on: those that select the weights, else training texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from textcl.classifier.dev import held_out_share, hold_out
from textcl.data.rows import Rows, load_rows, settle_roles
from textcl.errors import UserError
from textcl.evaluation.labelled import load_labelled, named_task
from textcl.probe.texts import ProbeData, load_probe_data
from textcl.report.runs import RunRecord
from textcl.resources import sample_dir


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
    dev = str(run.settings.get("dev") or "")
    if run.classifies and dev and held_out_share(dev) is not None:
        return _held_out(run, float(dev), seed)
    if run.classifies and (task := named_task(dev)):
        there = load_labelled(task[0], "dev", lcl_preparation=task[1])
        return _labelled(
            f"{dev}, dev", there.texts, None if there.multi_label else there.labels, seed
        )
    asked = run.facts.get("columns") or {}
    if dev and (run.classifies or run.facts.get("dev")):
        return load_probe_data(dev, columns=asked if run.classifies else {}, seed=seed)
    source = training_source(run)
    roles = {
        role: name
        for role, name in asked.items()
        if role in ("text", "label", "anchor", "positive")
    }
    return load_probe_data(source, columns=roles, split=run.facts.get("split"), seed=seed)


def training_source(run: RunRecord) -> str:
    """Where the training rows are.

    Raises:
        UserError: If they were in memory.
    """
    source = str(run.settings.get("data") or "")
    if not source:
        raise UserError("the run was trained on rows in memory")
    return str(sample_dir() / "sentences.txt") if source == "sample" else source


def training_rows(run: RunRecord, roles: tuple[str, ...]) -> Rows:
    """The training rows, as long as they are what the run read.

    Args:
        run: The run.
        roles: Columns of its recipe.

    Raises:
        UserError: If they are gone, or others than then.
    """
    source, facts = training_source(run), run.facts
    name, task = Path(source).name, named_task(source) if run.classifies else None
    if task:
        source = load_labelled(task[0], "train", lcl_preparation=task[1]).rows()
    options: dict[str, Any] = {"columns": facts.get("columns") or {}, "split": facts.get("split")}
    rows = load_rows(
        source,
        roles=settle_roles(source, roles, **options),
        limit=facts.get("limit"),
        deduplicate=bool(facts.get("deduplicate")),
        **options,
    )
    if rows.report.sha256 != facts["data"]["sha256"]:
        raise UserError(f"the data in {name} changed since the run")
    return rows


def _held_out(run: RunRecord, share: float, seed: int) -> ProbeData:
    rows = training_rows(run, ("text", "label|labels"))
    _, held = hold_out(rows, share, int(run.settings["seed"]))
    name = f"{share:.0%} of the training rows, held out"
    labels = None if "labels" in held.roles else held.column("label")
    return _labelled(name, held.column("text"), labels, seed)


def _labelled(
    name: str, texts: Sequence[str], labels: Sequence[str] | None, seed: int
) -> ProbeData:
    kind = "texts" if labels is None else "labelled"
    return ProbeData(name, kind, texts, labels=labels, rows=len(texts), seed=seed)
