"""Labels that may be wrong: confident learning over probabilities of models that did not see the row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from textcl.classifier.linear_probe import fit_linear_probe, probe_places
from textcl.data.splits import fold_of
from textcl.errors import UserError

FOLDS = 5


def require_cleanlab() -> None:
    """Refuse to begin without cleanlab.

    Raises:
        UserError: If it is not installed.
    """
    try:
        import cleanlab.filter  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError as error:
        raise UserError(
            f"review needs cleanlab, which is not installed ({error}): pip install 'textcl-train[review]'"
        ) from error


def cross_validated(
    vectors: Float[np.ndarray, "N D"],
    texts: Sequence[str],
    labels: Int[np.ndarray, " N"],
    seed: int,
) -> Float[np.ndarray, "N C"]:
    """Probability of each class by logistic regressions that did not see the row, nor an equal text.

    Args:
        vectors: Of the frozen encoder.
        texts: Of the rows.
        labels: Ids of C classes, each of which has two distinct texts or more.
        seed: Of the folds.
    """
    classes = int(labels.max()) + 1
    folds = fold_of(texts, labels.tolist(), FOLDS, seed)
    logits, strength = np.zeros((len(labels), classes)), None
    for fold in range(FOLDS):
        rest = np.flatnonzero(folds != fold)
        rest = rest[probe_places(len(rest), seed)]
        probe = fit_linear_probe(vectors[rest], labels[rest], classes, seed=seed, strength=strength)
        strength = probe.strength
        logits[folds == fold] = probe.logits(vectors[folds == fold])
    shares = np.exp(logits - logits.max(1, keepdims=True))
    return shares / shares.sum(1, keepdims=True)


@dataclass(frozen=True, eq=False)
class Suspects:
    """Rows by how much speaks against their label.

    Args:
        order: All rows, the most suspicious first; those that are suspected come before the others.
        suspected: Whether confident learning takes the label of a row for wrong.
    """

    order: Int[np.ndarray, " N"]
    suspected: Bool[np.ndarray, " N"]


def find_suspects(
    labels: Int[np.ndarray, " N"], probabilities: Float[np.ndarray, "N C"]
) -> Suspects:
    """Confident learning: for each given and true class as many rows are suspected as noise is estimated.

    Args:
        labels: The given class of each row.
        probabilities: Of each class, by a model that did not see the row.

    Source: Northcutt et al. 2021, https://arxiv.org/abs/1911.00068; computed by cleanlab
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    suspected = np.asarray(find_label_issues(labels, probabilities, n_jobs=1), dtype=bool)
    quality = get_label_quality_scores(labels, probabilities, method="self_confidence")
    return Suspects(np.lexsort((quality, ~suspected)), suspected)
