"""The scikit-learn estimator: on texts, in model selection, and through scikit-learn's own checks."""

from __future__ import annotations

import enum
import json
import pickle
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pyarrow
import pytest
import sklearn
import torch
from families import tiny_model_dir
from labelled import labelled
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score, cross_validate
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator

import textcl
from textcl.classifier import estimator_labels, estimator_rows, estimator_settings
from textcl.classifier.estimator import TextClassifier
from textcl.errors import UserError
from textcl.training.recipes import find

ROWS = labelled(60)
TEXTS, LABELS = [row["text"] for row in ROWS], [row["label"] for row in ROWS]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_model_dir(tmp_path_factory.mktemp("model"), layers=1))


def make(model, **more):
    options = {
        "method": "cross-entropy",
        "epochs": 6,
        "learning_rate": 1e-2,
        "max_length": 16,
        # test_comparison.py has the choice by rows left out
        "settings": {"pooling": "mean", "dropout": 0, "precision": "fp32", "compare_folds": 0},
    }
    return TextClassifier(model, **{**options, **more})


@pytest.fixture(scope="module")
def fitted(model):
    return make(model).fit(TEXTS, LABELS)


def test_it_learns_texts_and_scores(fitted):
    assert fitted.classes_.tolist() == ["food", "sport", "town"]
    assert fitted.score(TEXTS, LABELS) > 0.9
    proba = fitted.predict_proba(TEXTS)
    assert proba.shape == (60, 3)
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-5)
    assert fitted.predict(TEXTS).tolist() == fitted.classes_[proba.argmax(1)].tolist()
    assert fitted.predict(np.array(TEXTS[:3])).tolist() == fitted.predict(TEXTS[:3]).tolist()


def test_labels_keep_their_type_and_order(model):
    """Names are sorted as texts inside: 10 before 2."""
    numbers = {"food": 2, "sport": 10, "town": 1}
    it = make(model).fit(TEXTS, np.array([numbers[label] for label in LABELS]))
    assert it.classes_.tolist() == [1, 2, 10]
    assert it.classifier_.classes == ("1", "10", "2")
    assert it.score(TEXTS, [numbers[label] for label in LABELS]) > 0.9
    place = it.classifier_.classes.index("10")
    want = it.classifier_.predict_proba(TEXTS[:4], precision="float32")[:, place]
    np.testing.assert_array_equal(it.predict_proba(TEXTS[:4])[:, 2], want)


def test_several_labels_come_as_lists_or_as_an_indicator(model):
    rows = labelled(60, several=True)
    texts, lists = [row["text"] for row in rows], [row["labels"] for row in rows]
    it = make(model, epochs=12).fit(texts, lists)
    assert it.classes_.tolist() == ["food", "sport", "town"]
    predicted = it.predict(texts)
    hot = np.array([[name in row for name in it.classes_] for row in lists]).astype(int)
    assert (predicted == hot).mean() > 0.75
    again = make(model, epochs=1).fit(texts, hot)
    assert again.predict(texts).shape == hot.shape
    assert again.classes_.tolist() == [0, 1, 2]


def test_cross_validation_and_grid_search(model):
    scores = cross_val_score(make(model), TEXTS, LABELS, cv=2)
    assert scores.min() > 0.4  # by chance 0.33
    grid = {"method": ["supcon"], "temperature": [0.1, 0.5], "loss_weight": [0.5]}
    search = GridSearchCV(make(model, epochs=1), grid, cv=2, error_score="raise").fit(TEXTS, LABELS)
    assert search.best_estimator_.get_params()["temperature"] in (0.1, 0.5)
    assert search.predict(TEXTS[:2]).shape == (2,)


def test_parameters_are_got_set_and_cloned(model):
    it = make(model, temperature=0.1)
    assert it.get_params()["temperature"] == 0.1
    assert clone(it).get_params() == it.get_params()
    assert it.set_params(method="lcl", epochs=2).method == "lcl"


def test_equal_seeds_give_equal_models_and_leave_the_global_generator_alone(model, fitted):
    before = torch.get_rng_state()
    again = make(model).fit(TEXTS, LABELS)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), fitted.predict_proba(TEXTS))
    other = make(model, random_state=1).fit(TEXTS, LABELS)
    assert not np.array_equal(other.predict_proba(TEXTS), fitted.predict_proba(TEXTS))


def test_it_is_saved_and_loaded(fitted, tmp_path):
    fitted.save_pretrained(tmp_path / "model")
    again = TextClassifier.from_pretrained(tmp_path / "model")
    np.testing.assert_array_equal(again.predict_proba(TEXTS), fitted.predict_proba(TEXTS))
    assert again.get_params() == fitted.get_params()
    assert again.predict(TEXTS).tolist() == fitted.predict(TEXTS).tolist()
    plain = textcl.Classifier.from_pretrained(tmp_path / "model")
    assert plain.classes == ("food", "sport", "town")
    plain.save_pretrained(tmp_path / "plain")
    bare = TextClassifier.from_pretrained(tmp_path / "plain")
    assert bare.predict(TEXTS).tolist() == fitted.predict(TEXTS).tolist()
    note = json.loads((tmp_path / "model" / "estimator.json").read_text())
    assert note["classes"] == ["food", "sport", "town"]


def test_a_pickled_one_predicts_the_same(fitted):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(TEXTS), fitted.predict_proba(TEXTS))


def test_the_best_epoch_on_held_out_rows_can_be_kept(model):
    it = make(model, held_out=0.2, epochs=2).fit(TEXTS, LABELS)
    assert it.score(TEXTS, LABELS) > 0.4


def test_a_batch_is_no_larger_than_the_data(model):
    it = make(model, epochs=1).fit(TEXTS[:4], ["a", "b", "a", "b"])
    assert it.predict(TEXTS[:1])[0] in ("a", "b")
    with pytest.raises(UserError, match="fewer than a batch of 10"):
        make(model, batch_size=10).fit(TEXTS[:4], ["a", "b", "a", "b"])


def test_a_column_without_a_1_has_probability_0(model):
    hot = np.array([[label == name for name in ("food", "none", "town")] for label in LABELS])
    it = make(model, epochs=1).fit(TEXTS, hot.astype(int))
    proba = it.predict_proba(TEXTS[:4])
    assert proba.shape == (4, 3)
    assert not proba[:, 1].any()
    assert not it.predict(TEXTS)[:, 1].any()


def test_blank_texts_are_counted_and_a_class_of_nothing_else_is_refused(model):
    with pytest.warns(UserWarning, match="2 of 62 texts are blank and not trained on"):
        it = make(model, epochs=1).fit([*TEXTS, " ", ""], [*LABELS, "food", "town"])
    with pytest.warns(UserWarning, match="1 of 2 texts are blank: they are answered as the empty"):
        assert it.predict(["\u00a0", TEXTS[0]]).shape == (2,)
    for labels in ([*LABELS, "sea"], [*([label] for label in LABELS), ["sea", "food"]]):
        with pytest.raises(UserError, match="all texts of sea are blank"):
            make(model).fit([*TEXTS, " "], labels)


def test_a_batch_fits_what_is_left_after_rows_are_held_out(model):
    texts = [f"{word} {letter}" for word in ["man", "dog", "cat", "red"] for letter in "ab"]
    labels = [word for word in ["man", "dog", "cat", "red"] for _ in "ab"]
    it = make(model, held_out=0.1, epochs=1).fit(texts, labels)
    assert len(it.predict(texts)) == 8


def test_mistakes_are_told(model, tmp_path):
    it = make(model)
    with pytest.raises(NotFittedError):
        it.predict(["a"])
    for texts, labels, match in (
        ("one text", ["a"], "expected a list, a column or an iterator of texts, got one text"),
        (np.zeros((3, 2)), [1, 2, 1], r"got ndarray of shape \(3, 2\)"),
        (["a", None], ["a", "b"], "texts must be strings, but number 1 is None"),
        (["a", "b"], None, "requires y to be passed, but the target y is None"),
        (["a", "b"], ["x"], "inconsistent numbers of samples"),
        (["a", "b"], ["x", "x"], "have the same label"),
        (["a", "b"], [0.5, 1.5], "Unknown label type"),
        ([], [], "expected texts, got none"),
        (["a"], ["x"], "at least 2 texts"),
    ):
        with pytest.raises(ValueError, match=match):
            it.fit(texts, labels)
    with pytest.raises(UserError, match="trains no classifier"):
        make(model, method="unsup-simcse", settings={}).fit(TEXTS, LABELS)
    with pytest.raises(UserError, match="unknown setting 'temperature'"):
        make(model, temperature=0.1).fit(TEXTS, LABELS)


class OfNumbers(TextClassifier):
    """Writes each row of numbers as a text: scikit-learn's checks come with numbers.

    Texts have no number of features, so that it stays the same is looked for here.
    """

    def fit(self, X, y=None, sample_weight=None):
        self.n_features_in_ = np.asarray(X).shape[-1]
        return super().fit(_as_texts(X), y, sample_weight)

    def predict_proba(self, X):
        return super().predict_proba(self._checked(X))

    def decision_function(self, X):
        return super().decision_function(self._checked(X))

    def transform(self, X):
        return super().transform(self._checked(X))

    def _checked(self, X):
        if np.asarray(X).shape[-1] != getattr(self, "n_features_in_", np.asarray(X).shape[-1]):
            raise ValueError("another number of features")
        return _as_texts(X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.string = tags.input_tags.one_d_array = False
        return tags


def _as_texts(rows):
    letters = np.clip(np.floor(2 * np.asarray(rows, dtype=float) + 10), 0, 19).astype(int)
    return [" ".join("abcdefghijklmnopqrst"[place] for place in row) for row in letters]


_FEATURES = "texts have no number of features that predict could compare with that of fit"
_NUMBERS = (
    "asks for the refusal of numbers that are no texts: NaN, complex, sparse, of another shape"
)
NOT_FOR_TEXTS = {
    "check_n_features_in": _FEATURES,
    "check_n_features_in_after_fitting": _FEATURES,
    "check_complex_data": _NUMBERS,
    "check_dtype_object": _NUMBERS,
    "check_estimators_empty_data_messages": _NUMBERS,
    "check_estimators_nan_inf": _NUMBERS,
    "check_estimator_sparse_array": _NUMBERS,
    "check_estimator_sparse_matrix": _NUMBERS,
    "check_estimator_sparse_tag": _NUMBERS,
    "check_fit1d": _NUMBERS,
    "check_fit2d_predict1d": _NUMBERS,
    "check_sample_weight_equivalence_on_dense_data": (
        "shuffles one of both, and which rows are trained on together depends on their order; equal in one order: "
        "test_a_weight_of_whole_numbers_is_a_row_that_is_there_as_often"
    ),
    "check_array_api_input": "needs an environment variable, and arrays on devices are no texts",
}
QUICK = {
    "check_classifier_data_not_an_array",
    "check_classifiers_one_label",
    "check_classifiers_regression_target",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_estimators_unfitted",
    "check_fit2d_1sample",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_requires_y_none",
    "check_set_params",
    "check_supervised_y_no_nan",
    "check_valid_tag_types",
}


def checks():
    found: Any = estimator_checks_generator(OfNumbers())
    for number, (_, check) in enumerate(found):
        inner: Any = getattr(check, "func", check)
        name = getattr(inner, "func", inner).__name__
        if name not in NOT_FOR_TEXTS:
            marks = () if name in QUICK else (pytest.mark.slow,)
            yield pytest.param(check, id=f"{name}-{number}", marks=marks)


@pytest.mark.parametrize("check", list(checks()))
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks(check, model):
    check(OfNumbers(**make(model, epochs=4).get_params()))


def test_scikit_learn_says_that_it_cannot_check_texts_itself():
    with pytest.warns(UserWarning, match="which requires input"):
        check_estimator(TextClassifier())


class Topic(enum.Enum):
    FOOD = 1
    SPORT = 2
    TOWN = 3


def test_labels_of_any_hashable_kind_come_back_as_they_came(model):
    kinds = [Topic[label.upper()] for label in LABELS]
    it = make(model, epochs=1, held_out=0).fit(TEXTS, kinds)
    assert it.classes_.tolist() == [Topic.FOOD, Topic.SPORT, Topic.TOWN]
    predicted = it.predict(TEXTS)
    assert set(predicted) <= set(Topic)
    want = np.mean([one is other for one, other in zip(predicted, kinds, strict=True)])
    assert it.score(TEXTS, kinds) == pytest.approx(want)


def test_an_answer_does_not_depend_on_the_texts_beside_it(fitted):
    alone = np.vstack([fitted.predict_proba([text]) for text in TEXTS[:8]])
    np.testing.assert_allclose(fitted.predict_proba(TEXTS)[:8], alone, atol=1e-6)


def test_equal_texts_are_trained_on_as_a_whole(model):
    it = make(model, epochs=1).fit(["rain"] * 40, ["a"] * 20 + ["b"] * 20)
    assert it.predict(["rain"])[0] in ("a", "b"), "nobody asked for rows to be held out"


def test_labels_of_bytes_come_back_and_their_classes_have_names(model, tmp_path):
    it = make(model, epochs=1, held_out=0).fit(TEXTS, [label.encode() for label in LABELS])
    assert it.classes_.tolist() == [b"food", b"sport", b"town"]
    assert it.classifier_.classes == ("food", "sport", "town")
    assert set(it.predict(TEXTS)) <= {b"food", b"sport", b"town"}
    with pytest.raises(
        UserError, match=r"not come back as it came .*bytes.*: pickle the estimator"
    ):
        it.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()


def test_columns_of_a_frame_of_zeros_and_ones_are_named(model):
    rows = pandas.DataFrame(
        {name: [int(name == label) for label in LABELS] for name in ("town", "food", "sea")}
    )
    it = make(model, epochs=1, held_out=0).fit(TEXTS, rows)
    assert it.classes_.tolist() == ["town", "food", "sea"]
    assert sorted(it.classifier_.classes) == ["food", "town"]
    assert it.predict_proba(TEXTS).shape == (60, 3)
    assert not it.predict_proba(TEXTS)[:, 2].any(), "no row has it"
    assert 0 <= it.score(TEXTS, rows) <= 1


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="numpy 2 brought it")
def test_labels_of_numpys_strings_keep_their_kind():
    kind = np.dtypes.StringDType(na_object=None)
    found = estimator_labels.read_labels(np.array(["b", "a", "b"], dtype=kind))
    assert found.classes.dtype == kind
    assert found.classes.tolist() == ["a", "b"]
    with pytest.raises(UserError, match=r"no label .* at number 1"):
        estimator_labels.read_labels(np.array(["b", None, "b"], dtype=kind))


def test_labels_that_are_written_alike_are_refused():
    class Named:
        def __str__(self):
            return "same"

    with pytest.raises(UserError, match="two labels are written 'same'"):
        estimator_labels.read_labels([Named(), Named()])


def test_a_weight_of_whole_numbers_is_a_row_that_is_there_as_often(model):
    texts, labels = TEXTS[:12], LABELS[:12]
    weights = np.array([0, 2, 1] * 4)
    options = {"epochs": 1, "held_out": 0, "batch_size": 4}
    one = make(model, **options).fit(texts, labels, sample_weight=weights)
    places = np.repeat(np.arange(12), weights)
    other = make(model, **options).fit([texts[i] for i in places], [labels[i] for i in places])
    np.testing.assert_array_equal(one.predict_proba(TEXTS), other.predict_proba(TEXTS))


def test_other_weights_repeat_rows_in_proportion():
    weights = np.array([0.5, 1.5, 0.0, 4.0] * 200)
    counts = np.bincount(estimator_rows.repeated(weights, 0), minlength=800).reshape(200, 4)
    np.testing.assert_allclose(counts.mean(0) / counts.mean(), weights[:4] / 1.5, atol=0.15)
    assert not counts[:, 2].any()
    assert counts[:, 0].min() == 1, "no row is left out by chance"


@pytest.mark.parametrize(
    ("sample", "of_class", "message"),
    [
        ([-1.0, 1.0], None, "sample_weight must be 0 or more"),
        ([0.0, 0.0], None, "at least one non-zero number"),
        (None, {"c": 2}, "class_weight names 'c', which is none of the labels"),
        (None, "rare", "class_weight is None"),
    ],
)
def test_weights_that_are_none_are_refused(sample, of_class, message):
    given = estimator_labels.read_labels(["a", "b"])
    with pytest.raises(ValueError, match=message):
        estimator_rows.row_weights(given.names, given, sample, of_class)


def test_class_weights_multiply_those_of_the_rows():
    given = estimator_labels.read_labels([1, 2, 1])
    weights = estimator_rows.row_weights(given.names, given, [1, 1, 3], {1: 2})
    np.testing.assert_array_equal(weights, [2, 1, 6])


def test_logits_and_vectors_are_those_of_the_classifier(fitted):
    logits = fitted.decision_function(TEXTS[:5])
    np.testing.assert_array_equal(logits, fitted.classifier_.logits(TEXTS[:5], precision="float32"))
    vectors = fitted.transform(TEXTS[:5])
    want = fitted.classifier_.encoder.encode(TEXTS[:5], precision="float32")
    np.testing.assert_array_equal(vectors, want)


def test_of_two_classes_one_number_decides(model):
    texts, labels = TEXTS[:20], [label == "food" for label in LABELS[:20]]
    it = make(model, epochs=1, held_out=0).fit(texts, labels)
    decided = it.decision_function(texts)
    assert isinstance(decided, np.ndarray)
    assert decided.shape == (20,)
    np.testing.assert_array_equal(decided > 0, it.predict(texts))


def test_columns_of_tables_are_taken(fitted):
    want = fitted.predict(TEXTS[:4]).tolist()
    frame = pandas.DataFrame({"text": TEXTS[:4]})
    table = datasets.Dataset.from_dict({"text": TEXTS[:4]})
    for column in (frame["text"], pyarrow.array(TEXTS[:4]), table["text"]):
        assert fitted.predict(column).tolist() == want
    found = estimator_labels.read_labels(pyarrow.array(["b", "a"]))
    assert found.names == ["b", "a"]


def test_columns_of_polars_are_taken(fitted):
    polars = pytest.importorskip("polars")
    series = polars.Series("text", TEXTS[:4])
    assert fitted.predict(series).tolist() == fitted.predict(TEXTS[:4]).tolist()


def test_training_stops_early_where_the_held_out_score_no_longer_rises(model):
    options = {"epochs": 30, "batch_size": 20, "learning_rate": 0.0, "held_out": 0.2}
    it = make(model, patience=2, **options, settings={"head_learning_rate": 0, "pooling": "mean"})
    assert it.fit(TEXTS, LABELS).n_iter_ < 12
    with pytest.raises(UserError, match="patience looks at held-out rows: set held_out"):
        make(model, patience=2, held_out=0).fit(TEXTS, LABELS)


def test_few_shot_is_chosen_for_few_rows_and_its_batches_fit(model):
    it = TextClassifier(
        model, max_length=16, settings={"steps": 2, "pooling": "mean", "compare_folds": 0}
    )
    labels = [str(place % 20) for place in range(1000)]
    rows = [estimator_rows.fitting_rows(labels[:n], labels[:n], None, None, 0) for n in (999, 1000)]
    chosen = [estimator_settings.recipe_for(it.method, each) for each in rows]
    assert chosen == ["few-shot", "cross-entropy"]
    it.fit(TEXTS[:30], LABELS[:30])
    assert it.n_iter_ == 2
    assert it.predict(TEXTS[:2]).shape == (2,)
    again = clone(it).fit(TEXTS[:30], LABELS[:30])
    np.testing.assert_array_equal(it.predict_proba(TEXTS), again.predict_proba(TEXTS))


@pytest.mark.parametrize(
    ("rows", "chosen", "want"),
    [
        (100, {}, {"batch_size": 32}),
        (27, {}, {"batch_size": 24}),
        (3, {}, {"batch_size": 3, "rows_per_class": 0}),
        (27, {"rows_per_class": 0}, {"batch_size": 27}),
    ],
)
def test_a_batch_is_filled_by_blocks(rows, chosen, want):
    settings = find("few-shot").settings()
    assert estimator_settings.fitting_batch(settings, chosen, rows) == want


def test_weights_are_routed(model):
    with sklearn.config_context(enable_metadata_routing=True):
        it = make(model, epochs=1).set_fit_request(sample_weight=True)
        it = it.set_score_request(sample_weight=True)
        weights = np.ones(len(TEXTS))
        found = cross_validate(it, TEXTS, LABELS, cv=2, params={"sample_weight": weights})
    assert len(found["test_score"]) == 2


def test_parameters_of_earlier_folders_are_read():
    found = estimator_settings.parameters_of_today({"objective": "lcl", "class_weights": "none"})
    assert found == {"method": "lcl", "class_weight": None}
    assert estimator_settings.parameters_of_today({"epochs": 2}) == {"epochs": 2}


def test_earlier_names_of_parameters_are_taken_and_not_mixed_with_todays(model):
    old = make(model, epochs=1, method="auto", objective="cross-entropy", class_weights="balanced")
    new = make(model, epochs=1, method="cross-entropy", class_weight="balanced")
    answers = [each.fit(TEXTS, LABELS).predict_proba(TEXTS) for each in (old, new)]
    np.testing.assert_array_equal(*answers)
    assert clone(old).get_params()["objective"] == "cross-entropy"
    with pytest.raises(UserError, match="objective is the earlier name of method"):
        make(model, method="lcl", objective="supcon").fit(TEXTS, LABELS)


@pytest.mark.slow
def test_fitted_ones_travel_between_processes(model):
    found = cross_validate(
        make(model, epochs=1), TEXTS, LABELS, cv=2, n_jobs=2, return_estimator=True,
        error_score="raise",
    )  # fmt: skip
    assert found["estimator"][0].predict(TEXTS[:2]).shape == (2,)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["a", None, "b"], r"y has no label \(is None or NaN\) at number 1: leave"),
        (pandas.Series(["a", float("nan"), "b"]), "at number 1"),
        ([1, None, 2], "at number 1"),
        (np.array([1, np.nan, 2]), "at number 1"),
        (pandas.Series([1, pandas.NA, 2], dtype="Int64"), "at number 1"),
        (["a", 1, "b"], "y mixes texts and numbers"),
    ],
)
def test_labels_that_are_missing_or_mixed_are_refused(y, message):
    with pytest.raises(UserError, match=message):
        TextClassifier().fit(["one", "two", "three"], y)


@pytest.mark.parametrize(
    ("y", "role", "labels", "classes"),
    [
        (["b ", "a", "cafe\u0301"], "label", ["b", "a", "caf\u00e9"], ["a", "b", "caf\u00e9"]),
        (pandas.Series([3, 1, 3], index=[9, 8, 7]), "label", ["3", "1", "3"], [1, 3]),
        (np.array([True, False]), "label", ["True", "False"], [False, True]),
        (pandas.Series([["a", "b"], ["b"]]), "labels", [["a", "b"], ["b"]], ["a", "b"]),
        ([np.array(["a"]), np.array(["b"])], "labels", [["a"], ["b"]], ["a", "b"]),
        ([[1, 2], [2], []], "labels", [["1", "2"], ["2"], []], [1, 2]),
        ([{"a"}, {"b"}], "labels", [["a"], ["b"]], ["a", "b"]),
        ([[0, 1], [1, 0]], "labels", [["1"], ["0"]], [0, 1]),
        (np.array([[0, 1], [1, 1]]), "labels", [["1"], ["0", "1"]], [0, 1]),
        (
            pandas.DataFrame({"joy": [0, 1], "awe": [1, 1]}),
            *("labels", [["awe"], ["joy", "awe"]], ["joy", "awe"]),
        ),
        (pandas.DataFrame([[0, 1], [1, 1]]), "labels", [["1"], ["0", "1"]], [0, 1]),
    ],
)
def test_labels_of_every_form_are_read(y, role, labels, classes):
    found = estimator_labels.read_labels(y)
    assert (found.role, found.names, found.classes.tolist()) == (role, labels, classes)
    assert found.class_names == tuple(map(str, classes))


def test_saving_with_parameters_of_numpy_is_whole(tmp_path, model):
    texts, labels = ["a b", "c d", "a c", "b d"], [0, 1, 0, 1]
    it = make(model, batch_size=np.int64(4)).fit(texts, labels)
    it.model = Path(it.model)
    it.save_pretrained(tmp_path / "saved")
    again = TextClassifier.from_pretrained(tmp_path / "saved")
    assert again.batch_size == 4
    assert again.predict(texts).tolist() == it.predict(texts).tolist()


def test_a_reject_label_is_predicted_for_texts_of_no_class(model):
    words = ["red blue green new old two a the"] * 3
    estimator = make(model, held_out=0.4, reject_label="none of these")
    predicted = estimator.fit(TEXTS, LABELS).predict([*TEXTS, *words])
    assert {"none of these", *LABELS} == set(predicted)
    assert estimator.predict_proba(TEXTS).shape == (60, 3)
    estimator.set_params(reject_label=-1)
    assert set(estimator.predict([*TEXTS, *words])) == {-1, *LABELS}
    estimator.set_params(reject_label=None)
    assert set(estimator.predict([*TEXTS, *words])) == set(LABELS)


def test_a_reject_label_takes_held_out_rows(model, fitted):
    with pytest.raises(UserError, match="threshold from held-out rows: set held_out"):
        make(model, reject_label="other", held_out=0.0).fit(TEXTS, LABELS)
    other = clone(fitted).set_params(reject_label="other")
    other.classes_, other.classifier_ = fitted.classes_, fitted.classifier_
    with pytest.raises(UserError, match="no threshold for rejecting texts"):
        other.predict(TEXTS)


def test_a_label_made_of_others_is_told_to_be_a_class_of_its_own():
    with pytest.warns(UserWarning, match="has the label 'joy, love' and also its parts"):
        given = estimator_labels.read_labels(["joy", "love", "joy, love"])
    assert given.class_names == ("joy", "joy, love", "love")
    assert estimator_labels.read_labels(["joy", "joy, love"]).class_names == ("joy", "joy, love")
