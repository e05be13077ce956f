"""The rows that an estimator is trained on: texts with labels, each as often as it counts."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from jaxtyping import Float
from sklearn.utils.validation import (
    _check_sample_weight,  # pyright: ignore[reportPrivateUsage]  # as the estimators of scikit-learn
    check_consistent_length,
)

from textcl.classifier.estimator_labels import GivenLabels, LabelNames, read_labels
from textcl.data.splits import Split, hold_out
from textcl.data.texts import as_texts, normal_text
from textcl.errors import UserError

_MOST_REPEATED = 4


@dataclass(frozen=True)
class FittingRows:
    """Rows to train on.

    Args:
        texts: None of them blank.
        labels: The name of each text's label, or its list of names.
        role: "label", or "labels" where texts have several.
        classes: The labels themselves, sorted.
    """

    texts: list[str]
    labels: list[LabelNames]
    role: str
    classes: np.ndarray

    @property
    def class_count(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def columns(self) -> dict[str, str]:
        """Columns of `records` that are not named by their role."""
        return {}

    def records(self) -> list[dict[str, object]]:
        """The rows as `textcl.train` takes them."""
        pairs = zip(self.texts, self.labels, strict=True)
        return [{"text": text, self.role: label} for text, label in pairs]

    def held_out(self, share: str, seed: int) -> Split:
        """Mask of the rows that training holds out.

        Args:
            share: Of the rows.
            seed: Of the run.
        """
        return hold_out(self.texts, self.labels, float(share), seed)


def fitting_rows(
    texts: object,
    y: object,
    sample_weight: object,
    class_weight: object,
    seed: int,
) -> FittingRows:
    """The rows that `fit` trains on: without blank texts, and repeated where rows do not count alike.

    Args:
        texts: N texts.
        y: A label for each, a list of names for each, or an indicator matrix.
        sample_weight: How much each text counts; None for 1.
        class_weight: How much each label counts; None or "balanced" repeats no row.
        seed: What the rounding of weights follows from.

    Raises:
        UserError: If a text is no text, a label is missing, the lengths differ, or fewer than 2 rows are left.
    """
    texts = read_texts(texts)
    if y is None:
        raise UserError(
            "fit requires y to be passed, but the target y is None: a label for each text"
        )
    given = read_labels(y)
    check_consistent_length(texts, given.names)
    weights = row_weights(given.names, given, sample_weight, class_weight)
    places = kept_rows(texts, given.names, weights, seed)
    chosen = [texts[i] for i in places], [given.names[i] for i in places]
    return FittingRows(*chosen, given.role, given.classes)


def kept_rows(
    texts: Sequence[str],
    labels: Sequence[LabelNames],
    weights: Float[np.ndarray, " N"] | None,
    seed: int,
) -> list[int]:
    """Places of the rows to train on: those with a text, each as often as it counts.

    Args:
        texts: N texts.
        labels: The name of each text's label, or its list of names.
        weights: How much each text counts; None where all count alike.
        seed: What the rounding of weights follows from.

    Raises:
        UserError: If fewer than 2 rows are left, or all texts of a class are blank.
    """
    places = rows_with_text(texts, labels)
    if weights is not None:
        places = [places[place] for place in repeated(weights[places], seed)]
    if len(places) < 2:
        raise UserError("expected at least 2 texts to train on, got 1 sample")
    return places


def read_texts(given: object) -> list[str]:
    """Texts as a list.

    Raises:
        UserError: If it is no list, column or iterator of texts, or there is none.
    """
    texts = list(as_texts(given))
    if not texts:
        raise UserError("expected texts, got none: 0 sample(s) while a minimum of 1 is required")
    return texts


def texts_to_answer(given: object) -> list[str]:
    """Texts as a list, with a warning of how many are blank: they are answered as the empty text.

    Raises:
        UserError: As of `read_texts`.
    """
    texts = read_texts(given)
    if blank := sum(not normal_text(text) for text in texts):
        warnings.warn(
            f"{blank:,} of {len(texts):,} texts are blank: they are answered as the empty text",
            UserWarning,
            stacklevel=3,
        )
    return texts


def rows_with_text(texts: Sequence[str], labels: Sequence[LabelNames]) -> list[int]:
    """Places of the rows that have a text, with a warning of how many have none.

    Raises:
        UserError: If all texts of a class are blank.
    """
    kept = [place for place, text in enumerate(texts) if normal_text(text)]
    if len(kept) == len(texts):
        return kept

    def names(places: Iterable[int]) -> set[str]:
        rows = (labels[place] for place in places)
        return {name for row in rows for name in ([row] if isinstance(row, str) else row)}

    if lost := sorted(names(range(len(texts))) - names(kept)):
        raise UserError(
            f"all texts of {', '.join(lost[:5])} are blank, so nothing can be learnt of it: give them words, or leave "
            "those rows out"
        )
    warnings.warn(
        f"{len(texts) - len(kept):,} of {len(texts):,} texts are blank and not trained on; `predict` answers for a "
        "blank text as for the empty one",
        UserWarning,
        stacklevel=5,
    )
    return kept


def row_weights(
    names: Sequence[LabelNames],
    given: GivenLabels,
    sample_weight: object,
    class_weight: object,
) -> Float[np.ndarray, " N"] | None:
    """Weight of each row; None where all count alike. "balanced" is left to the recipe.

    Args:
        names: The name of each row's label, or its list of names.
        given: What the names stand for.
        sample_weight: A number for each row; None for 1.
        class_weight: A number for each label, 1 for those that are not named.

    Raises:
        UserError: If a weight is below 0, or a class that is weighed is none of the labels.
    """
    weights = sample_weights(len(names), sample_weight)
    if not isinstance(class_weight, Mapping):
        if class_weight not in (None, "balanced"):
            raise UserError(
                f'class_weight is None, "balanced" or a dict of labels and weights, got {class_weight!r}'
            )
        return weights
    if given.role == "labels":
        raise UserError('where texts have several labels class_weight is None or "balanced"')
    known = dict(zip(given.classes.tolist(), given.class_names, strict=True))
    if unknown := [label for label in class_weight if label not in known]:
        raise UserError(f"class_weight names {unknown[0]!r}, which is none of the labels")
    weight_of = cast("Mapping[object, float]", class_weight)
    by_name = {known[label]: float(weight) for label, weight in weight_of.items()}
    of_class = np.array([by_name.get(cast(str, name), 1.0) for name in names])
    if (of_class < 0).any():
        raise UserError("class_weight must be 0 or more for every label")
    return of_class if weights is None else weights * of_class


def sample_weights(rows: int, sample_weight: object) -> Float[np.ndarray, " N"] | None:
    """Checked weights of rows; None where none are given.

    Args:
        rows: Their number.
        sample_weight: A number for each row; None for 1.

    Raises:
        UserError: If a weight is below 0, or all are 0.
    """
    if sample_weight is None:
        return None
    weights = np.asarray(_check_sample_weight(sample_weight, np.zeros((rows, 1))), float)
    if (weights < 0).any():
        raise UserError("sample_weight must be 0 or more for every text")
    if not weights.any():
        raise UserError("sample_weight must hold at least one non-zero number")
    return weights


def repeated(weights: Float[np.ndarray, " N"], seed: int) -> list[int]:
    """Places of the rows, each as often as it counts.

    Whole numbers repeat a row (0 leaves it out), so that a weight of 2 is a row that is there twice. Other weights are
    scaled until the lowest is a row, to two to four times as many rows as there are, and rounded up or down by chance.

    Args:
        weights: How much each row counts.
        seed: What the rounding follows from.
    """
    used = weights > 0
    whole = weights == np.floor(weights)
    if whole.all() and weights.sum() <= _MOST_REPEATED * used.sum():
        counts = weights.astype(int)
    else:
        mean = weights.sum() / used.sum()
        scale = min(_MOST_REPEATED / mean, max(2 / mean, 1 / weights[used].min()))
        wanted = weights * scale
        chance = np.random.Generator(np.random.PCG64(seed)).random(len(weights))
        counts = np.where(used, np.maximum(1, np.floor(wanted + chance)), 0).astype(int)
    return np.repeat(np.arange(len(weights)), counts).tolist()
