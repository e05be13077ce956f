"""When a classifier rejects a text: what is fitted, kept, checked on loading, and written by the commands."""

from __future__ import annotations

import csv
import shutil

import numpy as np
import pytest
import torch
import typer
from families import tiny_encoder
from labelled import TOPICS, labelled, write_jsonl
from safetensors.numpy import load_file, save_file
from typer.testing import CliRunner

from textcl.classifier.classifier import Classifier, vectors_of
from textcl.classifier.fit_rejection import fit_rejection
from textcl.classifier.head import make_head
from textcl.classifier.rejection import KINDS, REJECTION_FILE
from textcl.cli.predict import predict_command
from textcl.cli.reject import reject_command
from textcl.errors import UserError
from textcl.evaluation.out_of_scope import auroc, balanced_threshold, threshold_keeping

app = typer.Typer()
app.command("reject")(reject_command)
app.command("predict")(predict_command)

ROWS = labelled(60)
TEXTS, LABELS = [row["text"] for row in ROWS], [row["label"] for row in ROWS]
TRAIN = ([row["text"] for row in labelled(90, seed=1)], [row["label"] for row in labelled(90, 1)])
OUTSIDE = [f"{a} {b} dog house" for a in ("the", "a", "two") for b in ("red", "blue", "old", "new")]


def classifier(several=False):
    encoder = tiny_encoder(pooling="mean")
    torch.manual_seed(1)
    head = make_head("own", "bert", encoder.dimension, 3)
    head.output.weight.data *= 12
    return Classifier(encoder, head, sorted(TOPICS), multi_label=several).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier without a threshold."""
    path = tmp_path_factory.mktemp("classifier") / "model"
    classifier().save_pretrained(path)
    return path


@pytest.fixture
def model(folder, tmp_path):
    """A copy of it that a test may change."""
    return shutil.copytree(folder, tmp_path / "model")


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)


@pytest.mark.parametrize("score", KINDS)
def test_every_score_keeps_its_share_and_comes_back_from_the_folder(score, tmp_path):
    model = classifier()
    report = fit_rejection(model, TEXTS, LABELS, train=TRAIN, score=score)
    proba, rejected = model.predict_or_reject(TEXTS, precision="float32")
    np.testing.assert_array_equal(proba, model.predict_proba(TEXTS, precision="float32"))
    assert (~rejected).sum() == 57
    assert report.accepted == 57 / 60
    model.save_pretrained(tmp_path / "model")
    again = Classifier.from_pretrained(tmp_path / "model")
    assert (again.rejection.name, again.rejection.threshold) == (score, report.rejection.threshold)
    np.testing.assert_array_equal(
        again.predict_or_reject(TEXTS + OUTSIDE, precision="float32")[1],
        model.predict_or_reject(TEXTS + OUTSIDE, precision="float32")[1],
    )


def test_held_out_rows_are_compared_with_training_rows_or_with_other_held_out_rows():
    model = classifier()
    vectors = vectors_of(model.encoder, TEXTS, precision="float32")
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    fit_rejection(model, TEXTS, LABELS, score="nearest", keep=0.5)
    alone = model.rejection
    assert len(alone.score.rows) == 60
    # no row is judged by itself, which would have a cosine of 1
    assert alone.threshold < threshold_keeping(np.sort(unit @ unit.T, 1)[:, -2], 0.5)
    fit_rejection(model, TEXTS, LABELS, train=TRAIN, score="nearest", keep=0.5)
    known = vectors_of(model.encoder, TRAIN[0], precision="float32")
    known /= np.linalg.norm(known, axis=1, keepdims=True)
    want = threshold_keeping((unit @ known.T).max(1), 0.5)
    assert model.rejection.threshold == pytest.approx(want, abs=1e-3)  # rows in half precision


def test_texts_of_no_class_move_the_threshold_and_are_scored():
    model = classifier()
    report = fit_rejection(model, TEXTS, LABELS, train=TRAIN, outside=OUTSIDE, score="energy")
    rejection = model.rejection
    vectors = [vectors_of(model.encoder, each, precision="float32") for each in (TEXTS, OUTSIDE)]
    scores = [rejection.score(model.logits_of(each), each) for each in vectors]
    assert rejection.threshold == balanced_threshold(*scores)
    assert report.scores.keys() == KINDS.keys()
    assert report.scores["energy"].auroc == pytest.approx(auroc(*scores))
    best = max(report.scores, key=lambda name: report.scores[name].auroc)
    assert (f"--score {best}" in report.describe()) == (best != "energy")
    kept = fit_rejection(
        model, TEXTS, LABELS, train=TRAIN, outside=OUTSIDE, score="energy", keep=0.9
    )
    assert kept.accepted == 0.9


def test_a_temperature_changes_nothing(tmp_path):
    model = classifier()
    fit_rejection(model, TEXTS, LABELS, score="softmax")
    before = model.predict_or_reject(TEXTS)[1]
    model.temperature = 7.0
    np.testing.assert_array_equal(model.predict_or_reject(TEXTS)[1], before)


def test_the_commands_fit_copy_and_mark(model, tmp_path):
    dev = write_jsonl(tmp_path / "dev.jsonl", ROWS)
    train = write_jsonl(tmp_path / "train.jsonl", labelled(90, seed=1))
    (tmp_path / "others.txt").write_text("\n".join(OUTSIDE))
    (tmp_path / "new.txt").write_text("\n".join(TEXTS[:20] + OUTSIDE))
    copied = run("reject", model, dev, "--train", train, "-o", tmp_path / "copy")
    assert not (model / REJECTION_FILE).exists()
    assert "accepts 95.0 % of 60 rows" in copied.output
    new = tmp_path / "new.txt"
    run("predict", tmp_path / "copy", new, "-o", tmp_path / "a.csv", "--reject")
    with (tmp_path / "a.csv").open() as file:
        assert {row["rejected"] for row in csv.DictReader(file)} == {"True", "False"}
    with pytest.raises(UserError, match="no threshold for rejecting texts: fit one"):
        run("predict", model, new, "-o", tmp_path / "b.csv", "--reject")
    assert not (tmp_path / "b.csv").exists()
    result = run("reject", model, dev, "--train", train, "--out-of-scope", tmp_path / "others.txt")
    assert "AUROC" in result.output
    assert all(name in result.output for name in KINDS)
    assert Classifier.from_pretrained(model).rejection is not None


def test_mistakes_are_told(model, tmp_path):
    several = classifier(several=True)
    with pytest.raises(UserError, match="one of none of the classes is a text without labels"):
        fit_rejection(several, TEXTS, [[label] for label in LABELS])
    several.save_pretrained(tmp_path / "several")
    rows = write_jsonl(tmp_path / "several.jsonl", labelled(30, several=True))
    with pytest.raises(UserError, match="gives a text several labels, or none: there is nothing"):
        run("reject", tmp_path / "several", rows)
    dev, short = (write_jsonl(tmp_path / f"{n}.jsonl", labelled(n)) for n in (20, 19))
    (tmp_path / "few.txt").write_text("one text\n" * 3)
    for arguments, match in (
        ((model, short), r"19\.jsonl has 19 rows: a threshold takes 20 or more"),
        (
            (model, dev, "--score", "odin"),
            "expected one of the scores nearest, mahalanobis, energy",
        ),
        ((model, dev, "--keep", "1.5"), "expected a share to keep above 0, up to 1, got 1.5"),
        ((model, dev, "--out-of-scope", tmp_path / "few.txt"), "there are 3 texts of none of the"),
        (("some/model", dev), "some/model is not a folder on this machine: .* with -o"),
        ((model, dev, "-o", tmp_path), "exists already: name another folder"),
    ):
        with pytest.raises(UserError, match=match):
            run("reject", *arguments)
    assert not (model / REJECTION_FILE).exists()


def broken(kind, path):
    arrays = load_file(path)
    note = {"rejection": '{"score": "mahalanobis", "threshold": 0.5}'}
    if kind == "cut":
        path.write_bytes(path.read_bytes()[:-50])
    elif kind == "no note":
        save_file(arrays, path)
    elif kind == "another encoder":
        save_file({name: each[:, :-1] for name, each in arrays.items()}, path, note)
    elif kind == "unknown array":
        save_file({**arrays, "more": np.zeros(1)}, path, note)
    elif kind == "unknown score":
        save_file(arrays, path, {"rejection": '{"score": "os.system", "threshold": 0.5}'})
    elif kind == "not finite":
        save_file({**arrays, "centres": arrays["centres"] * np.nan}, path, note)
    else:
        save_file({**arrays, "covariance": -arrays["covariance"]}, path, note)


@pytest.mark.parametrize(
    "kind",
    ["cut", "no note", "another encoder", "unknown array", "unknown score", "not finite", "sign"],
)
def test_a_broken_file_is_refused_in_one_sentence(kind, model):
    whole = Classifier.from_pretrained(model)
    fit_rejection(whole, TEXTS, LABELS, score="mahalanobis").rejection.write(model)
    broken(kind, model / REJECTION_FILE)
    with pytest.raises(
        UserError, match=r"(?s)does not fit to this .*: fit it again with textcl reject"
    ):
        Classifier.from_pretrained(model)
