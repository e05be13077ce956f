"""The classifier as an estimator of scikit-learn."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, cast, no_type_check

import numpy as np
import torch
from jaxtyping import Float32
from rich.console import Console
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from textcl.classifier.classifier import Classifier
from textcl.classifier.columns import ColumnsClassifier, load_classifier
from textcl.classifier.estimator_columns import (
    FittingColumns,
    fitting_columns,
    labels_of,
    logits_of,
    one_of,
    probabilities_of,
    saved_classes,
    several_of,
    share_right,
)
from textcl.classifier.estimator_folder import (
    ESTIMATOR_FILE,
    estimator_note,
    read_estimator_note,
    state_on_cpu,
)
from textcl.classifier.estimator_labels import (
    in_order,
    learnt_columns,
    share_equal,
    with_reject_label,
)
from textcl.classifier.estimator_rows import FittingRows, fitting_rows, read_texts, texts_to_answer
from textcl.classifier.estimator_settings import (
    Parameters,
    parameters_of_today,
    recipe_for,
    run_seed,
    run_settings,
    share_to_hold_out,
)
from textcl.classifier.fit_rejection import fit_rejection
from textcl.data.arguments import checked_arguments
from textcl.data.files import write_text
from textcl.encoder.hub import find_model
from textcl.errors import UserError
from textcl.training.session import train


class TextClassifier(ClassifierMixin, TransformerMixin, BaseEstimator):
    """Fine-tunes an encoder to tell classes of texts apart, and predicts them.

    Arguments that are None take what the recipe of `method` says for `model`; the batch is no larger than the data.

    Labels are numbers, texts, or anything hashable whose text is its own, and come back from `predict` as they came.
    Where a text has several labels, `y` is a list of lists of names (tuples count as lists), or an indicator matrix as
    scikit-learn has it. Where it has one label in each of several columns, `y` is a table (of pandas, polars, pyarrow,
    a dict of columns, a list of dicts) or an array (N, columns); None and NaN stand for a label that is missing. An
    array or data frame of nothing but 0 and 1 is an indicator matrix: write yes and no as texts. Answers then are an
    array (N, columns), and lists with an array for each column where scikit-learn has them.

    Answers are computed in float32, so that none depends on the texts beside it: in bfloat16, the default of
    `classifier_` where it is fast, a probability was seen to move by 0.004 with its batch.

    Args:
        model: Encoder to start from: a folder or a name on the hub.
        method: "few-shot", "lcl", "supcon" or "cross-entropy", or a file with a recipe for labelled rows. "auto" is
            few-shot below 50 rows a class, and cross-entropy from there on and for several label columns, which it
            alone takes.
        temperature: Of the contrast.
        loss_weight: λ, the share of cross-entropy in the loss.
        epochs: Passes over the data.
        batch_size: Rows of an update.
        learning_rate: Highest learning rate.
        max_length: Longest text in tokens.
        class_weight: "balanced" lets rare classes count more; a dict says how much each label counts.
        held_out: Share of the rows that is held out to select the best weights, and to keep the frozen encoder with its
            logistic regression where training does not reach it. 0 keeps the last weights; None holds out a tenth if
            there are 1,000 rows, and 20 a class; of fewer rows parts are left out in turn to choose what is kept.
        patience: Evaluations on the held-out rows without a better score after which training stops early.
        reject_label: What `predict` gives for a text of none of the classes, such as "other"; None gives every text a
            class. `fit` takes the threshold from the rows of `held_out`, of which 95 % are accepted.
        settings: Further settings of the recipe by name.
        random_state: Seed of everything.
        verbose: Whether to show the training on standard error.
        objective: `method` by its earlier name.
        class_weights: `class_weight` by its earlier name; "none" is None.

    Attributes:
        classes_: The labels, sorted; columns of `predict_proba`. Where texts have several, the columns of the
            indicator matrix, by their names where it is a data frame; of several label columns a list with the labels
            of each.
        classifier_: The `Classifier` itself; of several label columns the `ColumnsClassifier`.
        n_iter_: Updates of the training.
    """

    classes_: np.ndarray | list[np.ndarray]
    classifier_: Classifier | ColumnsClassifier

    @no_type_check  # scikit-learn checks arguments in fit, and reports a wrong one there
    def __init__(
        self,
        model: str | Path = "sentence-transformers/all-MiniLM-L6-v2",
        method: str = "auto",
        *,
        temperature: float | str | None = None,
        loss_weight: float | None = None,
        epochs: float | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        max_length: int | None = None,
        class_weight: Literal["balanced"] | Mapping[Any, float] | None = None,
        held_out: float | None = None,
        patience: int | None = None,
        reject_label: object = None,
        settings: Mapping[str, object] | None = None,
        random_state: int = 0,
        verbose: bool = False,
        objective: str | None = None,
        class_weights: Literal["none", "balanced"] | None = None,
    ) -> None:
        self.model = model
        self.method = method
        self.temperature = temperature
        self.loss_weight = loss_weight
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.max_length = max_length
        self.class_weight = class_weight
        self.held_out = held_out
        self.patience = patience
        self.reject_label = reject_label
        self.settings = settings
        self.random_state = random_state
        self.verbose = verbose
        self.objective = objective
        self.class_weights = class_weights

    def fit(self, X: object, y: object, sample_weight: object = None) -> TextClassifier:  # noqa: N803
        """Train on texts and their labels.

        Args:
            X: N texts.
            y: A label for each; or where texts have several, a list of names for each or an indicator matrix (N, C); or
                a table or array with several label columns.
            sample_weight: How much each text counts (N,). Whole numbers repeat a text, 0 leaves it out; others are
                scaled to two to four times as many rows and rounded by chance.

        Returns:
            Itself.

        Raises:
            UserError: If a text is no text, the lengths differ, all rows have the same label, or a setting is wrong.
        """
        parameters = cast(Parameters, parameters_of_today(self.get_params(deep=False)))
        given = (X, y, sample_weight, parameters["class_weight"], self.random_state)
        rows = fitting_columns(*given) or fitting_rows(*given)
        if self.reject_label is not None and isinstance(rows, FittingColumns):
            raise UserError(
                "reject_label is for one label column: fit each with "
                f'textcl.fit_rejection(model.classifier_["{rows.names[0]}"], …)'
            )
        recipe = recipe_for(parameters["method"], rows)
        share = share_to_hold_out(recipe, parameters, rows)
        with tempfile.TemporaryDirectory(prefix="textcl-") as folder, torch.random.fork_rng():
            run = train(
                recipe,
                model=self.model,
                data=rows.records(),
                dev=share,
                columns=rows.columns,
                output=Path(folder) / "run",
                settings=run_settings(recipe, parameters, share, rows),
                console=None if self.verbose else Console(file=io.StringIO()),
            )
        assert run is not None
        self.classes_, self.classifier_ = rows.classes, run.classifier
        self.n_iter_ = run.position.step
        if self.reject_label is not None and isinstance(rows, FittingRows):
            self._fit_rejection(rows, share, run_seed(parameters))
        return self

    def _fit_rejection(self, rows: FittingRows, share: str, seed: int) -> None:
        split = rows.held_out(share, seed)
        kept, held = (
            ([rows.texts[place] for place in places], [rows.labels[place] for place in places])
            for places in (split.kept, split.held)
        )
        fit_rejection(
            one_of(self.classifier_, self.classes_)[0], *held, train=kept, place=f"held_out={share}"
        )

    def predict(self, X: object) -> np.ndarray:  # noqa: N803
        """The label of each text (N,); an indicator matrix (N, C) where texts have several.

        Of several label columns the label in each (N, columns).

        Args:
            X: N texts.

        Raises:
            UserError: If there is a `reject_label` and no threshold for it.
        """
        if self.reject_label is not None:
            return self._predict_or_reject(read_texts(X))
        proba = self.predict_proba(X)
        if isinstance(proba, list):
            return labels_of(proba, cast("list[np.ndarray]", self.classes_))
        classifier, classes = one_of(self.classifier_, self.classes_)
        if classifier.multi_label:
            learnt, places = learnt_columns(classes, classifier.classes)
            predicted = np.zeros(proba.shape, dtype=int)
            predicted[:, learnt] = proba[:, learnt] >= classifier.thresholds[places]
            return predicted
        return classes[proba.argmax(1)]

    def _predict_or_reject(self, texts: list[str]) -> np.ndarray:
        check_is_fitted(self, "classifier_")
        classifier, classes = one_of(self.classifier_, self.classes_)
        proba, rejected = classifier.predict_or_reject(texts, precision="float32")
        learnt, places = learnt_columns(classes, classifier.classes)
        names = classes[np.asarray(learnt)[proba[:, places].argmax(1)]]
        return with_reject_label(names, rejected, self.reject_label)

    def predict_proba(
        self,
        X: object,  # noqa: N803
    ) -> Float32[np.ndarray, "N C"] | list[Float32[np.ndarray, "N C"]]:
        """Probability of each of `classes_`; 0 for a column of an indicator matrix that had no 1; a list by column.

        Args:
            X: N texts. Blank ones are answered as the empty text, with a warning of how many they are.
        """
        check_is_fitted(self, "classifier_")
        texts = texts_to_answer(X)
        if several := several_of(self.classifier_, self.classes_):
            return probabilities_of(*several, texts)
        classifier, classes = one_of(self.classifier_, self.classes_)
        return in_order(
            classifier.predict_proba(texts, precision="float32"), classes, classifier.classes, 0.0
        )

    def decision_function(
        self,
        X: object,  # noqa: N803
    ) -> Float32[np.ndarray, " N"] | Float32[np.ndarray, "N C"] | list[Float32[np.ndarray, "N C"]]:
        """Class logits; with two classes and one label a text (N,), the logit of the second over that of the first.

        Of several label columns a list with the logits of each (N, C).

        Args:
            X: N texts.
        """
        check_is_fitted(self, "classifier_")
        lowest, texts = float(np.finfo(np.float32).min), read_texts(X)
        if several := several_of(self.classifier_, self.classes_):
            return logits_of(*several, texts)
        classifier, classes = one_of(self.classifier_, self.classes_)
        logits = in_order(
            classifier.logits(texts, precision="float32"), classes, classifier.classes, lowest
        )
        if len(classes) == 2 and not classifier.multi_label:
            return logits[:, 1] - logits[:, 0]
        return logits

    def transform(self, X: object) -> Float32[np.ndarray, "N D"]:  # noqa: N803
        """Vectors of the trained encoder, as its `encode` gives them.

        Args:
            X: N texts.
        """
        check_is_fitted(self, "classifier_")
        return self.classifier_.encoder.encode(read_texts(X), precision="float32")

    def score(self, X: object, y: object, sample_weight: object = None) -> float:  # noqa: N803
        """Share of the texts whose label, or all of whose labels, are predicted, those of all columns among them.

        Args:
            X: N texts.
            y: Their labels.
            sample_weight: How much each text counts (N,).
        """
        classes = getattr(self, "classes_", np.empty(0))
        if isinstance(classes, list):
            texts = read_texts(X)
            return share_right(self.predict(texts), y, sample_weight, len(texts))
        if classes.dtype != object:
            return super().score(X, y, sample_weight)
        return share_equal(self.predict(X), cast("Iterable[object]", y), sample_weight)

    @checked_arguments
    def save_pretrained(self, directory: str | Path) -> None:
        """Write the classifier's folder (see `Classifier.save_pretrained`), with the parameters and labels beside it.

        Args:
            directory: Folder to make or replace.

        Raises:
            UserError: If a label or a parameter has no form in JSON, such as bytes; nothing is written then.
        """
        check_is_fitted(self, "classifier_")
        note = estimator_note(self.get_params(), self.classes_)
        self.classifier_.save_pretrained(directory)
        write_text(Path(directory) / ESTIMATOR_FILE, note)

    @classmethod
    @checked_arguments
    def from_pretrained(cls, name_or_path: str | Path) -> TextClassifier:
        """Load what `save_pretrained` or `textcl train` left.

        Args:
            name_or_path: A folder, a run, or a name on the hub.

        Raises:
            UserError: If it is no classifier.
        """
        classifier = load_classifier(name_or_path)
        note, parameters = read_estimator_note(find_model(name_or_path))
        estimator = cls(**parameters_of_today(parameters))
        estimator.classifier_ = classifier
        estimator.classes_ = saved_classes(note, classifier)
        return estimator

    def __getstate__(self) -> dict[str, object]:
        """State to pickle, with the weights in main memory."""
        return state_on_cpu(cast("dict[str, object]", super().__getstate__()))

    def __sklearn_tags__(self) -> Tags:
        tags: Tags = super().__sklearn_tags__()  # pyright: ignore[reportAttributeAccessIssue]
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        assert tags.transformer_tags is not None  # set by TransformerMixin
        tags.transformer_tags.preserves_dtype = []  # texts have none that their vectors could keep
        assert tags.classifier_tags is not None  # set by ClassifierMixin
        tags.classifier_tags.multi_label = True
        return tags
