"""Rejection of texts that belong to none of the classes: a score, a threshold, and the file with both."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Float16, Int
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from textcl.arithmetic import unit_rows
from textcl.data.files import atomic_write
from textcl.data.json_files import JsonObject, parse
from textcl.errors import UserError
from textcl.evaluation.out_of_scope import (
    class_centres,
    energy,
    mahalanobis,
    margin,
    max_softmax,
    nearest_cosine,
    shrunk_covariance,
)

REJECTION_FILE = "rejection.safetensors"
_NOTE = "rejection"
_NEIGHBOURS = 20_000

Logits = Float[np.ndarray, "N C"]
Vectors = Float[np.ndarray, "N D"]
Labels = Int[np.ndarray, " N"]
Scores = Float[np.ndarray, " N"]


@runtime_checkable
class RowScore(Protocol):
    """Scores of rows by their logits and vectors, higher for rows of known classes."""

    def __call__(self, logits: Logits, vectors: Vectors) -> Scores:
        """Score N rows."""
        ...

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Arrays that the score was fitted to, as they are stored."""
        ...


@dataclass(frozen=True)
class OfLogits:
    """A score of the logits alone.

    Args:
        function: From logits to scores.
    """

    function: Callable[[Logits], Scores]

    def __call__(self, logits: Logits, vectors: Vectors) -> Scores:
        """Score N rows."""
        return self.function(logits)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Nothing."""
        return {}


@dataclass(frozen=True, eq=False)
class OfCentres:
    """Mahalanobis distance to the nearest class centre; see `mahalanobis`.

    Args:
        centres: Of the classes.
        covariance: Around them.
    """

    centres: Float[np.ndarray, "C D"]
    covariance: Float[np.ndarray, "D D"]

    def __call__(self, logits: Logits, vectors: Vectors) -> Scores:
        """Score N rows."""
        return mahalanobis(vectors, self.centres, self.covariance)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Both, in double precision."""
        return {"centres": self.centres, "covariance": self.covariance}


@dataclass(frozen=True, eq=False)
class OfNearest:
    """Cosine with the nearest row of the known classes; see `nearest_cosine`.

    Args:
        rows: Vectors of those rows, of length 1.
    """

    rows: Float16[np.ndarray, "M D"]

    def __call__(self, logits: Logits, vectors: Vectors) -> Scores:
        """Score N rows."""
        return nearest_cosine(vectors, self.rows, 1)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The rows, in half precision."""
        return {"rows": self.rows}


def _fit_centres(vectors: Vectors, labels: Labels) -> OfCentres:
    return OfCentres(class_centres(vectors, labels), shrunk_covariance(vectors, labels))


def _fit_nearest(vectors: Vectors, labels: Labels) -> OfNearest:
    order = np.random.Generator(np.random.PCG64(0)).permutation(len(vectors))[:_NEIGHBOURS]
    chosen = vectors[np.sort(order)].astype(np.float64)
    return OfNearest(unit_rows(chosen).astype(np.float16))


@dataclass(frozen=True)
class Kind:
    """A kind of score.

    Args:
        fit: From vectors and class ids of known rows.
        load: From what `arrays` gave.
        compares: Whether it compares with known rows, so that these cannot be judged by it themselves.
    """

    fit: Callable[[Vectors, Labels], RowScore]
    load: Callable[..., RowScore]
    compares: bool


def _of_logits(function: Callable[[Logits], Scores]) -> Kind:
    score = OfLogits(function)
    return Kind(lambda vectors, labels: score, lambda: score, compares=False)


KINDS: Mapping[str, Kind] = {
    "nearest": Kind(_fit_nearest, OfNearest, compares=True),
    "mahalanobis": Kind(_fit_centres, OfCentres, compares=True),
    "energy": _of_logits(energy),
    "margin": _of_logits(margin),
    "softmax": _of_logits(max_softmax),
}
"""The kinds by name."""


def kind_of_score(name: str) -> Kind:
    """The kind of score with this name.

    Raises:
        UserError: If there is none.
    """
    if name not in KINDS:
        raise UserError(f"expected one of the scores {', '.join(KINDS)}, got {name!r}")
    return KINDS[name]


@dataclass(frozen=True, eq=False)
class Rejection:
    """Rejects rows whose score is below a threshold.

    Args:
        name: Of the score, one of `KINDS`.
        score: From logits and vectors to scores. Logits are not divided by a temperature, so that calibrating the
            probabilities changes nothing here.
        threshold: The lowest score that is accepted.
    """

    name: str
    score: RowScore
    threshold: float

    def rejects(self, logits: Logits, vectors: Vectors) -> Bool[np.ndarray, " N"]:
        """Whether each row belongs to none of the classes.

        Args:
            logits: Of the classifier.
            vectors: That the logits were computed from.
        """
        return self.score(logits, vectors) < self.threshold

    def write(self, folder: Path) -> None:
        """Put it into a classifier's folder, whole or not at all.

        Args:
            folder: What `Classifier.save_pretrained` wrote.
        """
        note = json.dumps({"score": self.name, "threshold": self.threshold})
        arrays = {name: np.ascontiguousarray(each) for name, each in self.score.arrays.items()}
        with atomic_write(folder / REJECTION_FILE) as file:
            file.write(save(arrays, metadata={_NOTE: note}))


def read_rejection(folder: Path, dimension: int) -> Rejection | None:
    """The rejection in a classifier's folder; None where nothing was fitted.

    Args:
        folder: Of the classifier.
        dimension: Length of the classifier's vectors.

    Raises:
        UserError: If the file is broken, or belongs to another encoder.
    """
    path = folder / REJECTION_FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="np") as file:
            note = JsonObject.of(parse((file.metadata() or {})[_NOTE], str(path)), str(path))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        name, threshold = note.require("score", str), note.require("threshold", float)
        score = kind_of_score(name).load(**arrays)
        logits, vectors = np.zeros((1, 2), np.float32), np.ones((1, dimension), np.float32)
        if not np.isfinite([threshold, *score(logits, vectors)]).all():
            raise ValueError("a number is not finite")
    except (SafetensorError, KeyError, TypeError, ValueError, UserError, OSError) as error:
        raise UserError(
            f"{path} does not fit to this classifier ({error}): fit it again with textcl reject"
        ) from error
    return Rejection(name, score, threshold)
