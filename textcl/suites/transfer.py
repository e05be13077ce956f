"""The transfer tasks of SentEval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Int

from textcl.evaluation.linear_probe import SEED, GradientTrainer, Trainer
from textcl.evaluation.resampling import MacroF1, Mean
from textcl.evaluation.transfer import (
    FOLDS,
    TransferScore,
    nested_folds,
    pair_features,
    senteval_order,
    train_and_test,
    train_dev_test,
)
from textcl.suites.manifests import SuiteManifest
from textcl.suites.suite import Role, TaskResult, Vectors

_PARTS = ("all", "train", "dev", "test")


@dataclass(frozen=True, eq=False)
class Transfer:
    """A linear classifier on frozen vectors of texts, or of pairs of texts.

    Args:
        manifest: Where the rows come from.
        columns: The text of each row; for pairs the first and the second.
        labels: Class of each row.
        sizes: Rows of each part: of all; of train and test; or of train, dev and test.
        trainer: How a classifier is fitted.
        folds: Folds that choose a regulariser and, where there is one part, test.
    """

    manifest: SuiteManifest
    columns: Sequence[Sequence[str]]
    labels: Int[np.ndarray, " N"]
    sizes: Sequence[int]
    trainer: Trainer = field(default_factory=GradientTrainer)
    folds: int = FOLDS

    @classmethod
    def of_manifest(cls, manifest: SuiteManifest) -> Transfer:
        """The task of a manifest with a part all, or parts train and test, or train, dev and test."""
        read = [manifest.columns(part) for part in _PARTS if part in manifest.local]
        numbers = {name: number for number, name in enumerate(manifest.classes)}
        parts: list[tuple[list[Sequence[str]], Int[np.ndarray, " n"]]] = []
        for part in read:
            labels = np.array([numbers[label] for label in part["label"]])
            texts = [part[key] for key in ("text", "sentence1", "sentence2") if key in part]
            lengths = [[len(text.split()) for text in column] for column in texts]
            order = senteval_order(labels, *lengths)
            parts.append(([[column[row] for row in order] for column in texts], labels[order]))
        columns = [
            [text for side in sides for text in side]
            for sides in zip(*(texts for texts, _ in parts), strict=True)
        ]
        labels = np.concatenate([labels for _, labels in parts])
        return cls(manifest, columns, labels, [len(labels) for _, labels in parts])

    @property
    def name(self) -> str:
        """Name in the scores."""
        return self.manifest.name

    def texts(self) -> Mapping[Role, Sequence[str]]:
        """All texts."""
        return {Role.plain: [text for column in self.columns for text in column]}

    def score(self, vectors: Vectors) -> TaskResult:
        """Accuracy times 100."""
        sides = [vectors(column) for column in self.columns]
        rows = sides[0] if len(sides) == 1 else pair_features(*sides)
        score = self._score(np.ascontiguousarray(rows))
        truth = self.labels[-len(score.predicted) :]
        classes = np.arange(len(self.manifest.classes))
        f1 = MacroF1(truth[:, None] == classes, score.predicted[:, None] == classes)
        manifest = self.manifest
        return TaskResult(
            manifest.name,
            manifest.label,
            manifest.protocol,
            f"{manifest.protocol}: accuracy x100 of a linear classifier on frozen vectors as SentEval trains it in "
            f"test mode, {self.folds} folds, seed {SEED}",
            {
                "accuracy": score.accuracy,
                "dev accuracy": score.dev_accuracy,
                "macro-F1": 100 * float(f1.resampled(np.ones((1, len(truth)), np.int64))[0]),
            },
            ("accuracy",),
            "rows",
            {"accuracy": Mean(score.right.astype(np.float64)), "macro-F1": f1},
            manifest.source(),
            manifest.note,
            {"test rows": len(truth), "classes": len(classes)},
            SEED,
        )

    def _score(self, rows: Float32[np.ndarray, "N D"]) -> TransferScore:
        if len(self.sizes) == 1:
            return nested_folds(rows, self.labels, self.trainer, self.folds)
        if len(self.sizes) == 2:
            return train_and_test(rows, self.labels, self.sizes[0], self.trainer, self.folds)
        train, dev, _ = self.sizes
        return train_dev_test(rows, self.labels, train, dev, self.trainer)
