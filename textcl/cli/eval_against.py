"""`textcl eval A --against B` of two classifiers, of one label or of several label columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from textcl.cli.eval_suite import Systems
from textcl.errors import UserError

if TYPE_CHECKING:
    from textcl.classifier.classifier import Classifier
    from textcl.classifier.columns import ColumnsClassifier
    from textcl.encoder.peers import ReadingOptions
    from textcl.evaluation.labelled import LabelledTask


def compare_classifiers(
    model: str,
    against: str,
    tasks: Sequence[LabelledTask],
    data: str | None,
    columns: Mapping[str, str],
    label_separator: str,
    options: ReadingOptions,
) -> Systems:
    """Two classifiers on the same labelled texts: those tasks that have the classes of both, or a file.

    Two of the same label columns are compared in each of them and in their mean; one of several label columns and one
    of a single label in the column that `columns` names for the label.

    Raises:
        UserError: If they have other columns or classes than each other, or than every task.
    """
    from textcl.classifier.columns import ColumnsClassifier, load_classifier
    from textcl.classifier.scores import fits, own_task
    from textcl.suites.classes import classified
    from textcl.suites.compare import compare

    first, second = load_classifier(model), load_classifier(against)
    partly = isinstance(first, ColumnsClassifier) or isinstance(second, ColumnsClassifier)
    if partly and label_separator:
        raise UserError("--label-separator is for several labels in one column: leave it out")
    if isinstance(first, ColumnsClassifier) and isinstance(second, ColumnsClassifier):
        return _compare_columns((model, first), (against, second), data, columns, options)
    both = _one_label(model, first, against, columns), _one_label(against, second, model, columns)
    if set(both[0].classes) != set(both[1].classes) or both[0].multi_label != both[1].multi_label:
        raise UserError(
            f"{model} and {against} have other classes: two classifiers are compared on the classes of both"
        )
    if data:
        chosen = [own_task(data, both[0], columns, label_separator, drop_unlabelled=partly)]
    else:
        chosen = [task for task in tasks if fits(both[0], task)]
    if not chosen:
        raise UserError(
            f"the classes of {model} are those of no task asked for: name one that it was trained for, or a file with "
            "--data"
        )
    ours, theirs = (
        {task.name: classified(each, task, **options) for task in chosen} for each in both
    )
    return Systems((model, ours), {}, (against, theirs), compare(ours, theirs))


def _one_label(
    name: str, classifier: Classifier | ColumnsClassifier, other: str, columns: Mapping[str, str]
) -> Classifier:
    """A classifier of one label: itself, or that of the column which is named for the label."""
    from textcl.classifier.classifier import Classifier

    if isinstance(classifier, Classifier):
        return classifier
    if columns.get("label") not in classifier.columns:
        raise UserError(
            f"{name} has the label columns {', '.join(classifier.columns)}, and {other} one label: say which column "
            f"is compared, with --column label={classifier.columns[0]}"
        )
    return classifier[columns["label"]]


def _compare_columns(
    model: tuple[str, ColumnsClassifier],
    against: tuple[str, ColumnsClassifier],
    data: str | None,
    columns: Mapping[str, str],
    options: ReadingOptions,
) -> Systems:
    from textcl.classifier.columns_scores import column_tasks
    from textcl.suites.class_columns import classified_columns, compare_columns

    (name, ours), (other, theirs) = model, against
    if not data:
        raise UserError(
            f"{name} has several label columns ({', '.join(ours.columns)}), and the tasks have one: compare it on a "
            "file with --data FILE"
        )
    classes = [{key: set(each) for key, each in one.classes.items()} for one in (ours, theirs)]
    if classes[0] != classes[1]:
        raise UserError(
            f"{name} and {other} have other label columns or classes ({', '.join(ours.columns)} against "
            f"{', '.join(theirs.columns)}): two classifiers are compared on the columns and classes of both"
        )
    rows = column_tasks(ours, data, columns)
    first, second = (classified_columns(each, rows, **options) for each in (ours, theirs))
    return Systems((name, first), {}, (other, second), compare_columns(first, second))
