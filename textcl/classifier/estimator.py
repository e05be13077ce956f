"""The classifier as an estimator of scikit-learn."""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, no_type_check

import numpy as np
import torch
from jaxtyping import Float32
from rich.console import Console
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from textcl.classifier.classifier import Classifier
from textcl.classifier.fit_rejection import fit_rejection
from textcl.data.files import atomic_write, read_json, to_json
from textcl.data.splits import hold_out
from textcl.data.texts import as_column, as_texts, is_missing, normal_text
from textcl.encoder.hub import find_model
from textcl.errors import UserError
from textcl.training.recipes import find
from textcl.training.session import train

ESTIMATOR_FILE = "estimator.json"


class TextClassifier(ClassifierMixin, BaseEstimator):
    """Fine-tunes an encoder to tell classes of texts apart, and predicts them.

    Arguments that are None take what the recipe of `objective` says for `model`; the batch is no larger than the data.

    Where a text has several labels, `y` is a list of lists of names, or an indicator matrix as scikit-learn has it.

    Args:
        model: Encoder to start from: a folder or a name on the hub.
        objective: "lcl", "supcon" or "cross-entropy"; or a file with a recipe for labelled rows.
        temperature: Of the contrast.
        loss_weight: λ, the share of cross-entropy in the loss.
        epochs: Passes over the data.
        batch_size: Rows of an update.
        learning_rate: Highest learning rate.
        max_length: Longest text in tokens.
        class_weights: "balanced" lets rare classes count more.
        held_out: Share of the rows that is held out to select the best epoch; 0 keeps the last one.
        reject_label: What `predict` gives for a text of none of the classes, such as "other"; None gives every text a
            class. `fit` takes the threshold from the rows of `held_out`, of which 95 % are accepted.
        settings: Further settings of the recipe by name.
        random_state: Seed of everything.
        verbose: Whether to show the training on standard error.

    Attributes:
        classes_: The labels, sorted; columns of `predict_proba`. Where texts have several, the columns of the
            indicator matrix.
        classifier_: The `Classifier` itself.
    """

    @no_type_check  # scikit-learn checks arguments in fit, where a wrong one is told
    def __init__(
        self,
        model: str | Path = "sentence-transformers/all-MiniLM-L6-v2",
        objective: str = "lcl",
        *,
        temperature: float | str | None = None,
        loss_weight: float | None = None,
        epochs: float | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        max_length: int | None = None,
        class_weights: Literal["none", "balanced"] | None = None,
        held_out: float = 0.0,
        reject_label: Any = None,
        settings: Mapping[str, Any] | None = None,
        random_state: int = 0,
        verbose: bool = False,
    ) -> None:
        self.model = model
        self.objective = objective
        self.temperature = temperature
        self.loss_weight = loss_weight
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_length = max_length
        self.class_weights = class_weights
        self.held_out = held_out
        self.reject_label = reject_label
        self.settings = settings
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any) -> TextClassifier:  # noqa: N803
        """Train on texts and their labels.

        Args:
            X: N texts.
            y: A label for each; or where texts have several, a list of names for each or an indicator matrix (N, C).

        Returns:
            Itself.

        Raises:
            UserError: If a text is no text, the lengths differ, all rows have the same label, or a setting is wrong.
        """
        texts = _texts(X)
        if y is None:
            raise UserError(
                "fit requires y to be passed, but the target y is None: a label for each text"
            )
        if self.reject_label is not None and not self.held_out:
            raise UserError(
                "reject_label takes its threshold from held-out rows: set held_out, such as 0.1"
            )
        role, labels, classes = _labels(y)
        check_consistent_length(texts, labels)
        texts, labels = _with_text(texts, labels)
        if len(texts) < 2:
            raise UserError("expected at least 2 texts to train on, got 1 sample")
        rows = [{"text": text, role: label} for text, label in zip(texts, labels, strict=True)]
        with tempfile.TemporaryDirectory(prefix="textcl-") as folder, torch.random.fork_rng():
            run = train(
                self.objective,
                model=self.model,
                data=rows,
                dev=str(self.held_out) if self.held_out else "",
                output=Path(folder) / "run",
                settings=self._settings(texts, labels),
                console=None if self.verbose else Console(file=io.StringIO()),
            )
        assert run is not None
        if run.classifier is None:
            raise UserError(
                f"the recipe {self.objective!r} trains no classifier: choose lcl, supcon or cross-entropy"
            )
        self.classes_, self.classifier_ = classes, run.classifier
        if self.reject_label is not None:
            self._fit_rejection(texts, labels)
        return self

    def _fit_rejection(self, texts: list[str], labels: list[Any]) -> None:
        seed = self._settings(texts, labels)["seed"]
        split = hold_out(texts, labels, self.held_out, seed)  # as the training held them out
        kept, held = (
            ([texts[place] for place in places], [labels[place] for place in places])
            for places in (split.kept, split.held)
        )
        fit_rejection(self.classifier_, *held, train=kept, place=f"held_out={self.held_out:g}")

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The label of each text (N,); an indicator matrix (N, C) where texts have several.

        Args:
            X: N texts.

        Raises:
            UserError: If there is a `reject_label` and no threshold for it.
        """
        if self.reject_label is not None:
            return self._predict_or_reject(_texts(X))
        proba = self.predict_proba(X)
        if self.classifier_.multi_label:
            learnt, places = self._columns()
            predicted = np.zeros(proba.shape, dtype=int)
            predicted[:, learnt] = proba[:, learnt] >= self.classifier_.thresholds[places]
            return predicted
        return self.classes_[proba.argmax(1)]

    def _predict_or_reject(self, texts: list[str]) -> np.ndarray:
        check_is_fitted(self, "classifier_")
        proba, rejected = self.classifier_.predict_or_reject(texts)
        learnt, places = self._columns()
        names = self.classes_[np.asarray(learnt)[proba[:, places].argmax(1)]]
        alike = isinstance(self.reject_label, str) == isinstance(self.classes_[0], str)
        kind = np.result_type(names, np.array(self.reject_label)) if alike else object
        names = names.astype(kind)
        names[rejected] = self.reject_label
        return names

    def predict_proba(self, X: Any) -> Float32[np.ndarray, "N C"]:  # noqa: N803
        """Probability of each of `classes_`; 0 for a column of an indicator matrix that had no 1.

        Args:
            X: N texts. Blank ones are answered as the empty text, with a warning of how many they are.
        """
        check_is_fitted(self, "classifier_")
        texts = _texts(X)
        if blank := sum(not normal_text(text) for text in texts):
            warnings.warn(
                f"{blank:,} of {len(texts):,} texts are blank: they are answered as the empty text",
                UserWarning,
                stacklevel=2,
            )
        found = self.classifier_.predict_proba(texts)
        learnt, places = self._columns()
        proba = np.zeros((len(found), len(self.classes_)), dtype=np.float32)
        proba[:, learnt] = found[:, places]
        return proba

    def save_pretrained(self, directory: str | Path) -> None:
        """Write the classifier's folder (see `Classifier.save_pretrained`), with the parameters and labels beside it.

        Args:
            directory: Folder to make or replace.
        """
        check_is_fitted(self, "classifier_")
        note = to_json({"parameters": self.get_params(), "classes": self.classes_})
        self.classifier_.save_pretrained(directory)
        with atomic_write(Path(directory) / ESTIMATOR_FILE) as file:
            file.write(note.encode())

    @classmethod
    def from_pretrained(cls, name_or_path: str | Path) -> TextClassifier:
        """Load what `save_pretrained` or `textcl train` left.

        Args:
            name_or_path: A folder, a run, or a name on the hub.

        Raises:
            UserError: If it is no classifier.
        """
        classifier = Classifier.from_pretrained(name_or_path)
        note = read_json(find_model(name_or_path) / ESTIMATOR_FILE)
        estimator = cls(**note.get("parameters", {}))
        estimator.classifier_ = classifier
        estimator.classes_ = np.array(note.get("classes", sorted(classifier.classes)))
        return estimator

    def _columns(self) -> tuple[list[int], list[int]]:
        """Which of `classes_` were learnt, and where the classifier has them."""
        place = {name: index for index, name in enumerate(self.classifier_.classes)}
        learnt = [column for column, label in enumerate(self.classes_) if str(label) in place]
        return learnt, [place[str(self.classes_[column])] for column in learnt]

    def _settings(self, texts: list[str], labels: list[Any]) -> dict[str, Any]:
        """The recipe's settings that are given here, with a batch no larger than what is trained on."""
        given = {
            "temperature": self.temperature,
            "loss_weight": self.loss_weight,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "max_length": self.max_length,
            "class_weights": self.class_weights,
        }
        chosen = {name: value for name, value in given.items() if value is not None}
        chosen |= {"seed": self.random_state, "save_every": 0, **(self.settings or {})}
        if "batch_size" not in chosen:
            kept = len(texts)
            if self.held_out:
                kept = len(hold_out(texts, labels, self.held_out, chosen["seed"]).kept)
            chosen["batch_size"] = min(find(self.objective).settings(self.model).batch_size, kept)
        return chosen

    def __sklearn_tags__(self) -> Any:
        tags: Any = super().__sklearn_tags__()  # pyright: ignore[reportAttributeAccessIssue]
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.classifier_tags.multi_label = True
        return tags


def _texts(given: Any) -> list[str]:
    texts = list(as_texts(given))
    if not texts:
        raise UserError("expected texts, got none: 0 sample(s) while a minimum of 1 is required")
    return texts


def _with_text(texts: list[str], labels: list[Any]) -> tuple[list[str], list[Any]]:
    """The rows that have a text, with a warning of how many have none."""
    kept = [place for place, text in enumerate(texts) if normal_text(text)]
    if len(kept) == len(texts):
        return texts, labels

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
    return [texts[place] for place in kept], [labels[place] for place in kept]


def _labels(y: Any) -> tuple[str, list[Any], np.ndarray]:
    """The role of the labels, the labels as texts, and the classes."""
    values = as_column(y)
    values = None if values is None else list(values)
    if values is not None and not _is_indicator(values):
        _check_present(values)
        if any(isinstance(value, list | tuple | set | np.ndarray) for value in values):
            lists = [[_clean(name) for name in names] for names in values]
            classes = np.asarray(MultiLabelBinarizer().fit(lists).classes_)
            return "labels", [[str(name) for name in names] for names in lists], classes
        check_classification_targets(values)
        column = column_or_1d([_clean(value) for value in values])
        return "label", [str(label) for label in column], np.unique(column)
    if type_of_target(y) == "multilabel-indicator":
        dense: Any = y
        hot = np.asarray(dense.toarray() if issparse(dense) else dense)
        return (
            "labels",
            [[str(i) for i in np.flatnonzero(row)] for row in hot],
            np.arange(hot.shape[1]),
        )
    check_classification_targets(y)
    return _labels(column_or_1d(y, warn=True))


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
