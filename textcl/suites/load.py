"""Tasks by name: of a suite, or single ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from textcl.data.arguments import checked_arguments
from textcl.errors import UserError
from textcl.evaluation.tasks import load_task, manifests, task_names
from textcl.suites.graded import GradedPairs
from textcl.suites.manifests import SuiteManifest, suite_manifests
from textcl.suites.names import Names
from textcl.suites.questions import Questions
from textcl.suites.ranking import Ranking
from textcl.suites.suite import Task
from textcl.suites.transfer import Transfer
from textcl.suites.translation import Translation

_KINDS: Mapping[str, Callable[[SuiteManifest], Task]] = {
    "retrieval": Ranking.of_manifest,
    "questions": Questions.of_manifest,
    "translation": Translation.of_manifest,
    "names": Names.of_manifest,
    "transfer": Transfer.of_manifest,
}
"""Makers of the tasks of each kind from their manifest."""


@checked_arguments
def load_tasks(names: str | Iterable[str], aggregation: str = "all") -> list[Task]:
    """The tasks of suites, or single ones, with their data checked against the manifests.

    Args:
        names: A suite ("sts", "words", "retrieval", "qa", "bli", "linking", "transfer") or a task; or several.
        aggregation: How the subsets of graded pairs become one number: "all", "mean" or "wmean".

    Raises:
        UserError: If a name is unknown or one of labelled texts, or its data is missing or wrong.
    """
    graded, others = manifests(), suite_manifests()
    tasks: list[Task] = []
    for name in task_names([names] if isinstance(names, str) else names):
        if name in graded:
            tasks.append(GradedPairs(load_task(name), aggregation))
        elif name in others:
            tasks.append(_KINDS[others[name].kind](others[name]))
        else:
            raise UserError(
                f"{name} is a task of labelled texts, which scores a classifier; its file as --data probes an encoder"
            )
    return tasks
