"""`textcl predict`: every row with its class, in every format, in flat memory."""

import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pyarrow
import pytest
import typer
from disks import fill_disk
from pyarrow import parquet
from stub_classifier import StubClassifier
from typer.testing import CliRunner

import textcl.cli.predict
from textcl.errors import RunError, UserError

app = typer.Typer()
app.command("predict")(textcl.cli.predict.predict_command)


@pytest.fixture
def classifier(monkeypatch):
    stub = StubClassifier()
    monkeypatch.setattr(textcl.cli.predict, "load_classifier", lambda model: stub)
    return stub


def predict(*arguments, **options):
    """What `textcl predict MODEL …` leaves on the two streams."""
    return CliRunner().invoke(
        app, ["model", *map(str, arguments)], catch_exceptions=False, **options
    )


def read(path):
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pylist()
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


TEXTS = ["one two three", "", "a", 'ünï "quoted", 🐕']
WORDS = [3, 0, 1, 3]
LABELS = ["long", "short", "long", "long"]


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    return path


def shares(words):
    parts = [math.exp(words), math.e, 1]
    return [part / sum(parts) for part in parts]


@pytest.mark.parametrize("name", ["csv", "parquet", "jsonl"])
def test_every_format_gets_label_probability_and_entropy_in_order(
    name, tmp_path, lines, classifier
):
    result = predict(lines, "-o", tmp_path / f"out.{name}")
    assert result.exit_code == 0
    assert result.stdout == ""
    rows = read(tmp_path / f"out.{name}")
    assert [row["text"] for row in rows] == TEXTS
    assert [row["label"] for row in rows] == LABELS
    for row, words in zip(rows, WORDS, strict=True):
        p = shares(words)
        assert float(row["probability"]) == pytest.approx(max(p), rel=1e-6)
        assert float(row["entropy"]) == pytest.approx(-sum(x * math.log2(x) for x in p), rel=1e-5)
    assert "out." in result.stderr
    assert ": 4 rows; mean entropy " in result.stderr
    assert "1 blank" in result.stderr


@pytest.mark.parametrize("name", ["csv", "parquet", "jsonl"])
def test_the_most_probable_classes_follow_where_asked_for(name, tmp_path, lines, classifier):
    predict(lines, "-o", tmp_path / f"out.{name}", "--top-k", 2)
    first, second, *_ = read(tmp_path / f"out.{name}")
    assert (first["label_1"], first["label_2"]) == ("long", "short")
    assert float(first["probability_1"]) == float(first["probability"])
    assert float(first["probability_2"]) == pytest.approx(shares(3)[1], rel=1e-6)
    # of equal probabilities the first class comes first
    assert (second["label_1"], second["label_2"]) == ("short", "long")
    with pytest.raises(UserError, match="expected 1 to 3 classes, as many as the model has, got 4"):
        predict(lines, "-o", tmp_path / "new.csv", "--top-k", 4)


@pytest.mark.parametrize("name", ["csv", "parquet", "jsonl"])
def test_several_labels_are_a_list(name, tmp_path, lines, classifier):
    classifier.multi_label = True
    predict(lines, "-o", tmp_path / f"out.{name}", "--top-k", 1)
    rows = read(tmp_path / f"out.{name}")
    if name == "csv":
        for row in rows:
            row |= {key: json.loads(row[key]) for key in ("labels", "probabilities")}
    both = ["long", "short"]
    assert [row["labels"] for row in rows] == [both, ["short"], both, both]
    yes = [1 / (1 + math.exp(-x)) for x in (3, 1, 0)]
    assert rows[0]["probabilities"] == pytest.approx(yes[:2], rel=1e-6)
    bits = -sum(p * math.log2(p) + (1 - p) * math.log2(1 - p) for p in yes)
    assert float(rows[0]["entropy"]) == pytest.approx(bits / 3, rel=1e-5)


@pytest.mark.parametrize("name", ["csv", "parquet", "jsonl"])
def test_rejected_texts_are_marked_where_asked_for(name, tmp_path, lines, classifier):
    out = tmp_path / f"out.{name}"
    result = predict(lines, "-o", out, "--reject")
    rows = read(out)
    assert [str(row["rejected"]) for row in rows] == ["False", "True", "False", "False"]
    assert [row["label"] for row in rows] == LABELS
    assert list(rows[0])[-1] == "rejected"
    assert "; 1 rejected" in result.stderr


def test_columns_of_the_input_are_kept_also_one_named_label(tmp_path, classifier):
    source = pyarrow.table(
        {
            "id": pyarrow.array([3, 1], pyarrow.int16()),
            "label": ["gold", None],
            "body": ["a b", "c"],
        }
    )
    parquet.write_table(source, tmp_path / "x.parquet")
    for name in ("csv", "parquet", "jsonl"):
        out = tmp_path / f"y.{name}"
        assert predict(tmp_path / "x.parquet", "-o", out, "--column", "text=body").exit_code == 0
        rows = read(out)
        assert [row["label"] for row in rows] == ["long", "long"]
        assert [row["input_label"] or None for row in rows] == ["gold", None]
        assert [int(row["id"]) for row in rows] == [3, 1]
    assert parquet.read_schema(tmp_path / "y.parquet").field("id").type == pyarrow.int16()


def test_a_column_never_takes_the_place_of_another(tmp_path, classifier):
    names = ["text", "label", "input_label", "input_input_label", "entropy", "input_text"]
    (tmp_path / "x.csv").write_text(",".join(names) + "\n" + ",".join(names) + "\n")
    predict(tmp_path / "x.csv", "-o", tmp_path / "y.jsonl")
    (row,) = read(tmp_path / "y.jsonl")
    kept = {name: value for name, value in row.items() if value in names}
    assert sorted(kept.values()) == sorted(names)
    assert kept["input_label"] == "label"
    assert kept["input_input_label"] == "input_label"
    assert kept["input_text"] == "input_text"


def test_records_that_differ_go_to_jsonl_only(tmp_path, classifier):
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n' * 8192 + '{"text": "b", "m": {"k": 1}}\n')
    for name in ("csv", "parquet"):
        with pytest.raises(UserError, match=r"column 'm' first appears after .*write \.jsonl"):
            predict(tmp_path / "x.jsonl", "-o", tmp_path / f"out.{name}")
        assert not (tmp_path / f"out.{name}").exists()
    predict(tmp_path / "x.jsonl", "-o", tmp_path / "out.jsonl")
    assert read(tmp_path / "out.jsonl")[-1]["m"] == {"k": 1}


def test_standard_input_and_output_carry_lines(classifier):
    result = predict("-", "-o", "-", "--limit", 2, input="a b\n\nc\n")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(row["text"], row["label"]) for row in rows] == [("a b", "long"), ("", "short")]
    assert "standard output: 2 rows" in result.stderr


def test_mistakes_are_told_before_the_model_is_loaded(tmp_path, lines, monkeypatch):
    monkeypatch.setattr(textcl.cli.predict, "load_classifier", lambda model: pytest.fail("loaded"))
    (tmp_path / "there.csv").write_text("old")
    (tmp_path / "header.csv").write_text("text\n")
    for arguments, match in (
        ((lines, "-o", tmp_path / "there.csv"), r"there\.csv exists already; say --overwrite"),
        ((lines, "-o", tmp_path / "out.npy"), r"must end in \.csv, \.jsonl, \.parquet, or be -"),
        ((lines, "-o", tmp_path / "out.csv", "--column", "text=body"), "no column 'body'"),
        ((tmp_path / "header.csv", "-o", tmp_path / "out.csv"), "no row to predict"),
    ):
        with pytest.raises(UserError, match=match):
            predict(*arguments)


def test_a_full_disk_leaves_nothing(tmp_path, lines, classifier, monkeypatch):
    out = tmp_path / "out" / "x.csv"
    out.parent.mkdir()
    fill_disk(monkeypatch, after=10)
    with pytest.raises(RunError, match="the disk is full"):
        predict(lines, "-o", out)
    assert list(out.parent.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", ["csv", "parquet", "jsonl"])
def test_memory_stays_flat(tmp_path, name):
    """Peak memory for many rows (a million of csv) is within 100 MB of that for twenty thousand."""
    script = (
        "import sys, typer, textcl.cli.predict as command\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from stub_classifier import StubClassifier\n"
        "command.load_classifier = lambda model: StubClassifier()\n"
        "sys.argv[1:] = ['model', *sys.argv[1:]]\n"
        "typer.run(command.predict_command)\n"
    )
    peaks = {}
    for rows in (20_000, 1_000_000 if name == "csv" else 200_000):
        with (tmp_path / "x.txt").open("w") as file:
            file.writelines(f"this is the short sentence number {n}\n" for n in range(rows))
        command = [sys.executable, "-c", script, tmp_path / "x.txt", "-o", tmp_path / f"y.{name}"]
        with subprocess.Popen([*command, "--overwrite", "--top-k", "3"]) as process:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        peaks[rows] = used.ru_maxrss / 1024
    small, large = peaks.values()
    assert large - small < 100, peaks
