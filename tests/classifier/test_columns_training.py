"""Runs on several label columns: one encoder, a head for each, and every mistake in one sentence."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from families import tiny_model_dir
from label_columns import COLUMNS, with_tones
from rich.console import Console
from safetensors.torch import load_file
from training_runs import crash_at, losses

from textcl.classifier.classifier import Classifier
from textcl.classifier.columns import ColumnsClassifier, load_classifier
from textcl.classifier.dev import hold_out
from textcl.classifier.settings import ClassifierSettings
from textcl.data.rows import load_rows
from textcl.encoder.encoder import Encoder
from textcl.errors import UserError
from textcl.report.classes import class_section
from textcl.report.runs import open_all
from textcl.report.scores import results_section
from textcl.report.texts import column_texts, shown_texts
from textcl.report.training import training_section
from textcl.sweep.held_out import held_out_score
from textcl.training.run_folder import RunFolder
from textcl.training.session import resume, train

pytestmark = pytest.mark.usefixtures("few_strengths")

SETTINGS = {"batch_size": 6, "max_length": 16, "log_every": 1, "save_every": 2, "pooling": "mean"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("columns")
    tiny_model_dir(folder, layers=1)
    for name, rows in (("train", with_tones(60)), ("dev", with_tones(24, seed=1))):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)  # None is written as an empty cell
    return folder


def run(place, output, *, settings=(), **more):
    console = Console(file=io.StringIO(), width=250)
    options = {"data": str(place / "train.csv"), "dev": str(place / "dev.csv")}
    options |= {"columns": COLUMNS, "recipe": "cross-entropy", "model": place / "bert"} | more
    done = train(output=output, settings=SETTINGS | dict(settings), console=console, **options)
    return done, console.file.getvalue()


@pytest.fixture(scope="module")
def trained(place, few_strengths):
    return run(place, place / "run", settings={"epochs": 2, "learning_rate": 1e-3, "dropout": 0.0})


def test_the_run_says_what_each_column_is_and_scores(trained):
    _, shown = trained
    assert "classes   topic: 3; smallest" in shown
    assert "9 rows without; tone: 2; smallest" in shown
    beaten = re.search(r"to beat   (\S+) on dev \(topic (\S+), tone (\S+)\): logistic", shown)
    mean, *each = map(float, beaten.groups())
    assert mean == pytest.approx(np.mean(each), abs=0.01)
    assert f"update 0: dev {mean:.2f} (topic {each[0]:.2f}, tone {each[1]:.2f}; before" in shown, (
        "training starts at the line to beat"
    )


def test_the_log_and_the_scores_have_each_column(place, trained):
    done, shown = trained
    log = (place / "run" / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in log.splitlines()]
    scored = [line for line in lines if "dev" in line]
    assert [list(line) for line in scored] == 2 * [["step", "dev", "dev/topic", "dev/tone", "best"]]
    for line in scored:
        assert line["dev"] == np.mean([line["dev/topic"], line["dev/tone"]])
        assert f"(topic {line['dev/topic']:.2f}, tone {line['dev/tone']:.2f}" in shown
    columns = json.loads((place / "run" / "scores.json").read_text())["columns"]
    assert np.mean(list(columns.values())) == pytest.approx(done.position.best)
    assert f"after {done.position.best:.2f} (topic {columns['topic']:.2f}, tone " in shown
    assert RunFolder.open(place / "run").scores().columns == columns


def test_what_is_saved_is_the_best_and_not_worse_than_the_line_to_beat(place, trained):
    done, shown = trained
    rows = with_tones(24, seed=1)
    loaded = ColumnsClassifier.from_pretrained(place / "run")
    predicted = loaded.predict([row["text"] for row in rows], precision="float32")
    right = []
    for name in ("topic", "tone"):
        pairs = zip(predicted[name], rows, strict=True)
        right.append(np.mean([label == row[name] for label, row in pairs if row[name]]))
    assert 100 * np.mean(right) == pytest.approx(done.position.best)
    assert done.position.best >= done.position.before
    assert "dev before" in shown
    scores = json.loads((place / "run" / "scores.json").read_text())
    assert scores["protocol"] == "dev.csv, accuracy × 100, mean over topic, tone, float32"
    one, several = (loaded.predict_proba(texts) for texts in ("a dog", ["a dog", "a cat"]))
    assert one["topic"].shape == (3,)
    assert several["tone"].shape == (2, 2)
    assert loaded.predict("a dog") == {name: x[0] for name, x in loaded.predict(["a dog"]).items()}
    probabilities = done.classifier.predict_proba(["a dog runs", ""], precision="float32")
    for name, shares in loaded.predict_proba(["a dog runs", ""], precision="float32").items():
        np.testing.assert_array_equal(shares, probabilities[name])


def test_the_folder_has_one_encoder_and_a_head_each(place, trained):
    best = place / "run" / "best"
    assert isinstance(load_classifier(place / "run"), ColumnsClassifier)
    assert (best / "label-2" / "classifier.safetensors").is_file()
    assert Encoder.from_pretrained(best).dimension == 32
    with pytest.raises(UserError, match=r"has several label columns \(topic, tone\)"):
        Classifier.from_pretrained(best)
    card = (best / "README.md").read_text()
    assert "- Classes of tone: happy, sad" in card
    assert "transformers cannot give these logits: its classifiers have one head" in card
    settings = json.loads((place / "run" / "settings.json").read_text())["settings"]
    assert settings["classes"] == ["food", "sport", "town", "happy", "sad"]
    assert settings["column_classes"] == [3, 2]


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ({"columns": ["topic"]}, "is no classifier of several label columns"),
        ({"columns": ["topic", "topic"]}, "is no classifier of several label columns"),
        ({"columns": [1, 2]}, "expected a text"),
        ({"columns": ["../a", "b", "c"]}, r"label-3/classifier\.json"),
    ],
)
def test_a_damaged_folder_is_told_in_a_sentence(content, match, trained, tmp_path):
    done, _ = trained
    done.classifier.save_pretrained(tmp_path / "m")
    (tmp_path / "m" / "classifier.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=match):
        ColumnsClassifier.from_pretrained(tmp_path / "m")


def test_a_sweep_scores_test_rows_as_dev_rows_are_scored(place, trained):
    best = trained[0].position.best
    assert held_out_score(RunFolder(place / "run"), str(place / "dev.csv")) == pytest.approx(best)


def test_a_report_reads_the_labels_of_each_column(place, trained):
    (record,), _ = open_all([place / "run"])
    texts = column_texts(record)
    rows = with_tones(24, seed=1)
    assert [len(texts[name]) for name in ("topic", "tone")] == [
        sum(row[name] is not None for row in rows) for name in ("topic", "tone")
    ]
    assert set(shown_texts(record, None, {}, None, 0).labels) == {"food", "sport", "town"}
    page = Page()
    class_section(page, record, shown_texts(record, None, {}, None, 0), alone=True)
    assert page.figures == ["confusion-1", "calibration-1", "confusion-2", "calibration-2"]
    assert {"Classes for topic", "Classes for tone"} <= set(page.tables)
    results_section(page, [record], [])
    training_section(page, [record])
    assert "Scores of each label column, where their mean is best" in page.tables
    assert "dev-columns" in page.figures
    assert [len(points) for points in record.column_scores().values()] == [2, 2]


class Page:
    """A document that notes what is put on it."""

    def __init__(self):
        self.figures, self.tables = [], []

    def section(self, *_):
        pass

    def missing(self, text):
        raise AssertionError(text)

    def figure(self, name, *_):
        self.figures.append(name)

    def table(self, title, *_, **__):
        self.tables.append(title)


def test_parts_share_one_encoder(trained):
    parts = trained[0].classifier.parts
    with pytest.raises(UserError, match="two or more, got 1"):
        ColumnsClassifier({"topic": parts["topic"]})
    with pytest.raises(UserError, match="label columns topic, tone, and not mood"):
        trained[0].classifier["mood"]


def test_a_crashed_run_goes_on_as_if_it_had_not(place, tmp_path, monkeypatch):
    options = {"dev": "0.2", "settings": {"epochs": 1.0, "class_weights": "balanced"}}
    run(place, tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        crash_at(patch, 5)
        with pytest.raises(ConnectionError):
            run(place, tmp_path / "crashed", **options)
    resume(tmp_path / "crashed", console=Console(file=io.StringIO()))
    for file in ("model.safetensors", "label-1/classifier.safetensors"):
        one, other = (load_file(tmp_path / f / "last" / file) for f in ("whole", "crashed"))
        assert all(torch.equal(one[key], other[key]) for key in one)
    assert losses(tmp_path / "whole") == losses(tmp_path / "crashed")
    whole, crashed = (RunFolder.open(tmp_path / name).scores() for name in ("whole", "crashed"))
    assert replace(whole, train_seconds=0) == replace(crashed, train_seconds=0)
    assert list(whole.columns) == ["topic", "tone"]


def test_mistakes_are_told_before_training(place, tmp_path):
    def refused(match, **options):
        with pytest.raises(UserError, match=match):
            run(place, tmp_path / "run", **options)

    refused(r"not on several label columns \(topic, tone\): cross-entropy does", recipe="lcl")
    refused("different names with commas between", columns={"label": "topic,"})
    refused("different names with commas between", columns={"label": "topic,topic"})
    refused("each holds one label a row", columns={"labels": "topic,tone"})
    refused(
        r"no column 'mood' for the role label; .* label=NAME,NAME", columns={"label": "topic,mood"}
    )
    refused("found in the data: leave classes", settings={"classes": ("food",)})
    refused(
        "label_columns is found in the data",
        settings={"label_columns": ("a",)},
        columns={"label": "topic"},
        data=with_tones(30, complete=True),
    )
    refused("rows_per_class is for rows with one label column", settings={"rows_per_class": 2})
    bare = [{**row, "tone": None} for row in with_tones(12, complete=True)]
    refused("no row has a label in the column tone", dev=write(tmp_path, bare))
    refused("column tone have the same label", data=[{**row, "tone": "sad"} for row in bare])
    rows = [*with_tones(30), {"text": "neither", "topic": None, "tone": None}]
    refused("1 row has no label", data=rows)
    mine = [{**row, "tone": "angry"} for row in with_tones(12, complete=True)]
    refused(
        r"column tone has labels that are none of the 2 classes .* 'angry'",
        dev=write(tmp_path, mine),
    )
    assert not (tmp_path / "run").exists()


def write(folder, rows):
    (folder / "dev.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(folder / "dev.jsonl")


def test_a_column_whose_name_has_a_comma_is_one_column(place, tmp_path):
    rows = [
        {"text": row["text"], "topic,tone": row["topic"]} for row in with_tones(30, complete=True)
    ]
    done, _ = run(place, tmp_path / "run", data=rows, dev="", dry_run=True)
    assert done is None


def test_rows_are_held_out_by_their_rarest_label_and_classes_stay():
    columns = {"label:topic": "topic", "label:tone": "tone"}
    rows = load_rows(with_tones(50), roles=("text", *columns), columns=columns)
    kept, held, _ = hold_out(rows, 0.2, 0)
    assert len(kept) + len(held) == 50
    assert not set(kept.column("text")) & set(held.column("text"))
    assert {*held.column("label:tone")} >= {"happy", "sad"}
    topics = rows.of_label_column("topic")
    assert topics.roles == ("text", "label")
    assert None not in topics.column("label")
    assert len(topics) == sum(row["topic"] is not None for row in with_tones(50))


def test_settings_of_each_column_have_its_classes():
    settings = ClassifierSettings(
        classes=("a", "b", "x", "y", "z"), class_rows=(1, 3, 2, 2, 4), label_columns=("p", "q"),
        column_classes=(2, 3), class_weights="balanced",
    )  # fmt: skip
    first, second = settings.by_column
    assert (first.classes, second.classes) == (("a", "b"), ("x", "y", "z"))
    assert first.weights == (2.0, 4 / 6)
    assert second.row_count == 8
    assert ClassifierSettings().by_column == (ClassifierSettings(),)
