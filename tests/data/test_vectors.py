import datetime
import json

import numpy as np
import pyarrow
import pytest
from disks import fill_disk
from pyarrow import parquet
from safetensors.numpy import load_file

from textcl.data.vectors import open_vectors, vector_format
from textcl.errors import RunError, UserError

RECORDS = [
    {"text": "a", "id": 1, "tags": ["x"], "meta": {"k": 1}},
    {"text": 'über "b"\n', "id": None, "tags": [], "meta": None},
    {"text": "c", "id": 3, "tags": None, "meta": {"other": [2]}},
]


@pytest.fixture
def vectors():
    values = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    values[0] = [0, 1 / 3, -1e-30, 1e30, np.float32(16777216)]
    return values


def written(path, vectors, records=RECORDS, **options):
    with open_vectors(path, vectors.shape[1], **options) as write:
        write(vectors[:2], records[:2])
        write(vectors[2:], records[2:])
    return path


def test_npy_reads_back_and_maps(tmp_path, vectors):
    path = written(tmp_path / "x.npy", vectors)
    mapped = np.load(path, mmap_mode="r")
    assert mapped.dtype == np.float32
    np.testing.assert_array_equal(mapped, vectors)
    assert path.stat().st_size == 128 + vectors.nbytes


def test_safetensors_reads_back(tmp_path, vectors):
    tensors = load_file(written(tmp_path / "x.safetensors", vectors))
    assert list(tensors) == ["embeddings"]
    assert tensors["embeddings"].dtype == np.float32
    np.testing.assert_array_equal(tensors["embeddings"], vectors)


@pytest.mark.parametrize("format", ["npy", "safetensors"])
def test_headers_keep_their_length_for_any_count(format):
    import textcl.data.vectors

    header, numbers = (
        getattr(textcl.data.vectors, f"_{format}_header"),
        textcl.data.vectors._Numbers,
    )
    large = header(10**12, numbers(10**5, "float32"))
    assert len(header(0, numbers(1, "float16"))) == len(large) in (128, 256)
    assert b"1000000000000, 100000" in large


@pytest.mark.parametrize("format", ["npy", "safetensors", "parquet", "jsonl"])
def test_float16_reads_back_rounded_once(tmp_path, vectors, format):
    vectors[0] = [0, 1 / 3, -1e-7, 65504, 1 + 1e-4]
    path = written(tmp_path / f"x.{format}", vectors, dtype="float16")
    if format == "npy":
        read = np.load(path)
    elif format == "safetensors":
        read = load_file(path)["embeddings"]
    elif format == "parquet":
        table = parquet.read_table(path)
        assert table.schema.field("embedding").type == pyarrow.list_(pyarrow.float16(), 5)
        read = np.array([row["embedding"] for row in table.to_pylist()], np.float16)
    else:
        lines = path.read_text("utf-8").split("\n")[:-1]
        read = np.array([json.loads(line)["embedding"] for line in lines], np.float16)
    assert read.dtype == np.float16
    np.testing.assert_array_equal(read, vectors.astype(np.float16))


def test_numbers_too_large_for_float16_are_named(tmp_path, vectors):
    with pytest.raises(RunError, match="row 1 in float16, whose numbers end at 65,504"):
        written(tmp_path / "x.npy", vectors, dtype="float16")
    assert not (tmp_path / "x.npy").exists()


def test_jsonl_reads_back_the_same_numbers_and_columns(tmp_path, vectors):
    lines = written(tmp_path / "x.jsonl", vectors).read_text("utf-8").split("\n")
    assert lines.pop() == ""
    rows = [json.loads(line) for line in lines]
    np.testing.assert_array_equal(
        np.array([row.pop("embedding") for row in rows], np.float32), vectors
    )
    assert rows == RECORDS


def test_parquet_keeps_columns_and_a_list_of_fixed_size(tmp_path, vectors):
    table = parquet.read_table(written(tmp_path / "x.parquet", vectors))
    assert table.schema.field("embedding").type == pyarrow.list_(pyarrow.float32(), 5)
    rows = table.to_pylist()
    np.testing.assert_array_equal(
        np.array([row.pop("embedding") for row in rows], np.float32), vectors
    )
    nested = [r["meta"] and json.dumps(r["meta"]) for r in RECORDS]
    assert rows == [{**r, "meta": m} for r, m in zip(RECORDS, nested, strict=True)]


def test_parquet_keeps_the_types_it_is_given(tmp_path, vectors):
    schema = pyarrow.schema(
        {"text": pyarrow.large_string(), "day": pyarrow.date32(), "n": pyarrow.int8()}
    )
    records = [{"text": "a", "day": datetime.date(2026, 1, 2), "n": 3}] * 3
    path = written(tmp_path / "x.parquet", vectors, records, schema=schema)
    assert parquet.read_schema(path).names == ["text", "day", "n", "embedding"]
    assert parquet.read_schema(path).types[:3] == schema.types
    assert parquet.read_table(path).to_pylist()[2]["day"] == datetime.date(2026, 1, 2)


def test_parquet_tells_what_it_cannot_hold(tmp_path, vectors):
    path = tmp_path / "x.parquet"
    for records, match in (
        ([{"a": 1}, {"a": "x"}, {}], "column 'a' mixes types"),
        ([{"a": 1}, {"a": 2}, {"a": 2.5}], "column 'a' mixes types"),
        ([{"a": 1}, {"a": 2}, {"a": 2**70}], "column 'a' mixes types"),
        ([{"a": [1]}, {"a": []}, {"a": [2.5]}], "column 'a' mixes types"),
        ([{"a": "1"}, {"a": None}, {"a": 1}], "column 'a' mixes types"),
        ([{"a": 1}, {"a": 2}, {"b": 2}], "column 'b' first appears after the first rows"),
        ([{"embedding": 1}] * 3, "has a column 'embedding' already"),
    ):
        with pytest.raises(UserError, match=match):
            written(path, vectors, records)
    assert list(tmp_path.iterdir()) == []


def test_parquet_takes_a_column_that_is_empty_at_first_as_text(tmp_path, vectors):
    records = [{"a": None, "b": []}, {"a": None}, {"a": "x", "b": ["y"]}]
    rows = parquet.read_table(written(tmp_path / "x.parquet", vectors, records)).to_pylist()
    assert [row["a"] for row in rows] == [None, None, "x"]
    assert [row["b"] for row in rows] == [[], None, ["y"]]


def test_parquet_takes_whole_numbers_among_decimals(tmp_path, vectors):
    records = [{"a": 0.5}, {"a": 2}, {"a": 3}]
    table = parquet.read_table(written(tmp_path / "x.parquet", vectors, records))
    assert table.column("a").to_pylist() == [0.5, 2.0, 3.0]


def test_jsonl_tells_a_column_of_the_name_of_the_vectors(tmp_path, vectors):
    with pytest.raises(UserError, match="has a column 'embedding' already"):
        written(tmp_path / "x.jsonl", vectors, [{"embedding": 1}] * 3)


def test_standard_output_gets_json_lines(capfdbinary, vectors):
    written("-", vectors)
    lines = capfdbinary.readouterr().out.decode().splitlines()
    assert [json.loads(line)["text"] for line in lines] == [r["text"] for r in RECORDS]


@pytest.mark.parametrize("format", ["npy", "safetensors", "parquet", "jsonl"])
def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, monkeypatch, format):
    fill_disk(monkeypatch, after=20_000)
    vectors = np.ones((2000, 8), np.float32) * np.arange(2000, dtype=np.float32)[:, None]
    records = [{"text": str(number)} for number in range(2000)]
    with pytest.raises(RunError, match=rf"the disk is full: .*x\.{format} could not be finished"):
        written(tmp_path / f"x.{format}", vectors, records)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", ["npy", "safetensors", "parquet", "jsonl"])
def test_a_failure_leaves_the_old_file(tmp_path, vectors, format):
    path = tmp_path / f"x.{format}"
    path.write_text("old")

    def interrupted():
        with open_vectors(path, 5, overwrite=True) as write:
            write(vectors, RECORDS)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["old"]
    written(path, vectors, overwrite=True)
    assert path.read_bytes() != b"old"


def test_vectors_that_are_not_finite_are_told_with_their_row(tmp_path, vectors):
    vectors[2, 1] = np.nan
    with pytest.raises(RunError, match="a vector that is not finite for row 3"):
        written(tmp_path / "x.npy", vectors)
    assert list(tmp_path.iterdir()) == []


def test_targets_that_cannot_be_written_are_told_at_once(tmp_path, monkeypatch):
    (tmp_path / "x.npy").write_text("old")
    (tmp_path / "folder.npy").mkdir()
    for target, match in (
        ("x.csv", r"must end in \.npy, \.parquet, \.safetensors, \.jsonl, or be -"),
        ("x", r"must end in \.npy"),
        ("none/x.npy", "the folder .*none does not exist; make it first"),
        ("x.npy", r"x\.npy exists already; say --overwrite"),
        ("folder.npy", r"folder\.npy is a folder"),
    ):
        with pytest.raises(UserError, match=match):
            vector_format(tmp_path / target)
    assert vector_format(tmp_path / "x.npy", overwrite=True) == "npy"
    assert vector_format(tmp_path / "y.NPY") == "npy"
    assert vector_format("-") == "jsonl"
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(UserError, match="you may not write to the folder"):
        vector_format(tmp_path / "y.npy")


def test_a_folder_that_turns_out_unwritable_is_told(tmp_path, monkeypatch, vectors):
    def denied(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", denied)
    with pytest.raises(UserError, match=r"cannot write in the folder .* \(Permission denied\)"):
        written(tmp_path / "x.npy", vectors)
