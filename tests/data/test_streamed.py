"""Streamed rows: every row by its number, from any place on, whatever they are read from."""

from __future__ import annotations

import gzip
import json

import datasets
import pyarrow
import pytest
from pyarrow import parquet

from textcl.data.pairs import open_pairs
from textcl.data.reading import Selection
from textcl.data.rows import load_rows
from textcl.data.sources import open_source
from textcl.data.streamed import StreamedRows, _close_all
from textcl.errors import UserError

TEXTS = [f"text {i}" for i in range(25)]


def stream(source, buffer=4, roles=("text",), columns=None, **more):
    return StreamedRows(Selection(open_source(source), roles, columns or {}, None), buffer, **more)


def numbers(rows, start, stop):
    return [int(row["text"].split()[1]) for row in rows[range(start, stop)]]


def lines(folder):
    (folder / "a.txt").write_text("\n".join([*TEXTS[:10], "", "  "]) + "\n")
    (folder / "b.txt").write_text("\n".join(["", *TEXTS[10:]]) + "\n")
    return f"stream:{folder}"


def archives(folder):
    for name, texts in (("a", TEXTS[:3]), ("b", TEXTS[3:])):
        with gzip.open(folder / f"{name}.jsonl.gz", "wt") as file:
            file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    return f"stream:{folder}/*.gz"


def tables(folder):
    for name, texts in (("a", TEXTS[:13]), ("b", TEXTS[13:])):
        parquet.write_table(pyarrow.table({"text": texts}), folder / f"{name}.parquet")
    return f"stream:{folder}"


def hub(folder):
    tables(folder)
    return f"hf://{folder}"  # what load_dataset reads from the disk as it does from the hub


def from_tables(folder):
    tables(folder)
    files = sorted(map(str, folder.glob("*.parquet")))
    return datasets.load_dataset("parquet", data_files=files, streaming=True)


def from_json(folder):
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    data = datasets.load_dataset("json", data_files=str(path), streaming=True, split="train")
    return data.map(lambda row: {"text": row["text"].lower()})  # its columns are not known


@pytest.mark.parametrize("make", [lines, archives, tables, hub, from_tables, from_json])
def test_rows_come_by_number_and_from_any_place_on(make, tmp_path):
    source = make(tmp_path)
    rows = stream(source)
    assert rows.roles == ("text",)
    assert (len(rows), rows.report.streamed) == (4, True)
    seen = numbers(rows, 0, 70)
    assert seen == [i % 25 for i in range(70)]
    assert numbers(rows, 56, 70) == seen[56:]  # buffers that are still held
    again = stream(source)
    for row in (9, 33, 52, 68):
        place = json.loads(json.dumps(rows.place_of(row)))
        again.go_on(place)
        assert numbers(again, row, 70) == seen[row:]
    assert again.report == rows.report


def test_a_place_is_known_before_its_rows_are_drawn():
    rows = stream(datasets.Dataset.from_dict({"text": TEXTS}).to_iterable_dataset(num_shards=3))
    place = rows.place_of(13)
    assert place["buffer"] == 3
    assert numbers(rows, 12, 16) == [12, 13, 14, 15]


def test_class_ids_are_read_as_names():
    features = datasets.Features({"text": datasets.ClassLabel(names=["text 0", "text 1"])})
    data = datasets.Dataset.from_dict({"text": [1, 0, 1, 0]}, features=features)
    assert numbers(stream(data.to_iterable_dataset()), 0, 4) == [1, 0, 1, 0]


def test_negatives_in_columns_are_gathered_on_the_way():
    data = {
        "anchor": TEXTS,
        "positive": TEXTS,
        "negative_1": [None, *TEXTS[1:]],
        "negative_2": TEXTS[::-1],
    }

    def opened():
        pairs = open_pairs(datasets.Dataset.from_dict(data).to_iterable_dataset())
        return StreamedRows(Selection(pairs.source, pairs.roles, dict(pairs.columns), None), 4)

    rows, later = opened(), opened()
    assert [len(row["negatives"]) for row in rows[range(24, 28)]] == [2, 1, 2, 2]
    later.go_on(rows.place_of(24))
    assert later[range(24, 28)] == rows[range(24, 28)]


def test_what_cannot_be_streamed_is_refused(tmp_path):
    few = datasets.Dataset.from_dict({"text": TEXTS[:3]}).to_iterable_dataset()
    with pytest.raises(UserError, match="has 3 usable rows, fewer than shuffle_buffer=4"):
        stream(few)
    data = datasets.Dataset.from_dict({"text": TEXTS}).to_iterable_dataset()
    shuffled = data.shuffle(seed=1)
    for each in (shuffled, shuffled.map(str), datasets.interleave_datasets([data, shuffled])):
        with pytest.raises(UserError, match="shuffles in a buffer of its own"):
            stream(each)
    with pytest.raises(UserError, match="standard input is read once"):
        stream("stream:-")
    with pytest.raises(UserError, match="no file or folder"):
        stream(f"stream:{tmp_path}/nothing")
    (tmp_path / "broken.jsonl").write_text('{"text": "a"}\n' * 5 + '{"text": 5}\n')
    rows = stream(f"stream:{tmp_path}/broken.jsonl", buffer=2)
    with pytest.raises(UserError, match=r"broken.jsonl:6, column text: expected a text, got 5"):
        rows[[5]]


def test_a_stream_that_can_be_read_once_ends_in_a_sentence():
    left = [TEXTS]
    data = datasets.IterableDataset.from_generator(
        lambda: ({"text": text} for text in (left.pop() if left else []))
    )
    rows = stream(data)
    with pytest.raises(UserError, match="gives its rows once only"):
        numbers(rows, 24, 28)


def test_every_buffer_is_checked():
    def refuse(rows):
        if "text 9" in rows.strings("text"):
            raise UserError("nine")

    data = datasets.Dataset.from_dict({"text": TEXTS}).to_iterable_dataset()
    rows = stream(data, check=refuse)
    assert numbers(rows, 0, 8) == list(range(8))
    with pytest.raises(UserError, match="nine"):
        rows[[8]]


def test_a_stream_may_be_read_whole_where_all_rows_are_wanted(tmp_path):
    assert load_rows(from_tables(tmp_path), roles=("text",)).strings("text") == TEXTS


def test_sources_are_left_before_the_modules_that_read_them_go():
    """At the end of a program readers that are closed without their modules print exceptions."""
    left = []

    def records():
        try:
            yield from ({"text": text} for text in TEXTS)
        finally:
            left.append(True)

    rows = stream(datasets.IterableDataset.from_generator(records))
    assert numbers(rows, 0, 6) == [0, 1, 2, 3, 4, 5]
    assert not left
    _close_all()
    assert left
