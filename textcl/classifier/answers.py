"""Answers of a classifier as the columns of a file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, Unpack, runtime_checkable

import numpy as np
import pyarrow
import torch
from jaxtyping import Bool, Float32

from textcl.classifier.targets import Targets
from textcl.encoder.peers import ReadingOptions
from textcl.encoder.to_file import CountsCut
from textcl.evaluation.geometry import entropy


@runtime_checkable
class ReadsTexts(Protocol):
    """The encoder of a classifier."""

    max_length: int

    def reader(self) -> CountsCut:
        """Texts to tokens as the classifier makes them."""
        ...


@runtime_checkable
class Classifies(Protocol):
    """Gives texts their classes, as `Classifier` does."""

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes, in the order of the probabilities."""
        ...

    @property
    def multi_label(self) -> bool:
        """Whether a text has any number of the classes instead of exactly one."""
        ...

    @property
    def encoder(self) -> ReadsTexts:
        """Encoder that reads the texts."""
        ...

    def predict_proba(
        self, texts: Iterable[str], **options: Unpack[ReadingOptions]
    ) -> Float32[np.ndarray, "N C"]:
        """Probability of each class."""
        ...

    def predict_or_reject(
        self, texts: Iterable[str], **options: Unpack[ReadingOptions]
    ) -> tuple[Float32[np.ndarray, "N C"], Bool[np.ndarray, " N"]]:
        """Probability of each class, and whether the text is rejected."""
        ...

    def decide(self, probabilities: Float32[np.ndarray, "N C"]) -> Targets:
        """The classes that the probabilities stand for."""
        ...

    def names(self, decisions: Targets) -> list[str] | list[list[str]]:
        """Decisions as names of classes."""
        ...


Judged = tuple[Float32[np.ndarray, "N C"], Bool[np.ndarray, " N"] | None]
"""Probability of each class, and whether each text is rejected; None where that is not asked."""


@dataclass(frozen=True)
class AnswerColumns:
    """Columns that the answers of a classifier are written to.

    Args:
        classifier: Of one label column.
        top_k: How many of the most probable classes are written, no more than there are; 1 for none.
        reject: Whether texts may be rejected.
        name: Of the label column, where there are several: instead of label, probability, rejected and label_1 the
            columns then are topic, topic_probability, topic_rejected and topic_1.
    """

    classifier: Classifies
    top_k: int
    reject: bool
    name: str = ""

    def _called(self, column: str) -> str:
        if not self.name:
            return column
        return self.name + (
            column.removeprefix("label") if column.startswith("label") else f"_{column}"
        )

    @property
    def _ranks(self) -> range:
        return range(1, min(self.top_k, len(self.classifier.classes)) + 1 if self.top_k > 1 else 1)

    @property
    def types(self) -> dict[str, pyarrow.DataType]:
        """Names and types of the columns."""
        text, number = pyarrow.string(), pyarrow.float32()
        if self.classifier.multi_label:
            columns = {"labels": pyarrow.list_(text), "probabilities": pyarrow.list_(number)}
        else:
            columns = {"label": text, "probability": number}
        columns["entropy"] = number
        for rank in self._ranks:
            columns |= {f"label_{rank}": text, f"probability_{rank}": number}
        if self.reject:
            columns["rejected"] = pyarrow.bool_()
        return {self._called(column): kind for column, kind in columns.items()}

    def rows(self, judged: Judged, entropies: Sequence[float]) -> list[dict[str, object]]:
        """Fields of each row.

        Args:
            judged: By the classifier.
            entropies: What `bits_of` gives for its probabilities.
        """
        probabilities, rejected = judged
        decisions = self.classifier.decide(probabilities)
        names, shares = self.classifier.names(decisions), probabilities.tolist()
        order = np.argsort(-probabilities, axis=1, kind="stable")[:, : self.top_k].tolist()
        rows = list[dict[str, object]]()
        for index, (name, share, ranked) in enumerate(zip(names, shares, order, strict=True)):
            if self.classifier.multi_label:
                chosen = [share[place] for place in np.flatnonzero(decisions[index])]
                row: dict[str, object] = {"labels": name, "probabilities": chosen}
            else:
                row = {"label": name, "probability": share[decisions[index]]}
            row["entropy"] = entropies[index]
            for rank, place in zip(self._ranks, ranked, strict=False):
                row[f"label_{rank}"] = self.classifier.classes[place]
                row[f"probability_{rank}"] = share[place]
            if self.reject and rejected is not None:
                row["rejected"] = bool(rejected[index])
            rows.append({self._called(column): value for column, value in row.items()})
        return rows


def bits_of(probabilities: Float32[np.ndarray, "N C"], multi_label: bool) -> list[float]:
    """Entropy of each row in bits; of several labels the mean over the classes of that of a yes or no."""
    shares = torch.from_numpy(probabilities)
    if not multi_label:
        return entropy(shares, "bits").tolist()
    return entropy(torch.stack([shares, 1 - shares], dim=2), "bits").mean(1).tolist()
