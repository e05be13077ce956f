from collections import deque

import datasets
import numpy as np
import pandas
import pyarrow
import pytest
import torch

from textcl.data.texts import as_columns, as_texts, is_missing
from textcl.errors import UserError

WORDS = ["b", "a", "b"]

COLUMNS = {
    "list": WORDS,
    "tuple": tuple(WORDS),
    "deque": deque(WORDS),
    "generator": (word for word in WORDS),
    "keys": dict.fromkeys(["b", "a"]).keys(),
    "numpy": np.array(WORDS),
    "numpy objects": np.array(WORDS, dtype=object),
    "pandas Series": pandas.Series(WORDS, index=[7, 3, 5]),
    "pandas categories": pandas.Series(WORDS, dtype="category"),
    "pandas Index": pandas.Index(WORDS),
    "pyarrow Array": pyarrow.array(WORDS),
    "pyarrow ChunkedArray": pyarrow.chunked_array([["b"], ["a", "b"]]),
    "datasets column": datasets.Dataset.from_dict({"text": WORDS})["text"],
}

FRAME = pandas.DataFrame({"text": WORDS, "label": [1, 2, 3]})
DATASET = datasets.Dataset.from_dict({"text": WORDS})

NO_COLUMNS = {
    "text": ("abc", "got one text: put it into a list"),
    "bytes": (b"abc", "got bytes"),
    "number": (3, "got int"),
    "None": (None, "got NoneType"),
    "set": ({"a"}, "got a set, which has no order: pass a list"),
    "frozenset": (frozenset("a"), "got a frozenset, which has no order"),
    "dict": ({"text": WORDS}, r"got a dict with the columns 'text': pass one .* data\['text'\]"),
    "DataFrame": (FRAME, "got a DataFrame with the columns 'text', 'label'"),
    "Table": (pyarrow.table({"text": WORDS}), "got a Table with the columns 'text'"),
    "Dataset": (DATASET, "got a Dataset with the columns 'text'"),
    "IterableDataset": (DATASET.to_iterable_dataset(), "got a IterableDataset with the columns"),
    "DatasetDict": (datasets.DatasetDict(train=DATASET), "got a DatasetDict"),
    "matrix": (np.array([WORDS]), r"got ndarray of shape \(1, 3\)"),
    "tensor": (torch.zeros(2, 3), r"got Tensor of shape \(2, 3\)"),
    "scalar": (np.array("a"), r"got ndarray of shape \(\)"),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_are_taken_value_by_value(kind):
    texts = list(as_texts(COLUMNS[kind]))
    assert texts == (["b", "a"] if kind == "keys" else WORDS)
    assert {type(text) for text in texts} == {str}


@pytest.mark.parametrize(("value", "message"), NO_COLUMNS.values(), ids=list(NO_COLUMNS))
def test_what_is_no_column_is_refused_by_name_at_once(value, message):
    with pytest.raises(UserError, match=message):
        as_texts(value)


def test_an_open_file_is_refused(tmp_path):
    (tmp_path / "x.txt").write_text("a\n")
    with (tmp_path / "x.txt").open() as file, pytest.raises(UserError, match="got an open file"):
        as_texts(file)


@pytest.mark.parametrize("missing", [None, float("nan"), np.float32("nan"), pandas.NA, pandas.NaT])
def test_a_missing_text_is_refused_with_its_number(missing):
    assert is_missing(missing)
    with pytest.raises(UserError, match=r"number 1 is .*: fill or drop missing values first"):
        list(as_texts(["a", missing]))
    with pytest.raises(UserError, match="number 1 is"):
        list(as_texts(pandas.Series(["a", missing], dtype=object)))


def test_an_iterator_is_not_read_ahead():
    read = []
    texts = as_texts(read.append(word) or word for word in WORDS)
    assert not read
    assert next(texts) == "b"
    assert read == ["b"]


@pytest.mark.parametrize(
    "table",
    [
        FRAME,
        {"text": WORDS, "label": np.array([1, 2, 3])},
        pyarrow.table({"text": WORDS, "label": [1, 2, 3]}),
        pyarrow.record_batch({"text": WORDS, "label": [1, 2, 3]}),
    ],
    ids=["pandas", "dict", "Table", "RecordBatch"],
)
def test_tables_are_taken_column_by_column(table):
    assert as_columns(table) == {"text": WORDS, "label": [1, 2, 3]}


@pytest.mark.parametrize("value", [WORDS, "text", 3, np.zeros((2, 2)), FRAME["text"]])
def test_what_is_no_table_has_no_columns(value):
    assert as_columns(value) is None


def test_tables_that_are_none_are_refused():
    with pytest.raises(UserError, match="differ in length: 'text' 2, 'label' 1"):
        as_columns({"text": ["a", "b"], "label": [1]})
    with pytest.raises(UserError, match="the column 'text' must be a list of values, got one text"):
        as_columns({"text": "a"})
    with pytest.raises(UserError, match="two columns have the name 'text'"):
        as_columns(pandas.DataFrame([["a", "b"]], columns=["text", "text"]))
