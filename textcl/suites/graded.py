"""Graded pairs, such as the STS tasks and word similarity, as a task that can be compared by resampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from textcl.evaluation.benchmarks import protocol_line
from textcl.evaluation.correlation import pair_scores, sts_aggregate
from textcl.evaluation.resampling import MeanOfParts, RankCorrelation, Statistic
from textcl.evaluation.tasks import StsTask
from textcl.suites.suite import Role, TaskResult, Vectors


@dataclass(frozen=True)
class GradedPairs:
    """Spearman's correlation of cosines with gold scores.

    Args:
        task: The pairs.
        aggregation: "all", "mean" or "wmean" over the subsets.
    """

    task: StsTask
    aggregation: str = "all"

    def __post_init__(self) -> None:
        self.task.check_aggregation(self.aggregation)

    @property
    def name(self) -> str:
        """Name in the scores."""
        return self.task.name

    def texts(self) -> Mapping[Role, Sequence[str]]:
        """Both texts of every pair."""
        return {Role.plain: [*self.task.sentences1, *self.task.sentences2]}

    def score(self, vectors: Vectors) -> TaskResult:
        """Spearman and Pearson times 100."""
        task, manifest = self.task, self.task.manifest
        similarities = pair_scores(vectors(task.sentences1), vectors(task.sentences2))
        scored = sts_aggregate(similarities, task.scores, task.subsets).aggregate(self.aggregation)
        protocol = task.protocol(self.aggregation)
        return TaskResult(
            task.name,
            manifest.label if manifest else task.name,
            protocol,
            protocol_line(protocol, self.aggregation),
            {"spearman": _hundred(scored.spearman), "pearson": _hundred(scored.pearson)},
            ("spearman",),
            "pairs",
            {"spearman": self._statistic(similarities)},
            task.source,
            manifest.note if manifest else "",
        )

    def _statistic(self, similarities: np.ndarray) -> Statistic:
        gold, scored = self.task.scores, ~np.isnan(self.task.scores)
        if self.aggregation == "all" or self.task.subsets is None:
            return RankCorrelation(similarities[scored], gold[scored])
        names = np.asarray(self.task.subsets, dtype=object)[scored]
        places = [np.flatnonzero(names == name) for name in dict.fromkeys(names.tolist())]
        x, y = similarities[scored], gold[scored]
        parts = [(part, RankCorrelation(x[part], y[part])) for part in places]
        weights = [len(part) if self.aggregation == "wmean" else 1 for part in places]
        return MeanOfParts(parts, weights, len(names))


def _hundred(value: float | None) -> float | None:
    return None if value is None else 100 * value
