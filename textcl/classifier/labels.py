"""The labels of a run: which classes there are, the rows' targets, and the labelled texts that select the weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from textcl.classifier.dev import DevTexts
from textcl.classifier.settings import LabelledSettings
from textcl.classifier.targets import Targets, targets_of
from textcl.data.roles import label_role
from textcl.data.rows import Rows, load_rows
from textcl.data.summary import blank_note
from textcl.errors import UserError
from textcl.evaluation.labelled import load_labelled, named_task

S = TypeVar("S", bound=LabelledSettings)


def with_classes(settings: S, rows: Rows) -> S:
    """The settings with the classes of the training rows.

    Classes are sorted by name where the settings do not name them.

    Raises:
        UserError: If a label is none of the classes that the settings name, or all rows have the same.
    """
    multi_label = "labels" in rows.roles
    labels = rows.column(label_role(multi_label))
    occurrences = Counter(
        name for label in labels for name in (dict.fromkeys(label) if multi_label else [label])
    )
    classes = settings.classes or tuple(sorted(occurrences))
    targets_of(labels, classes, multi_label, rows.report.source)
    if len({tuple(sorted(set(label))) if multi_label else label for label in labels}) < 2:
        raise UserError(
            f"all {len(labels):,} rows of {rows.report.source} have the same label "
            f"({', '.join(occurrences) or 'none'}): a classifier needs rows of at least 2 classes"
        )
    counts = tuple(occurrences[name] for name in classes)
    return replace(
        settings,
        classes=classes,
        class_rows=counts,
        row_count=len(labels),
        multi_label=multi_label,
    )


def targets_of_rows(settings: LabelledSettings, rows: Rows) -> Targets:
    """Class ids of the rows, or which classes each has.

    Raises:
        UserError: If a label is none of the classes.
    """
    labels = rows.column(label_role(settings.multi_label))
    return targets_of(labels, settings.classes, settings.multi_label, rows.report.source)


def load_dev_texts(
    settings: LabelledSettings, columns: Mapping[str, str] | None = None
) -> DevTexts:
    """The labelled texts that `settings.dev` names: a file, or a task of `eval/tasks`, whose dev split is meant.

    Raises:
        UserError: If there is no such file, something is wrong in it, or a label is no class of the training data.
    """
    role = label_role(settings.multi_label)
    if task := named_task(settings.dev):
        dev = load_labelled(task[0], "dev", lcl_preparation=task[1])
        return dev_texts(
            load_rows(dev.rows(), roles=("text", role)), settings, f"{settings.dev}, dev"
        )
    if not Path(settings.dev).exists():
        raise UserError(
            f"--dev {settings.dev}: there is no such file; name one with the columns text and {role}, or the share of "
            "the training rows to hold out, such as 0.1"
        )
    rows = load_rows(
        settings.dev,
        roles=("text", role),
        columns=columns,
        drop_unlabelled=settings.drop_unlabelled,
        label_separator=settings.label_separator,
    )
    return dev_texts(rows, settings, Path(settings.dev).name, blank_note(rows.report.blank))


def dev_texts(rows: Rows, settings: LabelledSettings, name: str, note: str = "") -> DevTexts:
    """Labelled rows as what selects weights."""
    targets = targets_of_rows(settings, rows)
    return DevTexts(name, rows.column("text"), targets, settings.selection, note)
