"""The tasks that a model is scored on, by the options of `textcl eval`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textcl.suites.suite import Task


def suite_tasks(
    model: str,
    names: list[str],
    data: str | None,
    train: str | None,
    columns: dict[str, str],
    aggregation: str,
    against: str | None,
) -> list[Task]:
    """Tasks that vectors are scored on; none where a classifier is scored, or graded pairs alone without --against."""
    from textcl.cli.eval_suite import own_tasks
    from textcl.errors import UserError
    from textcl.evaluation.tasks import manifests
    from textcl.suites.load import load_tasks
    from textcl.suites.manifests import suite_manifests

    if data and (Path(data).is_dir() or train or _is_encoder(model)):
        return own_tasks(data, train, columns, aggregation)
    if train:
        raise UserError("--train goes with --data FILE, whose rows its classifiers are tested on")
    known = suite_manifests()
    if any(name in known for name in names) or (against and names and names[0] in manifests()):
        if columns:
            raise UserError("--column goes with --data")
        return load_tasks(names, aggregation)
    return []


def _is_encoder(model: str) -> bool:
    """Whether a model is there and no classifier."""
    from textcl.classifier.folder import is_classifier
    from textcl.encoder.hub import find_model
    from textcl.errors import UserError

    try:
        return not is_classifier(find_model(model))
    except UserError:
        return False
