"""What an estimator is given: texts, labels of any kind, how much each row counts, and parameters."""

from __future__ import annotations

import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import Float
from scipy.sparse import issparse
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    _check_sample_weight,  # pyright: ignore[reportPrivateUsage]  # as the estimators of scikit-learn
    column_or_1d,
)

from textcl.classifier.settings import LabelledSettings
from textcl.data.texts import as_column, as_texts, is_missing, normal_text
from textcl.errors import UserError
from textcl.training.recipes import find
from textcl.training.settings import TrainSettings

_FEW_ROWS = 50

_MOST_REPEATED = 4


@dataclass(frozen=True)
class GivenLabels:
    """Labels as a recipe takes them, and what they stand for.

    Args:
        role: "label", or "labels" where texts have several.
        names: The name of each row's label, or a list of names.
        classes: The labels themselves, sorted.
        class_names: The name of each of them.
    """

    role: str
    names: list[Any]
    classes: np.ndarray
    class_names: tuple[str, ...]


def read_texts(given: Any) -> list[str]:
    """Texts as a list.

    Raises:
        UserError: If it is no list, column or iterator of texts, or there is none.
    """
    texts = list(as_texts(given))
    if not texts:
        raise UserError("expected texts, got none: 0 sample(s) while a minimum of 1 is required")
    return texts


def texts_to_answer(given: Any) -> list[str]:
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


def rows_with_text(texts: Sequence[str], labels: Sequence[Any]) -> list[int]:
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
        stacklevel=3,
    )
    return kept


def read_labels(y: Any) -> GivenLabels:
    """Labels of any hashable kind, lists of labels, or an indicator matrix.

    Raises:
        UserError: If a label is missing or none that can be told from others by its name.
    """
    values = as_column(y)
    values = None if values is None else list(values)
    if values is None or _is_indicator(values):
        return _of_matrix(y)
    _check_present(values)
    kind = getattr(y, "dtype", None)
    if any(isinstance(value, list | tuple | set | np.ndarray) for value in values):
        lists = [[_clean(name) for name in cast("Iterable[object]", names)] for names in values]
        classes = np.asarray(MultiLabelBinarizer().fit(lists).classes_)
        return GivenLabels(
            "labels", [[str(n) for n in names] for names in lists], classes, _names(classes)
        )
    column = [_clean(value) for value in values]
    if all(isinstance(value, str | bool | int | float | np.generic) for value in column):
        check_classification_targets(column)
        classes = np.unique(column_or_1d(column))
        if isinstance(kind, np.dtype) and kind.kind == "T":  # StringDType of numpy 2
            classes = classes.astype(kind)
        return GivenLabels(
            "label", [str(label) for label in column_or_1d(column)], classes, _names(classes)
        )
    classes = _objects(column)
    named = dict(zip(classes.tolist(), _names(classes), strict=True))
    return GivenLabels("label", [named[label] for label in column], classes, tuple(named.values()))


def _of_matrix(y: Any) -> GivenLabels:
    if type_of_target(y) != "multilabel-indicator":
        check_classification_targets(y)
        return read_labels(column_or_1d(y, warn=True))
    dense: Any = y
    hot = np.asarray(dense.toarray() if issparse(dense) else dense)
    classes = np.arange(hot.shape[1])
    names = [[str(i) for i in np.flatnonzero(row)] for row in hot]
    return GivenLabels("labels", names, classes, _names(classes))


def _objects(labels: Sequence[Any]) -> np.ndarray:
    """Distinct labels that are no texts or numbers, sorted where they can be."""
    if unhashable := [label for label in labels if not isinstance(label, Hashable)]:
        raise UserError(f"a label must be hashable, got {unhashable[0]!r:.80}")
    distinct = list(dict.fromkeys(labels))
    try:
        distinct.sort()
    except TypeError:
        distinct.sort(key=repr)
    classes = np.empty(len(distinct), dtype=object)
    classes[:] = distinct
    return classes


def _names(classes: np.ndarray) -> tuple[str, ...]:
    names = tuple(str(label) for label in classes)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"two labels are written {twice!r}: give each a name of its own")
    return names


def _is_indicator(values: list[Any]) -> bool:
    """Whether rows of a list are those of a matrix of zeros and ones."""
    if not values or not all(isinstance(row, list | tuple | np.ndarray) for row in values):
        return False
    width = len(values[0])
    whole = all(
        isinstance(each, int | np.integer) and each in (0, 1) for row in values for each in row
    )
    return width > 1 and whole and all(len(row) == width for row in values)


def _check_present(labels: list[Any]) -> None:
    missing = [place for place, label in enumerate(labels) if is_missing(label)]
    if missing:
        places = ", ".join(map(str, missing[:5])) + (", …" if len(missing) > 5 else "")
        raise UserError(
            f"y has no label (is None or NaN) at number {places}: leave those texts out"
        )
    if len({isinstance(label, str) for label in labels}) > 1:
        raise UserError(
            "y mixes texts and numbers, so that 1 and '1' would be one class: write all in one way"
        )


def _clean(label: Any) -> Any:
    return normal_text(label) if isinstance(label, str) else label


def row_weights(
    names: Sequence[Any],
    given: GivenLabels,
    sample_weight: Any,
    class_weight: str | Mapping[Any, float] | None,
) -> Float[np.ndarray, " N"] | None:
    """How much each row counts; None where all count alike. "balanced" is left to the recipe.

    Args:
        names: The name of each row's label, or its list of names.
        given: What the names stand for.
        sample_weight: A number for each row; None for 1.
        class_weight: A number for each label, 1 for those that are not named.

    Raises:
        UserError: If a weight is below 0, or a class that is weighed is none of the labels.
    """
    weights = None
    if sample_weight is not None:
        weights = np.asarray(_check_sample_weight(sample_weight, np.zeros((len(names), 1))), float)
        if (weights < 0).any():
            raise UserError("sample_weight must be 0 or more for every text")
        if not weights.any():
            raise UserError("sample_weight must hold at least one non-zero number")
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
    by_name = {known[label]: float(weight) for label, weight in class_weight.items()}
    of_class = np.array([by_name.get(name, 1.0) for name in names])
    if (of_class < 0).any():
        raise UserError("class_weight must be 0 or more for every label")
    return of_class if weights is None else weights * of_class


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


def fitting_batch(settings: TrainSettings, chosen: Mapping[str, Any], rows: int) -> dict[str, int]:
    """A batch no larger than the rows, which blocks of a class fill.

    Args:
        settings: Of the recipe.
        chosen: Settings that differ from them.
        rows: To train on.
    """
    size = min(settings.batch_size, rows)
    block = chosen.get("rows_per_class", getattr(settings, "rows_per_class", 0))
    if not block or size % block == 0:
        return {"batch_size": size}
    return (
        {"batch_size": size - size % block}
        if size > block
        else {"batch_size": size, "rows_per_class": 0}
    )


def recipe_for(method: str, rows: int, classes: int) -> str:
    """The recipe that trains a classifier.

    Args:
        method: Its name or file; "auto" is few-shot below 50 rows a class, and lcl from there on.
        rows: Texts to train on.
        classes: Of them.

    Raises:
        UserError: If the recipe trains no classifier.
    """
    few = "few-shot" if rows < _FEW_ROWS * classes else "lcl"
    name = few if method == "auto" else method
    if not issubclass(find(name).settings_type, LabelledSettings):
        raise UserError(
            f"the recipe {name!r} trains no classifier: choose few-shot, lcl, supcon or cross-entropy"
        )
    return name


def parameters_of_today(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters with those that were given by an earlier name under today's.

    Args:
        parameters: Of an estimator, or as estimator.json of an older folder holds them.

    Raises:
        UserError: If one is given under both names.
    """
    values = dict(parameters)
    for earlier, name in (("objective", "method"), ("class_weights", "class_weight")):
        given = values.pop(earlier, None)
        if given is None:
            continue
        if values.get(name) not in (None, "auto", given):
            raise UserError(f"{earlier} is the earlier name of {name}: give one of them")
        values[name] = None if given == "none" else given
    return values
