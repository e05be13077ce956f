"""Every public function that takes texts or rows × what people pass: taken rightly, or refused by name."""

import datasets
import numpy as np
import pandas
import pyarrow
import pytest
from families import tiny_encoder, tiny_model_dir
from rich.console import Console

import textcl
from textcl.classifier.classifier import Classifier
from textcl.classifier.head import ClassificationHead
from textcl.data import load_rows, stream_rows
from textcl.data.texts import as_texts
from textcl.errors import UserError
from textcl.retrieval.index import Index
from textcl.review.review import review_labels

TEXTS = ["a dog", "two cats", "a bird", "no fish"]
LABELS = ["x", "y", "x", "y"]
ROWS = {"text": TEXTS, "label": LABELS}

COLUMNS = {
    "list": TEXTS,
    "tuple": tuple(TEXTS),
    "numpy": np.array(TEXTS),
    "objects": np.array(TEXTS, dtype=object),
    "Series": pandas.Series(TEXTS, index=[4, 3, 2, 1]),
    "Index": pandas.Index(TEXTS),
    "Array": pyarrow.array(TEXTS),
    "ChunkedArray": pyarrow.chunked_array([TEXTS[:1], TEXTS[1:]]),
    "datasets column": datasets.Dataset.from_dict(ROWS)["text"],
}
TABLES = {
    "dict": ROWS,
    "DataFrame": pandas.DataFrame(ROWS, index=[3, 3, 1, 1]),
    "Table": pyarrow.table(ROWS),
    "Dataset": datasets.Dataset.from_dict(ROWS),
    "DatasetDict": datasets.DatasetDict(train=datasets.Dataset.from_dict(ROWS)),
}
NEITHER = {
    "text": "a dog",
    "bytes": b"a dog",
    "set": set(TEXTS),
    "number": 3,
    "matrix": np.array([TEXTS]),
    "numbers": [1, 2, 3, 4],
    "floats": np.arange(4.0),
}


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoder()


@pytest.fixture(scope="module")
def classifier(encoder):
    return Classifier(encoder, ClassificationHead(encoder.dimension, 2), ["x", "y"])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny_model_dir(tmp_path_factory.mktemp("model"), layers=1)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture(scope="module")
def index(encoder, tmp_path_factory):
    return Index.build(encoder, TEXTS, tmp_path_factory.mktemp("odd") / "index")


@pytest.fixture
def functions(encoder, classifier, index):
    """What takes texts, each giving something that can be compared."""
    return {
        "search": lambda texts: np.array(
            [hit.id for hits in index.search(texts, 2) for hit in hits]
        ),
        "encode": encoder.encode,
        "similarity": lambda texts: encoder.similarity(texts, TEXTS),
        "predict_proba": classifier.predict_proba,
        "predict": lambda texts: np.array(classifier.predict(texts)),
        "load_rows": lambda texts: np.array(load_rows(texts, roles=["text"]).column("text")),
        "stream_rows": lambda texts: np.array([row.text for row in stream_rows(texts)]),
    }


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_give_what_a_list_gives(functions, kind):
    for name, function in functions.items():
        assert function(COLUMNS[kind]).tolist() == function(list(TEXTS)).tolist(), name


@pytest.mark.parametrize("kind", TABLES)
def test_tables_are_rows_and_no_texts(functions, kind):
    for name, function in functions.items():
        if name in ("load_rows", "stream_rows"):
            assert function(TABLES[kind]).tolist() == TEXTS
            continue
        with pytest.raises(UserError, match=type(TABLES[kind]).__name__):
            function(TABLES[kind])


@pytest.mark.parametrize("kind", NEITHER)
def test_what_is_neither_is_refused(functions, kind):
    for name, function in functions.items():
        if isinstance(NEITHER[kind], str) and name not in ("load_rows", "stream_rows"):
            continue  # one text is taken, see test_arguments.py
        with pytest.raises(UserError):
            print(name, function(NEITHER[kind]))


def test_a_search_takes_one_query_and_gives_its_documents(index):
    assert index.search("a dog", 2) == index.search(["a dog"], 2)[0]


@pytest.fixture
def takers(classifier, index, tmp_path):
    """Public functions that take several texts and never one, each with what else it is given."""
    fitted = textcl.TextClassifier()
    fitted.classifier_, fitted.classes_ = classifier, np.array(["x", "y"])
    vectors = np.random.default_rng(0).normal(size=(20, 8)).astype(np.float32)
    return {
        "neighbours": lambda texts: index.neighbours(texts),
        "remove": lambda texts: index.remove(texts),
        "calibrate": lambda texts: textcl.calibrate(classifier, texts, ["x", "y"] * 10),
        "fit_rejection": lambda texts: textcl.fit_rejection(classifier, texts, ["x", "y"] * 10),
        "outside": lambda texts: textcl.fit_rejection(classifier, TEXTS, LABELS, outside=texts),
        "train": lambda texts: textcl.fit_rejection(
            classifier, TEXTS * 5, LABELS * 5, train=(texts, LABELS)
        ),
        "review_labels": lambda texts: review_labels(vectors, texts, ["x", "y"] * 10),
        "export": lambda texts: textcl.export_encoder(
            classifier.encoder, tmp_path / "x", "onnx", calibration=texts
        ),
        "as_texts": lambda texts: list(as_texts(texts)),
        **{
            f"estimator.{name}": getattr(fitted, name)
            for name in ("predict", "predict_proba", "decision_function", "transform")
        },
        "estimator.fit": lambda texts: textcl.TextClassifier().fit(texts, LABELS),
        "estimator.score": lambda texts: fitted.score(texts, LABELS),
    }


@pytest.mark.parametrize("kind", NEITHER)
def test_where_several_are_meant_one_text_is_refused_with_what_to_write(takers, kind):
    for name, function in takers.items():
        message = r"got one text: put it into a list, \[text\]" if kind == "text" else None
        with pytest.raises(UserError, match=message):
            print(name, function(NEITHER[kind]))


def test_columns_are_taken_where_a_classifier_is_fitted_on(classifier):
    texts, labels = pandas.Series(TEXTS * 5, index=range(20, 0, -1)), pandas.Series(LABELS * 5)
    report = textcl.calibrate(classifier, texts, labels)
    assert report.fitted == textcl.calibrate(classifier, TEXTS * 5, LABELS * 5).fitted
    told = textcl.fit_rejection(
        classifier, iter(TEXTS * 5), labels, outside=pandas.Series(TEXTS * 3)
    )
    assert (told.rows, told.outside) == (20, 12)


def test_iterators_are_texts_and_no_rows_to_read_twice(functions):
    for name, function in functions.items():
        if name not in ("load_rows", "stream_rows"):
            assert function(iter(TEXTS)).tolist() == function(TEXTS).tolist(), name
    with pytest.raises(UserError, match=r"can be read only once, .* pass list"):
        load_rows(iter(TEXTS), roles=["text"])


@pytest.mark.parametrize("kind", ["list", "numpy", "Series", "Array"])
def test_the_estimator_takes_columns(model, kind):
    alone = {"compare_folds": 0}
    it = textcl.TextClassifier(model, "cross-entropy", epochs=1, max_length=16, settings=alone)
    it.fit(COLUMNS[kind], pandas.Series(LABELS, index=[5, 6, 7, 8]))
    assert it.predict_proba(COLUMNS[kind]).tolist() == it.predict_proba(TEXTS).tolist()


@pytest.mark.parametrize("kind", ["DataFrame", "Table", "dict"])
def test_training_takes_tables(model, tmp_path, kind):
    run = textcl.train(
        "cross-entropy",
        model=model,
        data=TABLES[kind],
        dev="",
        output=tmp_path / "run",
        settings={
            "epochs": np.float64(1),
            "batch_size": np.int64(4),
            "max_length": 16,
            "compare_folds": 0,
        },
        console=Console(quiet=True),
    )
    assert run.classifier.classes == ("x", "y")


def test_training_refuses_what_it_cannot_read(model, tmp_path):
    for data, message in (
        (iter(TEXTS), "can be read only once"),
        (set(TEXTS), "a set, which has no order"),
        (3, "but got int"),
    ):
        with pytest.raises(UserError, match=message):
            textcl.train("unsup-simcse", model=model, data=data, output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_frames_and_series_of_polars_are_rows_and_texts():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"text": ["a", "b"], "label": ["x", "y"]})
    rows = load_rows(frame, roles=["text", "label"])
    assert rows[[0, 1]] == frame.to_dicts()
    assert list(as_texts(frame["text"])) == ["a", "b"]
    with pytest.raises(UserError, match="a DataFrame with the columns 'text'"):
        list(as_texts(frame))
