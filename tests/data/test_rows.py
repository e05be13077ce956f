import csv
import gzip
import hashlib
import json
import lzma
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pyarrow
import pytest
from disks import fill_disk
from pyarrow import parquet

import textcl.data.cache
from textcl.data.lengths import truncation_report
from textcl.data.roles import text_group
from textcl.data.rows import load_rows, settle_roles
from textcl.data.sources import open_source
from textcl.data.stream import stream_rows
from textcl.errors import RunError, UserError

TRIPLETS = [
    {"anchor": "a dog runs", "positive": "a dog moves", "negative": "a dog sleeps", "id": 1},
    {
        "anchor": "ein Hund läuft",
        "positive": "犬が走る",
        "negative": 'the "cat"\tsat, twice',
        "id": 2,
    },
    {"anchor": "🐕 runs", "positive": "two\u2028lines", "negative": "x\x0by\x85z", "id": 3},
]
ROLES = ("anchor", "positive", "negative")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    return tmp_path / "cache" / "textcl"


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    """`rows` in the format that the name of `path` says."""
    names = list(rows[0])
    opener = {".gz": gzip.open, ".xz": lzma.open}.get(path.suffix, open)
    kind = path.suffixes[0]
    if kind == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
        return path
    with opener(path, "wt", encoding="utf-8", newline="") as file:
        if kind in (".jsonl", ".json"):
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        elif kind == ".csv":
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
        elif kind == ".tsv":
            file.write("\t".join(names) + "\n")
            file.writelines("\t".join(map(str, row.values())) + "\n" for row in rows)
        else:
            file.writelines(row["text"] + "\n" for row in rows)
    return path


def all_rows(rows):
    return rows[range(len(rows))]


# --- formats


@pytest.mark.parametrize(
    "name",
    ["x.csv", "x.csv.gz", "x.jsonl", "x.json", "x.jsonl.xz", "x.tsv", "x.tsv.xz", "x.parquet"],
)
def test_load_rows_reads_every_table_format_alike(tmp_path, name):
    rows = TRIPLETS
    if ".tsv" in name:  # where a tab cannot be written
        rows = [{k: str(v).replace("\t", " ") for k, v in r.items()} for r in rows]
    loaded = load_rows(write(tmp_path / name, rows), roles=ROLES)
    assert all_rows(loaded) == [{role: row[role] for role in ROLES} for row in rows]
    assert loaded.roles == loaded.text_roles == ROLES
    assert loaded[[2, 0, 0]] == [all_rows(loaded)[i] for i in (2, 0, 0)]


@pytest.mark.parametrize("name", ["x.txt", "x.txt.gz", "x.txt.xz"])
def test_load_rows_reads_one_text_per_line(tmp_path, name):
    texts = ["first", " kept as it is ", "two\u2028lines", "windows\r", "ünïcode 🐕"]
    path = write(tmp_path / name, [{"text": text} for text in texts])
    loaded = load_rows(path, roles=["text"])
    assert [row["text"] for row in all_rows(loaded)] == [t.removesuffix("\r") for t in texts]
    assert loaded.report.format == "txt"
    assert loaded.report.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_load_rows_reads_the_last_line_without_its_end(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"\xef\xbb\xbfone\r\n\r\ntwo")
    loaded = load_rows(tmp_path / "x.txt", roles=["text"])
    assert all_rows(loaded) == [{"text": "one"}, {"text": "two"}]
    assert loaded.report.blank == 1


def test_load_rows_reads_lists_and_datasets():
    dicts = [{"q": "a", "label": "joy"}, {"q": "b", "label": "anger"}]
    wanted = [{"text": "a", "label": "joy"}, {"text": "b", "label": "anger"}]
    ids = datasets.Dataset.from_list([{"q": "a", "label": 1}, {"q": "b", "label": 0}])
    named = ids.cast_column("label", datasets.ClassLabel(names=["anger", "joy"]))
    for source in (dicts, named, datasets.DatasetDict({"train": named})):
        loaded = load_rows(source, roles=["text", "label"], columns={"text": "q"})
        assert all_rows(loaded) == wanted
    assert all_rows(load_rows(["a", "b"], roles=["text"])) == [{"text": "a"}, {"text": "b"}]
    assert loaded.report.sha256 == hashlib.sha256(b'["a", "joy"]\n["b", "anger"]\n').hexdigest()


def test_load_rows_reads_class_names_of_several_labels():
    names = datasets.List(datasets.ClassLabel(names=["anger", "joy"]))
    features = datasets.Features({"text": datasets.Value("string"), "labels": names})
    source = datasets.Dataset.from_list(
        [{"text": "a", "labels": [1, 0]}, {"text": "b", "labels": []}], features=features
    )
    loaded = load_rows(source, roles=["text", "labels"])
    assert [row["labels"] for row in all_rows(loaded)] == [["joy", "anger"], []]


def test_load_rows_reads_scores_and_labels_from_text(tmp_path):
    rows = [{"sentence": "a", "score": "4", "label": 3, "labels": '["x", "y"]'}]
    path = write(tmp_path / "x.csv", [*rows, {**rows[0], "score": " 1.5e-1 ", "labels": "x"}])
    loaded = load_rows(path, roles=["text", "score", "label", "labels"])
    first = {"text": "a", "score": 4.0, "label": "3", "labels": ["x", "y"]}
    assert all_rows(loaded) == [first, {**first, "score": 0.15, "labels": ["x"]}]
    assert loaded.text_roles == ("text",)


def test_load_rows_reads_a_folder_in_the_order_of_names(tmp_path):
    for name in ("b.txt", "a.txt", "c.txt"):
        (tmp_path / name).write_text(f"{name} one\n{name} two\n")
    (tmp_path / "README.md").write_text("not data")
    loaded = load_rows(tmp_path, roles=["text"])
    assert [row["text"][:1] for row in all_rows(loaded)] == list("aabbcc")
    lines = [
        f"{hashlib.sha256((tmp_path / n).read_bytes()).hexdigest()}  {n}\n"
        for n in ("a.txt", "b.txt", "c.txt")
    ]
    assert loaded.report.sha256 == hashlib.sha256("".join(lines).encode()).hexdigest()


def test_load_rows_takes_the_split_from_file_names(tmp_path):
    for split in ("train", "dev"):
        (tmp_path / f"nli_{split}.jsonl").write_text(json.dumps({"text": split}) + "\n")
    (tmp_path / "labels.txt").write_text("joy\n")
    assert all_rows(load_rows(tmp_path, roles=["text"], split="dev")) == [{"text": "dev"}]
    with pytest.raises(UserError, match=r"holds several splits \(dev, train\): .* --split train"):
        load_rows(tmp_path, roles=["text"])
    with pytest.raises(UserError, match=r"no data file of the split 'test', it holds labels\.txt"):
        load_rows(tmp_path, roles=["text"], split="test")


# --- counting


def test_load_rows_counts_blank_lines_and_duplicates(tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    (tmp_path / "x.txt").write_text(f"a\n\n b\n  \t\n{composed}\n{decomposed} \nb\na\na\n\n")
    path = tmp_path / "x.txt"
    kept = load_rows(path, roles=["text"])
    report = kept.report
    assert (report.rows, report.blank, report.duplicates, report.dropped) == (7, 3, 4, 0)
    dropped = load_rows(path, roles=["text"], deduplicate=True)
    assert [row["text"] for row in all_rows(dropped)] == ["a", " b", composed]
    assert (dropped.report.rows, dropped.report.duplicates, dropped.report.dropped) == (3, 4, 4)
    assert "7 rows (txt, sha256 " in report.describe()
    assert "3 blank skipped; 4 exact duplicates kept; longest text 6 char" in report.describe()
    assert "4 exact duplicates dropped" in dropped.report.describe()


def test_load_rows_counts_a_row_as_duplicate_only_if_all_its_values_are():
    rows = [{"text": t, "label": c} for t, c in ("a1", "a2", "b1", "a1", "b2")]
    assert load_rows(rows, roles=["text", "label"]).report.duplicates == 1
    assert load_rows(rows, roles=["text"]).report.duplicates == 3
    pairs = [{"anchor": "a", "positive": "b"}, {"anchor": "a b", "positive": ""}]
    assert load_rows(pairs, roles=["anchor", "positive"]).report.blank == 1


@pytest.mark.parametrize("limit", [1, 2, 100])
def test_load_rows_stops_at_the_limit(tmp_path, limit):
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n\n{"text": "b"}\n{"text": 1}\n')
    if limit == 100:
        with pytest.raises(UserError, match=r"x\.jsonl:4, column text: expected a text, got 1"):
            load_rows(tmp_path / "x.jsonl", roles=["text"], limit=limit)
    else:
        loaded = load_rows(tmp_path / "x.jsonl", roles=["text"], limit=limit)
        assert [row["text"] for row in all_rows(loaded)] == ["a", "b"][:limit]


def test_load_rows_keeps_very_long_texts_and_counts_them(tmp_path):
    (tmp_path / "x.txt").write_text("short\n" + "long text " * 100_000 + "\n")
    loaded = load_rows(tmp_path / "x.txt", roles=["text"])
    assert len(loaded[[1]][0]["text"]) == loaded.report.longest == 1_000_000
    assert loaded.report.long_texts == 1
    assert "1 text over 100,000" in loaded.report.describe()


def test_load_rows_holds_over_several_blocks(tmp_path):
    texts = [f"text number {n % 15_000}" for n in range(20_000)]
    (tmp_path / "x.txt").write_text("\n".join(texts))
    loaded = load_rows(tmp_path / "x.txt", roles=["text"])
    assert [row["text"] for block in loaded.blocks(7000) for row in block] == texts
    assert loaded.report.duplicates == 5000
    unique = load_rows(tmp_path / "x.txt", roles=["text"], deduplicate=True)
    assert [row["text"] for block in unique.blocks() for row in block] == texts[:15_000]


def test_load_rows_allows_a_single_row():
    assert len(load_rows(["only"], roles=["text"])) == 1


# --- cache


def test_load_rows_reads_the_same_bytes_once(tmp_path, cache):
    first, second = tmp_path / "x.txt", tmp_path / "copy.txt"
    first.write_text("a\n\nb\n")
    second.write_text("a\n\nb\n")
    report = load_rows(first, roles=["text"]).report
    made = {path: path.stat().st_ino for path in cache.iterdir()}
    again = load_rows(second, roles=["text"])
    assert {path: path.stat().st_ino for path in cache.iterdir()} == made
    assert again.report.blank == report.blank == 1
    assert again.report.source == str(second)
    second.write_text("a\n\nc\n")
    assert all_rows(load_rows(second, roles=["text"]))[1] == {"text": "c"}
    assert all_rows(load_rows(second, roles=["text"], limit=1)) == [{"text": "a"}]


def test_load_rows_leaves_nothing_in_the_cache_after_an_error(tmp_path, cache):
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n{"text": ')
    with pytest.raises(UserError, match=r"x\.jsonl:2: expected one JSON object per line"):
        load_rows(tmp_path / "x.jsonl", roles=["text"])
    assert list(cache.iterdir()) == []


def test_load_rows_says_that_the_disk_of_the_cache_is_full(cache, monkeypatch):
    fill_disk(monkeypatch, after=10)
    with pytest.raises(RunError, match=r"the disk is full: .* nothing of it was left"):
        load_rows(["a", "b"], roles=["text"])
    assert list(cache.iterdir()) == []


def test_load_rows_says_that_the_cache_cannot_be_made(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "file")
    with pytest.raises(UserError, match=r"cannot make the cache folder .*set HF_DATASETS_CACHE"):
        load_rows(["a"], roles=["text"])


# --- bad input


def fails(path, match, roles=("text",), **arguments):
    with pytest.raises(UserError, match=match):
        load_rows(path, roles=roles, **arguments)


def test_missing_file_names_its_neighbours(tmp_path):
    (tmp_path / "sentences.txt").write_text("a\n")
    fails(tmp_path / "sentence.txt", r"no file or folder .*did you mean sentences\.txt\?")
    fails(tmp_path / "zzz", "hub data sets are written owner/name")
    fails(tmp_path / "none" / "x.txt", r"the folder .*none does not exist")


def test_empty_and_blank_files_are_told(tmp_path):
    (tmp_path / "x.txt").write_text("")
    fails(tmp_path / "x.txt", r"x\.txt is empty \(0 bytes\)")
    (tmp_path / "y.txt").write_text("\n \n")
    fails(tmp_path / "y.txt", r"y\.txt has no usable row: 2 lines or rows are blank")
    (tmp_path / "z.csv").write_text("text\n")
    fails(tmp_path / "z.csv", r"z\.csv has no usable row: it is empty, or has column names alone")
    fails([], "list has no usable row")
    fails(
        [{"anchor": "a", "positive": ""}],
        "1 lines or rows are blank or lack one of anchor, positive",
        ["anchor", "positive"],
    )
    (tmp_path / "folder").mkdir()
    fails(tmp_path / "folder", r"has no data file, it holds nothing; supported are txt, csv")


def test_unknown_extensions_list_the_supported_ones(tmp_path):
    for name in ("x.docx", "x", "x.parquet.gz", "x.gz"):
        (tmp_path / name).write_text("a")
        fails(tmp_path / name, r"not known; supported are txt, csv, tsv, jsonl, json .* parquet")
    fails(b"bytes", "expected a file, a folder, .* but got bytes")
    fails(3, "expected a file, a folder, .* but got int")


def test_folders_of_mixed_formats_are_told(tmp_path):
    (tmp_path / "a.txt").write_text("a\n")
    (tmp_path / "b.csv").write_text("text\nb\n")
    fails(tmp_path, r"mixes formats \(csv, txt\): name one file")


def test_a_missing_column_lists_those_there(tmp_path):
    path = write(tmp_path / "x.csv", TRIPLETS)
    there = r"its columns are 'anchor', 'positive', 'negative', 'id': say which one with --column"
    fails(path, rf"x\.csv:2 has no column for the role text; {there} text=NAME")
    fails(
        path,
        rf"x\.csv:2 has no column 'premise' for the role anchor; {there} anchor=NAME",
        roles=["anchor"],
        columns={"anchor": "premise"},
    )
    headed = write(tmp_path / "headed.csv", [{"Text": "a", "Label": "b"}])
    fails(headed, r"say which one with --column text=Text$")
    fails(path, "--column query=id: the roles here are anchor", ["anchor"], columns={"query": "id"})
    fails(write(tmp_path / "x.parquet", TRIPLETS), rf"x\.parquet has no column .*; {there}")
    both = [{"sentence": "a", "sentences": "b"}]
    fails(both, r"list, row 1 has several columns \('sentence', 'sentences'\)")
    fails([{"a": "x"}, {"b": "y"}], r"list, row 2 has no 'a'", columns={"text": "a"})


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"text": "b"', r"no complete JSON \(Expecting ',' delimiter, column 13\)"),
        ('{"text": "b', r"no complete JSON \(Unterminated string starting at, column 10\)"),
        ('["b"]', "got list"),
        ('"b"', "got str"),
    ],
)
def test_torn_json_lines_are_told_with_their_line(tmp_path, line, told):
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n\n' + line + '\n{"text": "c"}\n')
    fails(tmp_path / "x.jsonl", rf"x\.jsonl:3: expected one JSON object per line, .*{told}")


@pytest.mark.parametrize(
    "text",
    [
        '[\n{"text": "a"},\n{"text": "b",\n"n": [1]}\n]\n',
        '[{"text": "a"}, {"text": "b"}]',
        '\ufeff [\n\n  {"text": "a"}\n , {"text": "b"} ]\n\n',
    ],
)
def test_an_array_of_json_objects_is_read(tmp_path, text, monkeypatch):
    monkeypatch.setattr("textcl.data.formats.MAX_LINE", 25)  # pandas writes an array as one line
    for name in ("x.json", "x.jsonl"):
        (tmp_path / name).write_text(text)
        assert load_rows(tmp_path / name, roles=("text",)).column("text") == ["a", "b"]
        assert open_source(tmp_path / name).count_rows() is None
    with gzip.open(tmp_path / "x.json.gz", "wt", encoding="utf-8") as file:
        file.write(text)
    assert [row.text for row in stream_rows(tmp_path / "x.json.gz")] == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        ('[\n{"text": "a"},\n{"text": ', 3, "cannot be read on .*Expecting value.*cut off"),
        ('[\n{"text": "a"}\n', 3, "Expecting ',' or '\\]'"),
        ('[\n{"text": "a"}\n{"text": "b"}]', 3, "Expecting ',' or '\\]'"),
        ('[\n{"text": "a"},\n]', 3, "Expecting value"),
        ('[{"text": "a"}]\n\n{"text": "b"}', 3, "something stands behind the end"),
        (
            '[\n{"text": "a"},\n"b"]',
            3,
            r'expected an array of JSON objects, such as \{"text": "…"\}, got str',
        ),
        ('[\n{"text": "a"},\n{"text": 3}]', 3, "column text"),
    ],
)
def test_what_is_wrong_in_a_json_array_has_its_line(tmp_path, text, place, told):
    (tmp_path / "x.json").write_text(text)
    fails(tmp_path / "x.json", rf"x\.json:{place}[:,] .*{told}")


def test_an_empty_json_array_has_no_rows(tmp_path):
    (tmp_path / "x.json").write_text("[]\n")
    fails(tmp_path / "x.json", "has no usable row")


def test_bytes_that_are_not_utf8_are_told_with_their_place(tmp_path):
    for name, raw in (("x.txt", b"a\nsch\xf6n\n"), ("x.csv", b"text\nsch\xf6n\n")):
        (tmp_path / name).write_bytes(raw)
        fails(
            tmp_path / name,
            rf"{name}:2: not UTF-8 at byte 4 of the line \(0xf6\); save the .* windows-1252 ",
        )
    (tmp_path / "x.txt").write_bytes("text".encode("utf-16-le"))
    fails(tmp_path / "x.txt", r"x\.txt:1: NUL byte at byte 2 of the line, .* UTF-16 save it as")


def test_nul_bytes_are_told_with_their_place(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"a\nb\0c\n")
    fails(tmp_path / "x.txt", r"x\.txt:2: NUL byte at byte 2 of the line")
    (tmp_path / "x.jsonl").write_text('{"text": "a\\u0000"}\n')
    fails(tmp_path / "x.jsonl", r"x\.jsonl:1, column text: the text holds a NUL character \(at 2\)")
    (tmp_path / "y.jsonl").write_text('{"text": "a\\ud800"}\n')
    fails(tmp_path / "y.jsonl", r"y\.jsonl:1, column text: .*half a surrogate pair \(at 2\)")


def test_endless_lines_are_told(tmp_path):
    (tmp_path / "x.txt").write_bytes(b"a\n" + b"b" * 10_000_001)
    fails(tmp_path / "x.txt", r"x\.txt:2: the line is longer than 10,000,000 bytes")


@pytest.mark.parametrize("score", ["high", "", "nan", "inf", None, True])
def test_scores_that_are_no_numbers_are_told_with_their_line(tmp_path, score):
    rows = [{"text": "a", "score": 1}, {"text": "b", "score": score}]
    path = write(tmp_path / "x.jsonl", rows)
    fails(
        path, r"x\.jsonl:2, column score: expected a number as score, got ", roles=["text", "score"]
    )


def test_labels_that_are_no_names_are_told_with_their_line():
    for label in (["joy"], 1.5, b"joy", {"joy": 1}):
        fails(
            [{"text": "a", "label": label}],
            "list, row 1, column label: expected one class name as label, got ",
            roles=["text", "label"],
        )
    fails(
        [{"text": "a", "labels": "[joy"}], "as a JSON list in the column labels", ["text", "labels"]
    )


def test_broken_csv_rows_are_told_with_the_line_they_begin(tmp_path):
    (tmp_path / "x.csv").write_text('text,id\n"two\nlines",1\na,b,c\n')
    fails(
        tmp_path / "x.csv",
        r"x\.csv:4: 3 fields, but the first row names 2 columns \('text', 'id'\)",
    )
    (tmp_path / "x.csv").write_text('text,id\n"two\nlines",1\n"open,2\nc,3\n')
    fails(tmp_path / "x.csv", r"x\.csv:4: the row that begins here is not valid csv")
    (tmp_path / "x.tsv").write_text("text\tid\na\n")
    fails(tmp_path / "x.tsv", r"x\.tsv:2: 1 field, but the first row names 2")
    (tmp_path / "x.csv").write_text("a,a\n1,2\n")
    fails(tmp_path / "x.csv", r"x\.csv:1: the first row must hold the column names, each once")


@pytest.mark.parametrize("name", ["x.csv", "x.txt", "x.tsv", "x.jsonl"])
def test_lines_that_end_as_on_old_macs_are_told(tmp_path, name):
    (tmp_path / name).write_bytes(b"text\ra\rb\r")
    fails(tmp_path / name, "end in a carriage return alone.* save it with line feeds")


def test_a_link_to_nowhere_is_called_so(tmp_path):
    (tmp_path / "x.txt").symlink_to(tmp_path / "gone.txt")
    fails(tmp_path / "x.txt", "x.txt is a link to .*gone.txt, which does not exist")


def test_broken_archives_and_tables_are_told(tmp_path):
    for name, pack in (("x.txt.gz", gzip.compress), ("x.txt.xz", lzma.compress)):
        (tmp_path / name).write_bytes(pack(b"some text\n" * 100)[:-9])
        fails(tmp_path / name, rf"{name}: the compressed file is broken after line \d+")
        (tmp_path / name).write_bytes(b"some text\n")
        fails(
            tmp_path / name,
            rf"{name} is not compressed, although its name ends in \.[gx]z: name it x\.txt",
        )
    (tmp_path / "x.parquet").write_bytes(b"some text\n")
    fails(tmp_path / "x.parquet", r"x\.parquet is not a parquet file")


def test_splits_that_are_not_there_are_told(tmp_path):
    (tmp_path / "x.txt").write_text("a\n")
    fails(tmp_path / "x.txt", r"split 'dev' was asked for, but .*x\.txt is a single", split="dev")
    table = datasets.Dataset.from_list([{"text": "a"}])
    both = datasets.DatasetDict({"test": table, "dev": table})
    fails(both, "data set has no split 'train'; its splits are test, dev: say which one")
    fails(table, "one data set without splits", split="dev")
    assert all_rows(load_rows(both, roles=["text"], split="dev")) == [{"text": "a"}]


def test_an_unreachable_hub_is_told(monkeypatch):
    asked = []

    def unreachable(*arguments, revision, streaming):
        asked.append((*arguments, revision, streaming))
        raise ConnectionError("no network\nmore")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    fails(
        "someone/triplets:pair",
        r"someone/triplets:pair is neither a file or folder here nor .* reached \(no network\)",
    )
    assert asked == [("someone/triplets", "pair", None, False)]
    fails("nobody/x.txt", "the folder nobody does not exist")
    fails("triplets", "no file or folder triplets")
    assert len(asked) == 1


def test_a_limit_below_one_is_told():
    fails(["a"], "limit must be at least 1 row, got 0", limit=0)


# --- streaming


def test_stream_rows_keeps_every_line_and_column(tmp_path):
    (tmp_path / "x.txt").write_text("a\n\n b \n")
    assert [row.text for row in stream_rows(tmp_path / "x.txt")] == ["a", "", " b "]
    (tmp_path / "x.jsonl").write_text('{"q": "a", "id": 1}\n\n{"q": null, "id": 2}\n')
    rows = list(stream_rows(tmp_path / "x.jsonl", columns={"text": "q"}))
    assert [row.text for row in rows] == ["a", "", ""]
    assert [row.values.get("id") for row in rows] == [1, None, 2]
    (tmp_path / "x.csv").write_text('sentence,id\na,1\n\n"",2\n')
    rows = list(stream_rows(tmp_path / "x.csv"))
    assert rows == [("a", {"sentence": "a", "id": "1"}), ("", {"sentence": "", "id": "2"})]
    parquet_rows = stream_rows(write(tmp_path / "x.parquet", TRIPLETS), columns={"text": "anchor"})
    assert [row.values for row in parquet_rows] == TRIPLETS


def test_stream_rows_reads_lazily(tmp_path):
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n{"text": 5}\n')
    rows = stream_rows(tmp_path / "x.jsonl")
    assert next(rows).text == "a"
    with pytest.raises(UserError, match=r"x\.jsonl:2, column text: expected a text, got 5"):
        next(rows)


def test_stream_rows_reads_standard_input(monkeypatch, tmp_path):
    (tmp_path / "lines").write_text('{"text": "a"}\n{"text": "b"}\n')
    for format, first in ((None, '{"text": "a"}'), ("jsonl", "a")):
        with (tmp_path / "lines").open() as file:
            monkeypatch.setattr("sys.stdin", file)
            assert next(stream_rows("-", format=format)).text == first
    with pytest.raises(UserError, match=r"can be read as txt, csv, tsv, jsonl, but .* 'parquet'"):
        stream_rows("-", format="parquet")


# --- text identity and truncation


def test_text_group_ignores_only_form_and_outer_space():
    texts = ["caf\u00e9", " caf\u00e9\n", unicodedata.normalize("NFD", "caf\u00e9")]
    assert len({text_group(text) for text in texts}) == 1
    others = {text_group(text) for text in ["cafe", "Caf\u00e9", "caf\u00e9 s", "", "\ud800"]}
    assert len(others | {text_group(texts[0])}) == 6
    assert all(-(2**63) <= group < 2**63 for group in others)
    assert text_group("a") == int.from_bytes(
        hashlib.blake2b(b"a", digest_size=8).digest(), "little", signed=True
    )


def test_text_group_is_the_identity_that_counts_duplicates():
    assert textcl.data.cache.row_group(("caf\u00e9 ",)) == text_group("caf\u00e9")


def words(texts):
    return [len(text.split()) for text in texts]


def test_truncation_report_counts_words_over_the_limit():
    texts = ["w " * n for n in range(1, 101)]
    report = truncation_report(words, texts, 90)
    assert (report.texts, report.truncated) == (100, 10)
    assert report.percentiles == (51, 91, 100, 100)
    assert not report.sampled
    assert report.describe() == (
        "10 of 100 texts (10.0%) are cut at 90 tokens; "
        "lengths: median 51, 90 % 91, 99 % 100, longest 100"
    )


def test_truncation_report_looks_at_all_texts_of_sampled_rows():
    rows = load_rows(
        [{"anchor": f"a{n}", "positive": f"b{n} c"} for n in range(3000)],
        roles=["anchor", "positive"],
    )
    asked: Counter[str] = Counter()

    def count(texts):
        asked.update(texts)
        return words(texts)

    report = truncation_report(count, rows, 1, sample=2500)
    assert (report.texts, report.truncated, report.sampled) == (5000, 2500, True)
    assert set(asked.values()) == {1}
    assert "2,500 of 5,000 sampled texts" in report.describe()
    first = dict(asked)
    truncation_report(count, rows, 1, sample=2500)
    assert asked == dict.fromkeys(first, 2)


def table_of(kind):
    columns = {"text": ["a", "b"], "score": [1.0, 0.5]}
    dataset = datasets.Dataset.from_dict(columns)
    return {
        "dict": columns,
        "arrays": {name: np.array(values) for name, values in columns.items()},
        "pandas": pandas.DataFrame(columns, index=[5, 5]),
        "pyarrow": pyarrow.table(columns),
        "batch": pyarrow.record_batch(columns),
        "dataset": dataset,
        "streamed": dataset.to_iterable_dataset(),
        "split": datasets.DatasetDict(test=dataset),
    }[kind]


@pytest.mark.parametrize(
    "kind", ["dict", "arrays", "pandas", "pyarrow", "batch", "dataset", "streamed", "split"]
)
def test_tables_of_any_library_are_rows(kind):
    loaded = load_rows(table_of(kind), roles=["text", "score"])
    assert all_rows(loaded) == [{"text": "a", "score": 1.0}, {"text": "b", "score": 0.5}]
    assert settle_roles(table_of(kind), ["text|anchor"]) == ("text",)


@pytest.mark.parametrize(
    "column",
    [
        ["a", None, "b"],
        np.array(["a", None, "b"], dtype=object),
        pandas.Series(["a", None, "b"], index=[9, 8, 7]),
        pyarrow.chunked_array([["a"], [None, "b"]]),
        datasets.Dataset.from_dict({"other": ["a", None, "b"]})["other"],
    ],
)
def test_a_column_of_any_library_is_texts(column):
    loaded = load_rows(column, roles=["text"])
    assert loaded.column("text") == ["a", "b"]
    assert loaded.report.blank == 1


def test_what_cannot_be_read_twice_or_has_no_order_is_refused_by_name():
    fails((text for text in "ab"), r"generator can be read only once, .*: pass list\(…\) of it")
    fails({"a", "b"}, "but got a set, which has no order: pass a list")
    fails(np.zeros((2, 2)), r"but got ndarray of shape \(2, 2\)")
    fails({"text": ["a"], "id": [1, 2]}, "the columns differ in length: 'text' 1, 'id' 2")
    fails([3.5], "list, row 1: expected a text or a dict of columns, got float")


def test_spaces_around_the_names_of_columns_are_no_part_of_them(tmp_path):
    (tmp_path / "x.csv").write_text("id, text ,score\n1,a,2\n")
    assert load_rows(tmp_path / "x.csv", roles=["text", "score"]).column("text") == ["a"]
    (tmp_path / "x.tsv").write_text("id\t text\n1\ta\n")
    assert load_rows(tmp_path / "x.tsv", roles=["text"]).column("text") == ["a"]
    fails(pandas.DataFrame({"text ": ["a"]}), "its columns are 'text ': say which")


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize(
    ("name", "content", "advice"),
    [
        ("x.csv", POINTER, "is the pointer of a file in git-lfs and not .*: run git lfs pull"),
        ("x.jsonl", POINTER, "pointer of a file in git-lfs"),
        ("x.txt", POINTER, "pointer of a file in git-lfs"),
        ("x.parquet", POINTER, "pointer of a file in git-lfs"),
        ("x.csv", b"PK\x03\x04rest", "is a spreadsheet or a zip archive inside: save it as csv"),
        ("x.csv", "text\na\n".encode("utf-16"), "is UTF-16: save it as UTF-8, .* iconv"),
        ("x.jsonl", b"\xfe\xff\x00{", "is UTF-16"),
        (
            "x.txt",
            gzip.compress(b"a\n", mtime=0),
            r"is compressed inside: let its name end in \.gz",
        ),
        ("x.xlsx", b"PK\x03\x04rest", "a spreadsheet cannot be read: save it as csv .*read_excel"),
        ("x.ODS", b"PK\x03\x04rest", "a spreadsheet cannot be read"),
        (
            "x.csv",
            b"text;label\na;b\n",
            r"x\.csv:1: .* by commas, but the first row is 'text;label'",
        ),
        ("x.csv", b"text\tlabel\na\tb\n", r"x\.csv:1: .* let its name end in \.tsv"),
    ],
)
def test_files_that_are_something_else_say_how_to_get_further(tmp_path, name, content, advice):
    (tmp_path / name).write_bytes(content)
    fails(tmp_path / name, advice)
    with pytest.raises(UserError, match=advice):
        list(stream_rows(tmp_path / name))


def test_a_pattern_names_files_in_order(tmp_path):
    for name, text in (("b.txt", "2\n"), ("a.txt", "1\n"), ("deep/c.txt", "3\n"), ("a.csv", "x")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert [row.text for row in stream_rows(f"{tmp_path}/*.txt")] == ["1", "2"]
    assert [row.text for row in stream_rows(f"{tmp_path}/**/*.txt")] == ["1", "2", "3"]
    with pytest.raises(UserError, match="no file fits the pattern"):
        open_source(f"{tmp_path}/*.parquet")


def test_rows_are_counted_where_that_is_cheap(tmp_path):
    (tmp_path / "x.txt").write_text("a\n\nb")
    (tmp_path / "x.csv").write_text("text\na\n")
    parquet.write_table(pyarrow.table({"text": ["a", "b"]}), tmp_path / "x.parquet")
    (tmp_path / "x.txt.gz").write_bytes(gzip.compress(b"a\nb\n"))
    counts = {
        name: open_source(str(tmp_path / name)).count_rows()
        for name in ("x.txt", "x.csv", "x.parquet", "x.txt.gz")
    }
    assert counts == {"x.txt": 3, "x.csv": None, "x.parquet": 2, "x.txt.gz": None}


def test_zstandard_is_read_and_a_broken_file_named(tmp_path):
    with pyarrow.output_stream(str(tmp_path / "x.txt.zst"), compression="zstd") as file:
        file.write("ä b\nc\n".encode())
    assert [row.text for row in stream_rows(str(tmp_path / "x.txt.zst"))] == ["ä b", "c"]
    content = (tmp_path / "x.txt.zst").read_bytes()
    (tmp_path / "y.txt.zst").write_bytes(content[:10])
    with pytest.raises(UserError, match=r"y\.txt\.zst: cannot be read after line 0"):
        list(stream_rows(str(tmp_path / "y.txt.zst")))


@pytest.mark.parametrize("ending", ["arrow", "json"])
@pytest.mark.parametrize("damage", [b"", b"{}", b"\xff" * 100, None])
def test_damaged_rows_in_the_cache_are_read_from_the_source_again(tmp_path, ending, damage):
    texts = [f"text {number}" for number in range(20)]
    load_rows(texts, roles=["text"])
    (path,) = (tmp_path / "cache").rglob(f"*.{ending}")
    content = path.read_bytes()[: path.stat().st_size // 2] if damage is None else damage
    path.unlink()  # it is mapped into memory
    path.write_bytes(content)
    assert load_rows(texts, roles=["text"]).column("text") == texts
