import json

import datasets
import numpy as np
import pandas
import pyarrow
import pytest

from textcl.data.labels import LabelReader
from textcl.data.rows import load_rows
from textcl.errors import UserError

TEXTS = ["one", "two", "three"]


def labels_of(values, role="label", **options):
    rows = load_rows({"text": TEXTS, role: values}, roles=["text", role], **options)
    return rows.column(role)


@pytest.mark.parametrize(
    "missing",
    [None, float("nan"), np.float32("nan"), pandas.NA, pandas.NaT, "", "  ", "nan", "<NA>"],
)
def test_rows_without_a_label_are_refused_by_name_or_dropped(missing):
    values = ["a", missing, "b"]
    with pytest.raises(UserError, match=r"1 row has no label \(table, row 2\): fill them in, or"):
        labels_of(values)
    assert labels_of(values, drop_unlabelled=True) == ["a", "b"]
    rows = load_rows(
        {"text": TEXTS, "label": values}, roles=["text", "label"], drop_unlabelled=True
    )
    assert rows.report.unlabelled == 1
    assert "1 without a label left out" in rows.report.describe()


def test_a_series_with_holes_has_no_class_nan():
    for dtype in ("str", object, "category"):
        series = pandas.Series(["a", None, "b"], dtype=dtype)
        with pytest.raises(UserError, match="row 2"):
            labels_of(series)
    assert labels_of(pandas.Series([1, None, 2]), drop_unlabelled=True) == ["1", "2"]
    assert labels_of(pandas.Series([1, None, 2], dtype="Int64"), drop_unlabelled=True) == ["1", "2"]
    assert labels_of(np.array(["a", np.nan, "b"]), drop_unlabelled=True) == ["a", "b"]
    assert labels_of(pyarrow.array(["a", None, "b"]), drop_unlabelled=True) == ["a", "b"]


def test_many_rows_without_a_label_are_counted():
    with pytest.raises(UserError, match=r"8 rows have no label \(list, row 1, .*list, row 5, …\)"):
        load_rows(
            [{"text": "t", "label": None}] * 8 + [{"text": "t", "label": 1}],
            roles=["text", "label"],
        )


def test_lines_without_a_label_are_named(tmp_path):
    (tmp_path / "x.csv").write_text("text,label\none,a\ntwo,\nthree, \n")
    with pytest.raises(UserError, match=r"2 rows have no label \(.*x\.csv:3, .*x\.csv:4\)"):
        load_rows(tmp_path / "x.csv", roles=["text", "label"])


def test_a_class_id_below_zero_is_missing():
    features = datasets.Features(
        {"text": datasets.Value("string"), "label": datasets.ClassLabel(names=["a", "b"])}
    )
    data = datasets.Dataset.from_dict({"text": TEXTS, "label": [0, -1, 1]}, features=features)
    with pytest.raises(UserError, match="row 2"):
        load_rows(data, roles=["text", "label"])
    rows = load_rows(data, roles=["text", "label"], drop_unlabelled=True)
    assert rows.column("label") == ["a", "b"]


def test_whole_numbers_of_any_kind_are_their_digits():
    assert labels_of([1, np.int64(-1), 2.0]) == ["1", "-1", "2"]
    assert labels_of(np.array([3, 1, 2], dtype=np.uint8)) == ["3", "1", "2"]
    assert labels_of([True, np.bool_(False), True]) == ["True", "False", "True"]


def test_names_are_stripped_and_composed_and_told_where_that_merged_classes():
    rows = load_rows(
        {
            "text": TEXTS * 2,
            "label": ["joy", "joy ", " caf\u00e9", "cafe\u0301", "cafe\u0301", "x "],
        },
        roles=["text", "label"],
    )
    assert rows.column("label") == ["joy", "joy", "caf\u00e9", "caf\u00e9", "caf\u00e9", "x"]
    described = rows.report.describe()
    assert "labels 'joy', 'joy ' taken as 'joy'" in described
    assert "taken as 'caf\u00e9'" in described
    assert "taken as 'x'" not in described


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            [1, "1", 2],
            "table, row 2, column label: expected a number like the labels before, got the text '1'",
        ),
        (["a", 1, "b"], "expected a text like the labels before, got the number 1"),
        ([True, 1, 0], "expected a yes or no like the labels before, got the number 1"),
    ],
)
def test_labels_of_mixed_types_are_refused(values, message):
    with pytest.raises(UserError, match=message):
        labels_of(values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([["a", "b"], [], ["b "]], [["a", "b"], [], ["b"]]),
        (pandas.Series([["a", "b"], [], ["b"]]), [["a", "b"], [], ["b"]]),
        (np.array([["a", "b"], [], ["b"]], dtype=object), [["a", "b"], [], ["b"]]),
        ([np.array(["a", "b"]), np.array([]), np.array(["b"])], [["a", "b"], [], ["b"]]),
        ([[1, 2], np.array([2]), (3,)], [["1", "2"], ["2"], ["3"]]),
        ([{"b", "a"}, set(), {"b"}], [["a", "b"], [], ["b"]]),
        (pyarrow.array([["a", "b"], [], ["b"]]), [["a", "b"], [], ["b"]]),
        (['["a", "b"]', "[]", "b"], [["a", "b"], [], ["b"]]),
        ([["a", "a "], ["a"], ["b"]], [["a"], ["a"], ["b"]]),
    ],
)
def test_several_labels_come_in_many_forms(values, expected):
    assert labels_of(values, "labels") == expected


def test_several_labels_of_which_one_is_missing_are_refused():
    with pytest.raises(UserError, match=r"row 1, column labels: .*a list with a missing one"):
        labels_of([["a", None], ["b"], ["c"]], "labels")
    with pytest.raises(UserError, match="1 row has no label"):
        labels_of([["a"], None, ["c"]], "labels")


def test_ids_below_zero_among_several_are_missing():
    names = datasets.Sequence(datasets.ClassLabel(names=["a", "b"]))
    features = datasets.Features({"text": datasets.Value("string"), "labels": names})
    data = datasets.Dataset.from_dict({"text": ["t"], "labels": [[0, -1]]}, features=features)
    with pytest.raises(UserError, match="a missing one"):
        load_rows(data, roles=["text", "labels"])


@pytest.mark.parametrize("written", ["joy,love", "joy; love", "joy|love"])
def test_names_in_one_text_are_refused_with_the_form_that_is_meant(tmp_path, written):
    (tmp_path / "x.csv").write_text(f'text,labels\nt,"{written}"\n')
    with pytest.raises(
        UserError,
        match=r'x\.csv:2, .* JSON list, \["joy", "love"\], or with --label-separator, but',
    ):
        load_rows(tmp_path / "x.csv", roles=["text", "labels"])
    assert LabelReader(several=True)(json.dumps([written])) == [written]


@pytest.mark.parametrize(
    ("separator", "written", "expected"),
    [
        (",", "joy,love", ["joy", "love"]),
        (",", " joy , love,", ["joy", "love"]),
        ("; ", "joy; love; joy", ["joy", "love"]),
        (" ", "joy  love", ["joy", "love"]),
        ("|", "joy, fear|love", ["joy, fear", "love"]),
        (",", '["joy, fear", "love"]', ["joy, fear", "love"]),
        (",", "[sic], joy", ["[sic]", "joy"]),
        (",", "[]", []),
        (",", "joy", ["joy"]),
    ],
)
def test_names_between_separators_are_several(tmp_path, separator, written, expected):
    values = [written, "fear", "fear"]
    assert labels_of(values, "labels", label_separator=separator)[0] == expected


def test_a_text_without_a_name_between_separators_is_no_label():
    with pytest.raises(UserError, match="1 row has no label"):
        labels_of(["joy", " , ", "fear"], "labels", label_separator=",")
    with pytest.raises(UserError, match="say which column that is with --column labels=NAME"):
        labels_of(["joy,love", "joy", "love"], label_separator=",")
