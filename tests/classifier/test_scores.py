import csv
import json
import re
import sys

import numpy as np
import pytest
import torch
import typer
from families import tiny_encoder
from labelled import labelled, write_jsonl
from typer.testing import CliRunner

from textcl.classifier.classifier import Classifier
from textcl.classifier.head import make_head
from textcl.classifier.scores import own_task, score_classifier
from textcl.cli import eval as command
from textcl.errors import UserError
from textcl.evaluation import labelled as tasks
from textcl.evaluation.labelled import LabelledTask, find_labelled

CLASSES = ("food", "sport", "town")
APP = typer.Typer()
APP.command()(command.eval_command)


def classifier(classes=CLASSES, **more):
    encoder = tiny_encoder("bert", pooling="mean")
    torch.manual_seed(1)
    head = make_head("own", "bert", encoder.dimension, len(classes))
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return Classifier(encoder, head, classes, **more).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved classifier of three classes, with a temperature."""
    place = tmp_path_factory.mktemp("model") / "m"
    classifier(temperature=2.0).save_pretrained(place)
    return str(place)


def run(*arguments):
    return CliRunner().invoke(APP, arguments, catch_exceptions=False)


def task(rows, **more):
    labels = [row["label"] for row in rows]
    return LabelledTask(
        "toy", [row["text"] for row in rows], labels, CLASSES, False, "here", **more
    )


# From a classifier to scores


def test_scores_are_those_of_predicting_one_text_at_a_time():
    model, rows = classifier(temperature=2.0), labelled(40)
    score = score_classifier(model, [task(rows)])["toy"]
    predicted = [model.predict([row["text"]], precision="float32")[0] for row in rows]
    right = sum(a == row["label"] for a, row in zip(predicted, rows, strict=True))
    assert score.result.accuracy == right / 40
    assert score.result.n == 40
    p = np.vstack([model.predict_proba([row["text"]], precision="float32") for row in rows])
    bits = -(p * np.log2(p)).sum(1).mean()
    assert score.result.entropy == pytest.approx(bits, abs=1e-4)
    assert score.uncalibrated.entropy < score.result.entropy  # a temperature of 2 flattens
    vectors = model.encoder.encode([row["text"] for row in rows], precision="float32")
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    pairs = [
        float(vectors[i] @ vectors[j])
        for i in range(40)
        for j in range(40)
        if i != j and rows[i]["label"] == rows[j]["label"]
    ]
    assert score.tolerance == pytest.approx(np.mean(pairs), abs=1e-5)


def test_the_order_of_the_classes_of_a_task_does_not_matter():
    rows, turned = labelled(30), ("town", "food", "sport")
    model = classifier()
    there = task(rows)
    other = LabelledTask("toy", there.texts, there.labels, turned, False, "here")
    one, two = (score_classifier(model, [each])["toy"].to_dict() for each in (there, other))
    assert one == two


def test_thresholds_of_several_labels_decide_and_one_half_stands_beside():
    model = classifier(multi_label=True, thresholds=[0.0, 0.0, 0.0])
    rows = labelled(30, several=True)
    texts, labels = [row["text"] for row in rows], [row["labels"] for row in rows]
    there = LabelledTask("toy", texts, labels, CLASSES, True, "here")
    score = score_classifier(model, [there])["toy"]
    assert all(each.predicted == 30 for each in score.result.per_class)
    assert any(each.predicted < 30 for each in score.uncalibrated.per_class)
    assert score.tolerance is None
    json.dumps(score.to_dict(), allow_nan=False)


def test_tolerance_without_two_texts_of_a_class_is_undefined():
    rows = [{"text": "eat", "label": "food"}, {"text": "ball", "label": "sport"}]
    assert score_classifier(classifier(), [task(rows)])["toy"].tolerance is None


@pytest.mark.parametrize(
    ("classes", "several", "message"),
    [
        (("food", "sport"), False, "has 3 classes, toy has 2: only it has town"),
        (("food", "sport", "town", "sky"), False, "has 3 classes, toy has 4: it lacks sky"),
        (CLASSES, True, "has one label a text, those of toy several labels a text"),
    ],
)
def test_a_task_of_other_classes_is_refused(classes, several, message):
    there = LabelledTask("toy", ["a"], [["food"] if several else "food"], classes, several, "here")
    with pytest.raises(UserError, match=message):
        score_classifier(classifier(), [there])


def test_a_file_with_an_unknown_label_is_refused(tmp_path):
    rows = [*labelled(5), {"text": "rain", "label": "weather"}]
    with pytest.raises(UserError, match=r"labels that are none of the 3 classes .*'weather' \(1"):
        own_task(write_jsonl(tmp_path / "a.jsonl", rows), classifier())


# The command


def test_a_table_without_rows_is_left_out_and_a_shortened_one_says_so(
    folder, tmp_path, monkeypatch
):
    texts = [row["text"] for row in labelled(30)]
    right = Classifier.from_pretrained(folder).predict(texts, precision="float32")
    rows = [{"text": text, "label": label} for text, label in zip(texts, right, strict=True)]
    monkeypatch.setattr("textcl.cli.class_scores._CLASSES", 2)
    shown = run(folder, "--data", str(write_jsonl(tmp_path / "test.jsonl", rows))).stdout
    assert "most confused" not in shown
    assert "the 2 of 3 classes with the lowest F1; --json has all" in shown


def test_a_csv_of_ones_own_is_scored_with_columns_named(folder, tmp_path):
    rows, path = labelled(30), tmp_path / "test.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["body", "topic"])
        writer.writerows([row["text"], row["label"]] for row in rows)
    named = ("--column", "text=body", "--column", "label=topic")
    result = run(folder, "--data", str(path), *named)
    assert result.exit_code == 0
    score = score_classifier(Classifier.from_pretrained(folder), [task(rows)])["toy"].result
    assert f"{100 * score.accuracy:.2f} ± {100 * score.standard_error:.2f}" in result.stdout
    assert f"{100 * score.macro_f1:.2f}" in result.stdout
    assert "uncalibrated" in result.stdout
    assert "n = 30" in result.stdout
    assert "most confused: true" in result.stdout
    assert "lowest F1" not in result.stdout
    tables = result.stdout.partition("own-texts: ")[0]
    assert max(map(len, tables.splitlines())) <= 80  # the folder's long name is folded
    content = json.loads(run(folder, "--data", str(path), *named, "--json").stdout)
    (found,) = content["tasks"].values()
    assert found["accuracy"] == pytest.approx(100 * score.accuracy)
    assert found["ece"] != found["uncalibrated"]["ece"]
    assert content["temperature"] == 2.0
    assert np.sum(found["confusion"]) == found["n"] == 30
    assert found["protocol"] == "own-texts"


def test_what_was_not_calibrated_has_one_row(tmp_path):
    classifier().save_pretrained(tmp_path / "plain")
    path = write_jsonl(tmp_path / "mine.jsonl", labelled(30))
    result = run(str(tmp_path / "plain"), "--data", path)
    assert result.exit_code == 0
    assert "uncalibrated" not in result.stdout
    assert "n = 30" in result.stdout


def test_a_suite_leaves_out_tasks_of_other_classes_and_shows_published_rows(folder, monkeypatch):
    manifest = find_labelled("ISEAR").subset("toy", ["joy", "fear", "anger"], "ISEAR-7")
    manifest = type(manifest)(**{**vars(manifest), "classes": CLASSES, "protocol": "lcl-accuracy"})
    rows = labelled(30)

    def load(name, split="test", *, lcl_preparation=False):
        if name == "ISEAR":
            return LabelledTask(
                name, [r["text"] for r in rows], [r["label"] for r in rows], CLASSES, False, "here",
                split, manifest, "tweets" if lcl_preparation else "",
            )  # fmt: skip
        return LabelledTask(name, ["a"], ["x"], ("x", "y"), False, "here")

    monkeypatch.setattr(tasks, "load_labelled", load)
    result = run(folder, "--suite", "emotion")
    assert re.search(r"left out, having other classes: EmoInt, SST-5", result.stdout)
    assert re.search(r"LCL, .*72\.40 ± 0\.20", result.stdout)
    assert "lcl-accuracy: the most probable class" in result.stdout
    beside = run(folder, "--task", "ISEAR", "--beside", "bert-base", "--lcl-preparation", "--json")
    content = json.loads(beside.stdout)["tasks"]["ISEAR"]
    assert {row["backbone"] for row in content["published"]} == {"bert-base"}
    assert content["source"] == "here, prepared as in LCL (tweets)"
    with pytest.raises(UserError, match="has 3 classes, SST-5 has 2"):
        run(folder, "--task", "SST-5")
    monkeypatch.setattr(
        tasks, "load_labelled", lambda name, **_: load("other" if name == "ISEAR" else name)
    )
    with pytest.raises(UserError, match=r"3 classes \(food, sport, town\) are those of no task"):
        run(folder, "--suite", "emotion")


def test_figures_are_written_as_png_and_svg(folder, tmp_path):
    pytest.importorskip("vl_convert")
    path = write_jsonl(tmp_path / "mine.jsonl", labelled(30))
    done = run(folder, "--data", path, "--figures", str(tmp_path / "f"))
    assert f"pictures written to {tmp_path / 'f'}" in done.stderr
    names = {each.name for each in (tmp_path / "f").iterdir()}
    assert names == {
        f"mine-{kind}.{ending}"
        for kind in ("confusion", "calibration")
        for ending in ("png", "svg")
    }
    drawn = (tmp_path / "f" / "mine-confusion.svg").read_text()
    assert all(f">{name}<" in drawn for name in CLASSES)
    assert "Most confused" in drawn


def test_what_figures_need_is_asked_before_the_model_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(UserError, match="figures need Altair"):
        run("no-such-model", "--data", "no-such.csv", "--figures", str(tmp_path / "f"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "x.csv", "--suite", "emotion"], "leave --suite and --task out"),
        (["--task", "STS12", "--task", "ISEAR"], "STS12 scores an encoder and ISEAR a classifier"),
        (["--task", "STS12", "--figures", "x"], "are for classifiers"),
        (["--task", "EmpatheticDialogues/sad,envy"], "'envy' is none of them"),
    ],
)
def test_requests_that_do_not_fit_together_are_told(arguments, message):
    with pytest.raises(UserError, match=message):
        run("no-model", *arguments)


def test_columns_that_say_nothing_are_told(folder, tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", labelled(5))
    with pytest.raises(UserError, match=r"expected --column text\|label\|labels\|.*=NAME"):
        run(folder, "--data", path, "--column", "text")
