"""Pairs as people write them: columns and lists, ids, and one sentence for what is wrong in them."""

from __future__ import annotations

import json
import math

import datasets
import pandas
import pytest

from textcl.data.pairs import named_sources, open_pairs, same_roles
from textcl.data.rows import Rows, load_rows
from textcl.errors import UserError


def read(source, **options):
    pairs = open_pairs(source, **options)
    rows = load_rows(pairs.source, roles=pairs.roles, columns=pairs.columns)
    return rows[range(len(rows))]


ROW = {"anchor": "a", "positive": "p"}
SPREAD = [
    ROW | {"negative": "n", "negative_2": "n2", "negative_10": None},
    ROW | {"negative": " ", "negative_2": "n2", "negative_10": "n10"},
]
WANT = [ROW | {"negatives": ["n", "n2"]}, ROW | {"negatives": ["n2", "n10"]}]


def test_columns_of_negatives_are_one_list_in_their_order():
    assert read(SPREAD) == WANT


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "pandas", "datasets"])
def test_every_source_gives_the_same_pairs(kind, tmp_path):
    frame = pandas.DataFrame(SPREAD)
    path = tmp_path / f"rows.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False)
    elif kind == "parquet":
        frame.to_parquet(path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in SPREAD))
    source = {"pandas": frame, "datasets": datasets.Dataset.from_list(SPREAD)}.get(kind, str(path))
    assert read(source) == WANT


def test_lists_are_read_as_lists_and_in_csv_as_json(tmp_path):
    rows = [{"anchor": "a", "positive": ["p", "q"], "negatives": []}]
    want = [{"anchor": "a", "positives": ["p", "q"], "negatives": []}]
    assert read(rows) == want
    assert read([{"anchor": "a", "positives": ["p", "q"], "negatives": None}]) == want
    (tmp_path / "rows.csv").write_text('anchor,positives,negatives\na,"[""p"", ""q""]",\n')
    assert read(str(tmp_path / "rows.csv")) == want


def test_columns_have_the_names_that_the_user_says():
    rows = [{"q": "a", "good": "p", "bad": "n", "worse": "m"}]
    names = {"anchor": "q", "positive": "good", "negative": "bad", "negative_1": "worse"}
    assert read(rows, columns=names) == [ROW | {"negatives": ["n", "m"]}]
    assert read([{"q": "a", "good": ["p"]}], columns={"anchor": "q", "positive": "good"}) == [
        {"anchor": "a", "positives": ["p"]}
    ]


def test_ids_of_documents_are_texts():
    rows = [ROW | {"positive_id": 3, "negative_1": "n", "negative_1_id": "d", "weight": 2}]
    assert read(rows) == [
        ROW | {"positive_id": "3", "negatives": ["n"], "negative_ids": ["d"], "weight": 2.0}
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROW | {"negatives": ["n"], "negative": "n"}], "keep the list or the single columns"),
        ([ROW | {"negatives": ["n", ""]}], r"row 1, column negatives: text 2 of the list is empty"),
        ([ROW | {"negatives": "n"}], "expected a list of texts"),
        ([ROW | {"negatives": [3]}], "expected a text, got 3"),
        ([ROW | {"positive_id": None}], "row 1, column positive_id: expected the id of a document"),
        ([ROW | {"weight": -1}], "expected a weight of at least 0, got -1"),
        ([ROW | {"weight": math.nan}], "expected a number"),
        ([{"anchor": "a"}], "no column for the role positive"),
    ],
)
def test_bad_rows_are_one_sentence(rows, message):
    with pytest.raises(UserError, match=message):
        read(rows)


def test_a_row_without_positives_is_blank():
    rows = [{"anchor": "a", "positives": []}, {"anchor": "b", "positives": ["p"]}]
    assert read(rows) == [{"anchor": "b", "positives": ["p"]}]


def test_data_sets_are_named_with_their_weights(tmp_path):
    assert named_sources("a.jsonl=2 + b.jsonl=0.5 + c.jsonl") == [
        ("a.jsonl", 2.0),
        ("b.jsonl", 0.5),
        ("c.jsonl", None),
    ]
    assert named_sources("odd=name.jsonl") == [("odd=name.jsonl", None)]
    odd = tmp_path / "x=2"
    odd.mkdir()
    assert named_sources(str(odd)) == [(str(odd), None)]
    for weight in ("0", "-1", "inf", "nan"):
        with pytest.raises(UserError, match="a weight is a number above 0"):
            named_sources(f"a.jsonl={weight} + b.jsonl")


def test_data_sets_get_the_roles_of_each_other():
    opened = [
        open_pairs([ROW]),
        open_pairs([{"anchor": "a", "positives": ["p", "q"], "negative": "n", "weight": 3}]),
    ]
    parts = [
        load_rows(pairs.source, roles=pairs.roles, columns=pairs.columns)
        for pairs in same_roles(opened)
    ]
    rows = Rows.joined(parts, "both")
    assert rows.report.rows == 2
    assert rows.column("positives") == [["p"], ["p", "q"]]
    assert rows.column("negatives") == [[], ["n"]]
    assert rows.column("weight") == [1.0, 3.0]
    with pytest.raises(
        UserError, match="has no positive_id, which another data set of the run has"
    ):
        same_roles([open_pairs([ROW]), open_pairs([ROW | {"positive_id": 1}])])
