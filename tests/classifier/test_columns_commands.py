"""Commands on a classifier of several label columns: predict, eval, calibrate, reject and review."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest
import torch
import typer
from families import tiny_encoder
from label_columns import with_tones
from labelled import TOPICS
from typer.testing import CliRunner

from textcl.classifier.classifier import Classifier
from textcl.classifier.columns import ColumnsClassifier
from textcl.classifier.head import make_head
from textcl.cli.calibrate import calibrate_command
from textcl.cli.eval import eval_command
from textcl.cli.eval_against import compare_classifiers
from textcl.cli.eval_columns import eval_columns
from textcl.cli.predict import predict_command
from textcl.cli.reject import reject_command
from textcl.cli.review import review_command
from textcl.errors import UserError
from textcl.evaluation.bootstrap import paired_bootstrap

app = typer.Typer()
for name, each in (
    ("calibrate", calibrate_command),
    ("eval", eval_command),
    ("predict", predict_command),
    ("reject", reject_command),
    ("review", review_command),
):
    app.command(name)(each)

CLASSES = {"topic": sorted(TOPICS), "tone": ["happy", "sad"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a classifier and rows, some of which lack a label."""
    place = tmp_path_factory.mktemp("columns")
    encoder = tiny_encoder(pooling="mean", layers=1)
    torch.manual_seed(1)
    parts = {}
    for column, classes in CLASSES.items():
        head = make_head("own", "bert", encoder.dimension, len(classes))
        head.output.weight.data *= 100
        parts[column] = Classifier(encoder, head, classes)
    ColumnsClassifier(parts).eval().save_pretrained(place / "model")
    for file, rows in (("dev", with_tones(70)), ("whole", with_tones(40, 1, complete=True))):
        with (place / f"{file}.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return place


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)


def written(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_predict_writes_the_columns_of_each_label_under_its_name(folder, tmp_path):
    output = tmp_path / "out.csv"
    done = run("predict", folder / "model", folder / "dev.csv", "-o", output, "--top-k", 3)
    assert "mean entropy topic" in done.stderr
    rows = written(output)
    added = [
        *("topic", "topic_probability", "topic_entropy", "topic_1", "topic_probability_1"),
        *("topic_2", "topic_probability_2", "topic_3", "topic_probability_3"),
        *("tone", "tone_probability", "tone_entropy", "tone_1", "tone_probability_1"),
        *("tone_2", "tone_probability_2"),
    ]
    assert list(rows[0]) == ["text", "input_topic", "input_tone", *added]
    assert rows[1]["input_topic"] == with_tones(70)[1]["topic"]
    model = ColumnsClassifier.from_pretrained(folder / "model")
    texts = [row["text"] for row in rows]
    for column, shares in model.predict_proba(texts).items():
        assert [row[column] for row in rows] == model.predict(texts)[column]
        given = [float(row[f"{column}_probability"]) for row in rows]
        np.testing.assert_allclose(given, shares.max(1), rtol=1e-5)
    for kind in ("parquet", "jsonl"):
        run("predict", folder / "model", folder / "dev.csv", "-o", tmp_path / f"out.{kind}")
    first = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert first["tone"] == rows[0]["tone"]
    with pytest.raises(UserError, match="expected 1 to 3 classes"):
        run("predict", folder / "model", folder / "dev.csv", "-o", tmp_path / "x.csv", "--top-k", 4)


def test_answers_under_one_name_are_refused(folder, tmp_path):
    parts = ColumnsClassifier.from_pretrained(folder / "model").parts
    twins = {"a": parts["topic"], "a_entropy": parts["tone"]}
    ColumnsClassifier(twins).save_pretrained(tmp_path / "m")
    with pytest.raises(UserError, match="would have two columns 'a_entropy'"):
        run("predict", tmp_path / "m", folder / "dev.csv", "-o", tmp_path / "x.csv")


def test_eval_scores_each_column_on_the_rows_that_have_its_label(folder, tmp_path):
    done = run("eval", folder / "model", "--data", folder / "dev.csv", "-o", tmp_path / "e.json")
    assert "mean" in done.stdout
    content = json.loads((tmp_path / "e.json").read_text())
    rows, model = with_tones(70), ColumnsClassifier.from_pretrained(folder / "model")
    predicted = model.predict([row["text"] for row in rows], precision="float32")
    right = {}
    for column in CLASSES:
        known = [i for i, row in enumerate(rows) if row[column]]
        right[column] = np.mean([predicted[column][i] == rows[i][column] for i in known])
        assert content["tasks"][column]["n"] == len(known)
        assert content["tasks"][column]["accuracy"] == pytest.approx(100 * right[column])
    assert content["mean"]["accuracy"] == pytest.approx(100 * np.mean(list(right.values())))
    assert content["columns"]["tone"]["classes"] == ["happy", "sad"]


def test_eval_reads_columns_of_other_names_in_their_order(folder, tmp_path):
    text = (folder / "whole.csv").read_text().replace("text,topic,tone", "text,about,mood", 1)
    (tmp_path / "other.csv").write_text(text)
    arguments = ["eval", folder / "model", "--data", tmp_path / "other.csv", "--json", "--column"]
    content = json.loads(run(*arguments, "label=about,mood").stdout)
    assert content["tasks"]["topic"]["n"] == 40
    with pytest.raises(UserError, match="expected 2 columns, which hold topic, tone in this order"):
        run(*arguments, "label=about,mood,text")
    with pytest.raises(UserError, match="column tone has labels that are none of the 2 classes"):
        run(*arguments, "label=about,text")
    with pytest.raises(UserError, match="the tasks have one: score it on a file with --data FILE"):
        eval_columns(
            "m",
            ColumnsClassifier.from_pretrained(folder / "model"),
            None,
            {},
            None,
            "float32",
            None,
        )


def worse(folder, place):
    """The same columns with another head for the topic, which has its classes in another order."""
    parts = ColumnsClassifier.from_pretrained(folder / "model").parts
    encoder = parts["topic"].encoder
    classes = CLASSES["topic"][::-1]
    parts["topic"] = Classifier(
        encoder, make_head("own", "bert", encoder.dimension, len(classes)), classes
    )
    ColumnsClassifier(parts).eval().save_pretrained(place)
    return place


def test_two_classifiers_are_compared_in_each_column_and_in_the_mean(folder, tmp_path):
    names = folder / "model", worse(folder, tmp_path / "worse")
    content = json.loads(
        run("eval", names[0], "--against", names[1], "--data", folder / "dev.csv", "--json").stdout
    )
    rows, models = with_tones(70), [ColumnsClassifier.from_pretrained(name) for name in names]
    by_row = {(row["task"], row["measure"]): row for row in content["differences"]}
    right = {}
    for column in CLASSES:
        known = [row for row in rows if row[column]]
        answers = [
            model.predict([row["text"] for row in known], precision="float32")[column]
            for model in models
        ]
        right[column] = [
            [float(label == row[column]) for label, row in zip(labels, known, strict=True)]
            for labels in answers
        ]
        row = by_row[column, "accuracy"]
        draws = np.random.default_rng([0, 0]).integers(0, len(known), (10_000, len(known)))
        want = paired_bootstrap(*right[column], draws.astype(np.int32))
        assert row["units"] == len(known)
        assert row["difference"] == pytest.approx(100 * want.difference)
        assert row["interval"] == pytest.approx([100 * edge for edge in want.interval])
        assert row["p"] == want.p_two_sided
    mean = by_row["mean of columns", "accuracy"]
    both = [np.mean([np.mean(right[column][place]) for column in CLASSES]) for place in (0, 1)]
    assert (mean["a"], mean["b"]) == pytest.approx([100 * each for each in both])
    assert mean["difference"] == pytest.approx(mean["a"] - mean["b"])
    assert mean["units"] == 70
    assert {task for task, _ in by_row} == {*CLASSES, "mean of columns"}


def test_a_column_is_compared_with_a_classifier_of_one_label(folder, tmp_path):
    model, single = ColumnsClassifier.from_pretrained(folder / "model"), tmp_path / "single"
    model["tone"].save_pretrained(single)
    arguments = "eval", folder / "model", "--against", single, "--data", folder / "dev.csv"
    (row, _) = json.loads(run(*arguments, "--column", "label=tone", "--json").stdout)["differences"]
    assert (row["difference"], row["units"]) == (0, sum(1 for r in with_tones(70) if r["tone"]))
    run("eval", single, "--against", folder / "model", *arguments[4:], "--column", "label=tone")
    with pytest.raises(
        UserError, match=r"model has the label columns topic, tone, and .*single one"
    ):
        run(*arguments)
    with pytest.raises(UserError, match="other classes"):
        run(*arguments, "--column", "label=topic")


def test_classifiers_of_other_columns_are_not_compared(folder, tmp_path):
    parts = ColumnsClassifier.from_pretrained(folder / "model").parts
    ColumnsClassifier({"topic": parts["topic"], "mood": parts["tone"]}).save_pretrained(
        tmp_path / "m"
    )
    with pytest.raises(UserError, match="topic, tone against topic, mood"):
        run("eval", folder / "model", "--against", tmp_path / "m", "--data", folder / "dev.csv")
    with pytest.raises(
        UserError, match="the tasks have one: compare it on a file with --data FILE"
    ):
        compare_classifiers(str(folder / "model"), str(folder / "model"), [], None, {}, "", {})


def test_eval_draws_each_column(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("textcl.figures.files.save", lambda chart, path: path.touch())
    run("eval", folder / "model", "--data", folder / "dev.csv", "--figures", tmp_path / "f")
    assert {"topic-confusion.png", "tone-calibration.svg"} <= {
        p.name for p in (tmp_path / "f").iterdir()
    }


def test_calibrate_fits_a_temperature_for_each_column(folder, tmp_path):
    texts = [row["text"] for row in with_tones(80)]
    model = ColumnsClassifier.from_pretrained(folder / "model")
    topics, tones = model.predict(texts, precision="float32").values()
    wrong = {"food": "town", "town": "sport", "sport": "food"}
    lines = [
        f"{text},{topic if i % 3 else wrong[topic]},{tone if i % 2 else ''}"
        for i, (text, topic, tone) in enumerate(zip(texts, topics, tones, strict=True))
    ]
    (tmp_path / "dev.csv").write_text("\n".join(["text,topic,tone", *lines]))
    done = run("calibrate", folder / "model", tmp_path / "dev.csv", "-o", tmp_path / "m")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("topic: temperature ")
    assert any(line.startswith("tone: temperature ") for line in lines)
    parts = ColumnsClassifier.from_pretrained(tmp_path / "m").parts
    before = ColumnsClassifier.from_pretrained(folder / "model").parts
    fitted = [part.temperature for part in parts.values()]
    assert fitted[0] > 1 == fitted[1], "sure and often wrong, against right in all 40 rows"
    assert all(part.temperature == 1 for part in before.values())
    few = tmp_path / "few.csv"
    few.write_text("text,topic,tone\n" + "a dog,food,happy\n" * 12 + "a cat,town,\n" * 20)
    run("calibrate", folder / "model", few, "-o", tmp_path / "n")
    few.write_text("text,topic,tone\n" + "a dog,food,happy\n" * 9 + "a cat,town,\n" * 20)
    with pytest.raises(UserError, match="column tone has 9 rows: calibration takes 10"):
        run("calibrate", folder / "model", few, "-o", tmp_path / "o")


def test_reject_is_fitted_for_one_column_at_a_time(folder, tmp_path):
    model = shutil.copytree(folder / "model", tmp_path / "model")
    with pytest.raises(UserError, match=r"label columns topic, tone, .* --column label=topic"):
        run("reject", model, folder / "dev.csv")
    with pytest.raises(UserError, match="no threshold for rejecting texts"):
        run("predict", model, folder / "dev.csv", "-o", tmp_path / "x.csv", "--reject")
    run("reject", model, folder / "dev.csv", "--column", "label=tone", "--score", "energy")
    assert (model / "label-2" / "rejection.safetensors").is_file()
    run("predict", model, folder / "dev.csv", "-o", tmp_path / "out.csv", "--reject")
    rows = written(tmp_path / "out.csv")
    assert "topic_rejected" not in rows[0]
    assert {"True", "False"} >= {row["tone_rejected"] for row in rows}
    assert 0 < sum(row["tone_rejected"] == "True" for row in rows) < 15


def test_a_review_is_of_one_column(folder, tmp_path):
    pytest.importorskip("cleanlab")
    with pytest.raises(UserError, match=r"one label a row: .* --column label=topic$"):
        run(
            "review", folder / "whole.csv", "-m", folder / "model", "-o", tmp_path / "r",
            "--column", "label=topic,tone",
        )  # fmt: skip
