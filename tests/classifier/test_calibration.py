"""Calibration of a whole classifier: what is fitted, what is measured, and what is written."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import typer
from families import tiny_encoder
from labelled import labelled, write_jsonl
from typer.testing import CliRunner

from textcl.classifier.calibration import calibrate
from textcl.classifier.classifier import Classifier
from textcl.classifier.head import make_head
from textcl.cli.calibrate import calibrate_command
from textcl.errors import UserError

app = typer.Typer()
app.command("calibrate")(calibrate_command)


@pytest.fixture
def overconfident():
    """A factory of classifiers whose logits are much too large for what they know."""

    def make(several=False):
        encoder = tiny_encoder()
        torch.manual_seed(1)
        head = make_head("own", "bert", encoder.dimension, 3)
        head.output.weight.data *= 12
        return Classifier(encoder, head, ("food", "sport", "town"), multi_label=several).eval()

    return make


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)


def texts_and_labels(rows, role):
    return [row["text"] for row in rows], [row[role] for row in rows]


def likelihood(model, texts, targets):
    proba = model.predict_proba(texts, precision="float32").astype(float)
    return np.log(proba[np.arange(len(texts)), targets]).mean()


def test_the_temperature_raises_the_likelihood_and_lowers_the_error(overconfident):
    model = overconfident()
    texts, labels = texts_and_labels(labelled(200), "label")
    targets = model.targets(labels)
    before, predicted = likelihood(model, texts, targets), model.predict(texts)
    report = calibrate(model, texts, labels)
    assert model.temperature == report.temperature > 1.5
    assert report.error_after < 0.5 * report.error_before
    best = likelihood(model, texts, targets)
    assert best > before
    for factor in (0.8, 1.25):
        model.temperature = factor * report.temperature
        assert likelihood(model, texts, targets) < best
    model.temperature = report.temperature
    assert model.predict(texts) == predicted
    assert model.thresholds.tolist() == [0.5] * 3


class Logits(Classifier):
    """A classifier whose texts are their own logits."""

    def __init__(self, logits, several=False):
        encoder = tiny_encoder()
        head = make_head("own", "bert", encoder.dimension, logits.shape[1])
        super().__init__(
            encoder, head, [f"c{i}" for i in range(logits.shape[1])], multi_label=several
        )
        self.table = logits

    def logits(self, texts, **options):
        return self.table[[int(text) for text in texts]]


def drawn(rows, true_temperature, seed):
    """A classifier with logits, and labels drawn from softmax(logits / true_temperature)."""
    rng = np.random.default_rng(seed)
    logits = 2 * rng.normal(size=(rows, 6))
    labels = (logits / true_temperature + rng.gumbel(size=logits.shape)).argmax(1)
    return Logits(logits), [str(row) for row in range(rows)], [f"c{label}" for label in labels]


def test_rows_that_are_all_right_determine_no_temperature():
    model = Logits(4 * np.eye(3)[np.arange(30) % 3])
    texts = [str(row) for row in range(30)]
    report = calibrate(model, texts, [f"c{row % 3}" for row in range(30)])
    assert (model.temperature, report.changed) == (1, False)
    assert "temperature stays 1.000: no row speaks against certainty" in report.describe()


@pytest.mark.parametrize("seed", range(12))
def test_a_few_rows_never_make_the_error_on_held_out_rows_worse(seed):
    model, texts, labels = drawn(40, [1.0, 1.3, 2.0][seed % 3], seed)
    report = calibrate(model, texts, labels)
    assert report.error_after <= report.error_before
    if not report.uses_temperature:
        assert model.temperature == 1
        assert "temperature stays 1.000" in report.describe()
        assert "a hundred are few" in report.describe()
    assert report.error.low <= report.error.after - report.error.before <= report.error.high


def test_enough_rows_show_that_a_temperature_is_better():
    model, texts, labels = drawn(2000, 3.0, 0)
    assert calibrate(model, texts, labels).uses_temperature
    assert model.temperature == pytest.approx(3, rel=0.15)
    assert not calibrate(model, texts, labels).changed, "a second time there is nothing to gain"


def test_the_error_before_is_the_calibration_error_of_all_rows():
    from textcl.evaluation.classification import calibration_curve

    model, texts, labels = drawn(300, 2.0, 1)
    proba = model.probabilities(model.logits(texts))
    right = proba.argmax(1) == model.targets(labels)
    want = calibration_curve(proba.max(1), right).error
    assert calibrate(model, texts, labels).error_before == pytest.approx(want, abs=1e-9)


def test_thresholds_that_are_kept_decide_as_before_at_the_new_temperature():
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(600, 2))
    labels = [
        np.array(["c0", "c1"])[row].tolist()
        for row in rng.random((600, 2)) < 1 / (1 + np.exp(-logits / 3))
    ]
    model = Logits(logits, several=True)
    model.thresholds = np.array([0.9, 0.2])
    before = model.decide(model.probabilities(logits))
    from textcl.classifier import calibration

    texts = [str(row) for row in range(600)]
    with pytest.MonkeyPatch.context() as patch:
        same = lambda *args: calibration.Change(0.5, 0.5, -0.1, 0.1)  # noqa: E731
        patch.setattr(calibration, "_f1_change", same)
        report = calibrate(model, texts, labels)
    assert (report.uses_temperature, report.uses_thresholds) == (True, False)
    np.testing.assert_array_equal(model.decide(model.probabilities(logits)), before)


def test_nothing_is_written_that_is_not_better(tmp_path, overconfident):
    model = overconfident()
    model.save_pretrained(tmp_path / "model")
    texts = [row["text"] for row in labelled(30)]
    rows = [
        {"text": t, "label": label} for t, label in zip(texts, model.predict(texts), strict=True)
    ]
    dev = write_jsonl(tmp_path / "dev.jsonl", rows)
    before = (tmp_path / "model" / "classifier.json").read_bytes()
    result = run(tmp_path / "model", dev)
    assert "nothing is written to" in result.output
    assert (tmp_path / "model" / "classifier.json").read_bytes() == before


def test_after_is_measured_on_rows_that_were_not_fitted_on(overconfident):
    """Labels drawn by lot: thresholds that fit them raise F1 on the same rows, and not on others."""
    model = overconfident(several=True)
    draw = np.random.default_rng(0)
    texts = [row["text"] for row in labelled(60)]
    names = np.array(model.classes)
    labels = [names[draw.random(3) < 0.2].tolist() for _ in texts]
    from sklearn.metrics import f1_score

    report = calibrate(model, texts, labels)
    proba = model.predict_proba(texts, precision="float32")
    on_the_same = f1_score(model.targets(labels), model.decide(proba), average="macro")
    assert report.f1_after is not None
    assert report.f1_after < on_the_same - 0.02


def test_thresholds_are_set_for_several_labels(overconfident):
    model = overconfident(several=True)
    texts, labels = texts_and_labels(labelled(200, several=True), "labels")
    report = calibrate(model, texts, labels)
    assert model.thresholds is report.thresholds
    assert set(report.thresholds) != {0.5}
    assert "macro-F1" in report.describe()


@pytest.mark.parametrize("several", [False, True])
def test_the_command_writes_into_the_folder_and_prints_before_and_after(
    several, overconfident, tmp_path
):
    model = overconfident(several)
    model.save_pretrained(tmp_path / "model", card={"recipe": "lcl"})
    dev = write_jsonl(tmp_path / "dev.jsonl", labelled(100, several=several))
    copied = run(tmp_path / "model", dev, "-o", tmp_path / "copy")
    assert Classifier.from_pretrained(tmp_path / "model").temperature == 1
    result = run(tmp_path / "model", dev)
    assert result.exit_code == 0
    assert r"expected calibration error" in result.output
    assert copied.output.splitlines()[:-1] == result.output.splitlines()[:-1]
    again, copy = (Classifier.from_pretrained(tmp_path / name) for name in ("model", "copy"))
    assert again.temperature == copy.temperature > 1
    np.testing.assert_array_equal(again.thresholds, copy.thresholds)
    assert "lcl" in (tmp_path / "copy" / "README.md").read_text()
    note = json.loads((tmp_path / "model" / "classifier.json").read_text())
    assert note["calibration"]["data"] == "dev.jsonl"
    assert note["calibration"]["rows"] == 100
    assert (note["calibration"]["macro_f1_after"] is None) == (not several)


def test_mistakes_are_told(overconfident, tmp_path):
    overconfident().save_pretrained(tmp_path / "model")
    short = write_jsonl(tmp_path / "short.jsonl", labelled(9))
    new = write_jsonl(tmp_path / "new.jsonl", [{"text": "t", "label": "sea"}] * 12)
    several = write_jsonl(tmp_path / "several.jsonl", labelled(12, several=True))
    for arguments, match in (
        ((tmp_path / "model", short), r"short\.jsonl has 9 rows: calibration takes 10 or more"),
        ((tmp_path / "model", new), r"new\.jsonl has labels that are none of the 3 classes"),
        ((tmp_path / "model", several), "no column for the role label"),
        ((tmp_path / "model", short, "--column", "label"), r"expected --column text\|label=NAME"),
        (("some/model", short), "some/model is not a folder on this machine: .* with -o"),
        ((tmp_path / "model", short, "-o", tmp_path), "exists already: name another folder"),
    ):
        with pytest.raises(UserError, match=match):
            run(*arguments)
    assert Classifier.from_pretrained(tmp_path / "model").temperature == 1
