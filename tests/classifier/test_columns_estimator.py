"""The scikit-learn estimator on several label columns."""

from __future__ import annotations

import pickle

import numpy as np
import pandas
import pyarrow
import pytest
from families import tiny_model_dir
from label_columns import with_tones
from sklearn.base import clone
from sklearn.model_selection import cross_val_score

from textcl.classifier.columns import ColumnsClassifier
from textcl.classifier.estimator import TextClassifier
from textcl.classifier.estimator_columns import label_columns_of, labels_of
from textcl.data.texts import is_missing
from textcl.errors import UserError

pytestmark = pytest.mark.usefixtures("few_strengths")

ROWS = with_tones(60)
TEXTS = [row["text"] for row in ROWS]
FRAME = pandas.DataFrame(ROWS)[["topic", "tone"]]
WHOLE = pandas.DataFrame(with_tones(60, complete=True))[["topic", "tone"]]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_model_dir(tmp_path_factory.mktemp("model"), layers=1))


def make(model, **more):
    settings = {"pooling": "mean", "dropout": 0, "precision": "fp32", "head_learning_rate": 1e-2}
    options = {"epochs": 4, "learning_rate": 5e-3, "max_length": 16, "settings": settings}
    return TextClassifier(model, **{**options, **more})


@pytest.fixture(scope="module")
def fitted(model, few_strengths):
    return make(model).fit(TEXTS, FRAME)


def test_answers_are_those_of_scikit_learns_several_outputs(fitted):
    assert [labels.tolist() for labels in fitted.classes_] == [
        ["food", "sport", "town"],
        ["happy", "sad"],
    ]
    predicted, shares = fitted.predict(TEXTS), fitted.predict_proba(TEXTS)
    assert predicted.shape == (60, 2)
    assert [each.shape for each in shares] == [(60, 3), (60, 2)]
    assert [each.shape for each in fitted.decision_function(TEXTS[:4])] == [(4, 3), (4, 2)]
    assert fitted.transform(TEXTS[:4]).shape == (4, 32)
    for column, labels in enumerate(fitted.classes_):
        np.testing.assert_array_equal(predicted[:, column], labels[shares[column].argmax(1)])
    right = (predicted == WHOLE.to_numpy()).all(1).mean()
    assert fitted.score(TEXTS, WHOLE) == pytest.approx(right)
    assert right > 0.9
    assert fitted.score(TEXTS, FRAME) >= right, "a missing label is not asked for"
    names = fitted.classifier_.predict(TEXTS[:5], precision="float32")
    assert names["tone"] == fitted.predict(TEXTS[:5])[:, 1].tolist()


def test_it_is_saved_loaded_pickled_and_cloned(fitted, tmp_path):
    fitted.save_pretrained(tmp_path / "m")
    loaded = TextClassifier.from_pretrained(tmp_path / "m")
    assert isinstance(loaded.classifier_, ColumnsClassifier)
    for other in (loaded, pickle.loads(pickle.dumps(fitted))):
        np.testing.assert_array_equal(other.predict(TEXTS[:9]), fitted.predict(TEXTS[:9]))
    assert not hasattr(clone(fitted), "classes_")
    (tmp_path / "m" / "estimator.json").write_text('{"parameters": {}, "classes": [["a"]]}')
    with pytest.raises(UserError, match="classes of 2 label columns, got 1"):
        TextClassifier.from_pretrained(tmp_path / "m")


def test_labels_of_each_column_keep_their_kind(model):
    rows = with_tones(30, complete=True)
    years = np.array([{"food": 2, "sport": 10, "town": 1}[row["topic"]] for row in rows])
    y = np.stack([years, np.array([row["tone"] == "sad" for row in rows]) + 3], 1)
    it = make(model, epochs=1).fit(
        [row["text"] for row in rows], y, sample_weight=np.arange(30) % 2 + 1
    )
    assert [labels.tolist() for labels in it.classes_] == [[1, 2, 10], [3, 4]]
    assert it.classifier_.columns == ("label_1", "label_2")
    assert it.predict(["a dog"]).dtype.kind == "i"
    mixed = [np.array([[0.1, 0.9]]), np.array([[0.9, 0.1]])]
    both = labels_of(mixed, [np.array([1, 2]), np.array(["a", "b"])])
    assert both.tolist() == [[2, "a"]]
    assert both.dtype == object


def test_it_is_cross_validated(model):
    it, half = make(model, epochs=1), slice(0, 24)
    scores = cross_val_score(it, TEXTS[half], WHOLE[half], cv=2, error_score="raise")
    assert scores.shape == (2,)


COLUMNS = {"topic": ["a", "b"], "tone": ["x", None]}


@pytest.mark.parametrize(
    "y",
    [
        pandas.DataFrame(COLUMNS),
        pyarrow.table(COLUMNS),
        COLUMNS,
        [{"topic": "a", "tone": "x"}, {"topic": "b"}],
    ],
)
def test_tables_of_every_kind_are_columns(y):
    found = {
        name: [None if is_missing(value) else value for value in values]
        for name, values in label_columns_of(y).items()
    }
    assert found == COLUMNS


@pytest.mark.parametrize(
    "y",
    [
        ["a", "b"],
        [["a", "b"], ["b", "a"]],  # several labels of one column
        np.array([["a"], ["b"]]),
        np.array([[0, 1], [1, 1]]),
        np.array([[False, True], [True, True]]),
        pandas.DataFrame({"a": [0, 1], "b": [1, 1]}),
        pandas.DataFrame({"a": ["x", "y"]}),
    ],
)
def test_labels_of_one_column_and_indicators_are_none(y):
    assert label_columns_of(y) is None


def test_an_array_of_texts_or_of_more_numbers_has_columns():
    assert label_columns_of(np.array([["a", "1"], ["b", "0"]])) == {
        "label_1": ["a", "b"],
        "label_2": ["1", "0"],
    }
    assert set(label_columns_of(np.array([[0, 1], [1, 2]]))) == {"label_1", "label_2"}


@pytest.mark.parametrize(
    ("y", "more", "match"),
    [
        ({"a": ["x", None, "y"], "b": ["u", None, "v"]}, {}, "no label in any column at number 1"),
        ({"a,b": list("xyz"), "c": list("uvw")}, {}, "cannot be called 'a,b'"),
        ({"text": list("xyz"), "c": list("uvw")}, {}, "cannot be called 'text'"),
        ({"a": [["x"], ["y"], ["x"]], "c": list("uvw")}, {}, "column a has a list of labels"),
        ({"a": list("xyz"), "c": list("uv")}, {}, "differ in length"),
        ({"a": list("xxy"), "c": list("uuv")}, {"class_weight": {"x": 2}}, 'None or "balanced"'),
        ({"a": list("xxy"), "c": list("uuv")}, {"reject_label": "none"}, "for one label column"),
        ({"a": list("xxy"), "c": list("uuv")}, {"method": "lcl"}, "cross-entropy does"),
    ],
)
def test_mistakes_are_told(y, more, match, model):
    with pytest.raises(UserError, match=match):
        make(model, **more).fit(["one", "two", "three"], y)


def test_scores_need_the_columns_of_the_training(fitted):
    with pytest.raises(UserError, match="expected y with 2 label columns"):
        fitted.score(TEXTS[:3], ["food", "town", "food"])
