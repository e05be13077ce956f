"""The labels of a run: which classes there are, the rows' targets, and the labelled texts that select the weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from textcl.classifier.dev import DevTexts
from textcl.classifier.settings import LabelledSettings
from textcl.classifier.targets import Targets, targets_of
from textcl.data.label_columns import label_columns
from textcl.data.roles import label_role
from textcl.data.rows import Rows, load_rows
from textcl.data.splits import normalised
from textcl.data.summary import blank_note
from textcl.errors import UserError
from textcl.evaluation.labelled import load_labelled, named_task

S = TypeVar("S", bound=LabelledSettings)

ROWS_TO_HOLD_OUT = 20
"""Rows a class from which a part of them is held out where no dev set is named."""

_SHARE, _MOST = 0.1, 1000


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


def with_columns(settings: S, rows: Rows) -> S:
    """The settings with the label columns of the training rows, and the classes of each.

    Raises:
        UserError: If the recipe trains on one label alone, a setting does not go with several columns, or all rows have
            the same label in one of them.
    """
    names = label_columns(rows.roles)
    if not settings.TAKES_COLUMNS:
        raise UserError(
            f"this recipe trains on one label a row, and not on several label columns ({', '.join(names)}): "
            "cross-entropy does, with a head for each"
        )
    if settings.block:
        raise UserError("rows_per_class is for rows with one label column: leave it at 0")
    if settings.label_columns not in ((), names) or bool(settings.classes) > bool(
        settings.label_columns
    ):
        raise UserError(
            "several label columns and their classes are found in the data: leave classes and label_columns out"
        )
    known = settings.by_column if settings.label_columns else [settings] * len(names)
    each = [
        with_classes(column, rows.of_label_column(name))
        for name, column in zip(names, known, strict=True)
    ]
    return replace(
        settings,
        classes=tuple(name for one in each for name in one.classes),
        class_rows=tuple(count for one in each for count in one.class_rows),
        row_count=len(rows),
        label_columns=names,
        column_classes=tuple(len(one.classes) for one in each),
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
    rows = read_dev(settings, ("text", role), columns)
    return dev_texts(rows, settings, Path(settings.dev).name, blank_note(rows.report.blank))


def read_dev(
    settings: LabelledSettings, roles: Sequence[str], columns: Mapping[str, str] | None
) -> Rows:
    """The rows of the file that `settings.dev` names.

    Args:
        settings: Of the run.
        roles: Of its text and its labels.
        columns: Role to column name, where they differ.

    Raises:
        UserError: If there is no such file, or something is wrong in it.
    """
    if not Path(settings.dev).exists():
        labels = " and ".join(label_columns(roles)) or roles[-1]
        raise UserError(
            f"--dev {settings.dev}: there is no such file; name one with the columns text and {labels}, or the share "
            "of the training rows to hold out, such as 0.1"
        )
    return load_rows(
        settings.dev,
        roles=roles,
        columns=columns,
        drop_unlabelled=settings.drop_unlabelled,
        label_separator=settings.label_separator,
    )


def dev_texts(rows: Rows, settings: LabelledSettings, name: str, note: str = "") -> DevTexts:
    """Labelled rows as what selects weights."""
    targets = targets_of_rows(settings, rows)
    return DevTexts(name, rows.column("text"), targets, settings.selection, note)


def default_dev(texts: Sequence[str], classes: int) -> str:
    """The share of the rows that is held out where no dev set is named; "" for few rows, which are all trained on.

    Args:
        texts: Of the rows; where a class has no two that differ nothing can be held out.
        classes: Of their labels.
    """
    if len(texts) < ROWS_TO_HOLD_OUT * classes or not _differ(texts, classes):
        return ""
    return f"{min(_SHARE, _MOST / len(texts)):.4g}"


def _differ(texts: Iterable[str], count: int) -> bool:
    """Whether there are more than so many different texts; reads no further than that."""
    seen = set[str]()
    return any(len(seen) > count for text in texts if not seen.add(normalised(text)))


def describe_classes(settings: LabelledSettings) -> str:
    """One line for the terminal: how many classes, and their smallest and largest."""
    counts = sorted(zip(settings.class_rows, settings.classes, strict=True))
    (least, rare), (most, common) = counts[0], counts[-1]
    several = ", several a row" if settings.multi_label else ""
    return (
        f"{len(counts)}{several}; smallest {rare} with {least:,} row{'s' * (least != 1)}, "
        f"largest {common} with {most:,}"
    )
