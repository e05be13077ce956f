"""Questions and the sentences that answer them: the area under the ROC curve of their similarity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from textcl.evaluation.correlation import pair_scores
from textcl.evaluation.entailment import entailment_auc
from textcl.evaluation.resampling import AreaUnderCurve
from textcl.suites.manifests import SuiteManifest
from textcl.suites.suite import Role, TaskResult, Vectors


@dataclass(frozen=True, eq=False)
class Questions:
    """Pairs of a question and a sentence, some of which are an answer.

    Args:
        manifest: Where they come from.
        questions: One a pair.
        sentences: One a pair.
        entailed: Whether the sentence answers the question.
    """

    manifest: SuiteManifest
    questions: Sequence[str]
    sentences: Sequence[str]
    entailed: np.ndarray

    @classmethod
    def of_manifest(cls, manifest: SuiteManifest) -> Questions:
        """The task of a manifest whose one part has the columns question, sentence and label."""
        columns = manifest.columns("all")
        answers = np.array([label == manifest.classes[1] for label in columns["label"]])
        return cls(manifest, columns["question"], columns["sentence"], answers)

    @property
    def name(self) -> str:
        """Name in the scores."""
        return self.manifest.name

    def texts(self) -> Mapping[Role, Sequence[str]]:
        """Questions as queries, sentences as documents."""
        return {Role.query: self.questions, Role.document: self.sentences}

    def score(self, vectors: Vectors) -> TaskResult:
        """The area times 100."""
        sides = [vectors(texts, role) for role, texts in self.texts().items()]
        cosines = np.round(pair_scores(*sides), 12)
        area = entailment_auc(cosines, self.entailed)
        manifest = self.manifest
        return TaskResult(
            manifest.name,
            manifest.label,
            manifest.protocol,
            f"{manifest.protocol}: area under the ROC curve of the cosine of question and sentence, x100",
            {"auc": None if area is None else 100 * area},
            ("auc",),
            "pairs",
            {"auc": AreaUnderCurve(cosines, self.entailed)},
            manifest.source(),
            manifest.note,
            {"entailed": int(self.entailed.sum())},
        )
