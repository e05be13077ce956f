"""Scores of finished runs on test data that selected nothing: what a sweep may compare without choosing on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from textcl.classifier.classifier import Classifier
from textcl.classifier.columns import ColumnsClassifier
from textcl.classifier.columns_dev import DevColumns, dev_columns
from textcl.classifier.columns_folder import columns_of
from textcl.classifier.columns_rows import load_column_rows
from textcl.classifier.dev import DevTexts
from textcl.classifier.folder import is_classifier
from textcl.classifier.supervision import ClassifierSettings, dev_texts
from textcl.data.roles import label_role
from textcl.data.rows import Rows, load_rows
from textcl.encoder.encoder import Encoder
from textcl.errors import UserError
from textcl.evaluation.labelled import load_labelled, named_task
from textcl.training.dev import load_dev
from textcl.training.request import RowRequest
from textcl.training.run_folder import RunFolder


def check_test(name: str, roles: Sequence[str]) -> None:
    """Find out before any run whether there is test data of that name.

    Args:
        name: Task or file.
        roles: Columns that the recipe trains on.

    Raises:
        UserError: If there is none.
    """
    if not any(role.split("|")[0] in ("label", "labels") for role in roles):
        load_dev(name)
    elif not (named_task(name) or Path(name).exists()):
        raise UserError(
            f"--test {name}: there is no such file; name one with labelled texts, or a task"
        )


def held_out_score(folder: RunFolder, name: str) -> float:
    """The score of a run's best weights on test data, measured as its dev score is.

    Args:
        folder: A finished run with its models.
        name: Task or file: graded pairs for an encoder, labelled texts for a classifier.

    Raises:
        UserError: If the data cannot be read, or a label is no class of the model.
    """
    if not is_classifier(folder.best):
        return load_dev(name)(Encoder.from_pretrained(folder.best))
    if columns_of(folder.best):
        several = ColumnsClassifier.from_pretrained(folder.best)
        return _columns(folder, name, several)(several)
    model = Classifier.from_pretrained(folder.best)
    return _texts(folder, name, model)(model)


def _texts(folder: RunFolder, name: str, model: Classifier) -> DevTexts:
    settings = ClassifierSettings(
        classes=tuple(model.classes),
        multi_label=model.multi_label,
        select_by=folder.facts.settings.get("select_by"),
    )
    role = label_role(model.multi_label)
    separator = RowRequest.of_run(folder.facts, ()).label_separator
    return dev_texts(_labelled(name, role, separator), settings, name)


def _columns(folder: RunFolder, name: str, model: ColumnsClassifier) -> DevColumns:
    settings = ClassifierSettings(
        classes=tuple(each for classes in model.classes.values() for each in classes),
        label_columns=model.columns,
        column_classes=tuple(map(len, model.classes.values())),
        class_rows=(0,) * sum(map(len, model.classes.values())),
        select_by=folder.facts.settings.get("select_by"),
    )
    rows, _ = load_column_rows(name, model)
    return dev_columns(rows, settings, name)


def _labelled(name: str, role: str, label_separator: str) -> Rows:
    if task := named_task(name):
        test = load_labelled(task[0], "test", lcl_preparation=task[1])
        return load_rows(test.rows(), roles=("text", role))
    return load_rows(name, roles=("text", role), label_separator=label_separator)
