"""Few rows and no dev set: rows left out in turn say whether the trained or the frozen encoder is saved."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from families import tiny_model_dir
from labelled import labelled, write_jsonl
from rich.console import Console
from torch import nn
from training_runs import crash_at, last_of_each

from textcl.classifier.classifier import Classifier, vectors_of
from textcl.classifier.comparison import (
    FROZEN,
    HALF,
    TRAINED,
    Comparison,
    blend,
    can_fold,
    learnt_weights,
    too_small_classes,
)
from textcl.classifier.linear_probe import fit_linear_probe
from textcl.classifier.supervision import for_fewer_rows
from textcl.cli import main
from textcl.data.rows import load_rows
from textcl.encoder.encoder import Encoder
from textcl.training.recipes import find
from textcl.training.session import resume, train

pytestmark = pytest.mark.usefixtures("few_strengths")

SETTINGS = ["batch_size=12", "steps=4", "max_length=16", "precision=fp32", "learning_rate=1e-3"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_model_dir(tmp_path_factory.mktemp("model"), layers=1))


def run(model, output, rows, settings=(), recipe="few-shot", **more):
    console = Console(file=io.StringIO(), width=300)
    done = train(
        recipe, model=model, data=rows, output=output, settings=last_of_each([*SETTINGS, *settings]),
        console=console, **more,
    )  # fmt: skip
    return done, console.file.getvalue()


def answer(monkeypatch, share):
    """Let every comparison end with a share."""
    scores = {each: float(each == share) for each in (FROZEN, HALF, TRAINED)}
    found = Comparison(scores, dict.fromkeys(scores, -1.0), 20, 2)
    path = "textcl.classifier.supervision.compare_by_folds"
    monkeypatch.setattr(path, lambda *_: found)


@pytest.mark.parametrize("recipe", ["few-shot", "cross-entropy"])
def test_training_that_does_harm_leaves_the_frozen_encoder(recipe, model, tmp_path):
    rows = labelled(36)
    harm = ["learning_rate=1.0", "steps=6"]
    _, shown = run(model, tmp_path / "run", rows, harm, recipe)
    assert "first without each of 2 parts of the rows in turn" in shown
    assert "the frozen encoder with logistic regression is saved" in shown
    saved = Classifier.from_pretrained(tmp_path / "run")
    frozen = Encoder.from_pretrained(model, pooling=saved.encoder.pooling)
    texts = [row["text"] for row in rows]
    x = vectors_of(frozen, texts, precision="float32")
    targets = saved.targets([row["label"] for row in rows])
    want = fit_linear_probe(x, targets, 3, normalize=recipe == "few-shot").logits(x)
    np.testing.assert_allclose(saved.logits(texts, precision="float32"), want, atol=1e-4)


def test_no_update_is_made_where_the_frozen_encoder_is_chosen(model, tmp_path, monkeypatch):
    rows = labelled(20)
    answer(monkeypatch, FROZEN)
    done, _ = run(model, tmp_path / "run", write_jsonl(tmp_path / "rows.jsonl", rows))
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert (done.position.step, scores["steps"], scores["finished"]) == (0, 0, True)
    texts = [row["text"] for row in rows]
    want = done.classifier.logits(texts, precision="float32")
    for name in ("", "best", "last"):
        saved = Classifier.from_pretrained(tmp_path / "run" / name)
        np.testing.assert_array_equal(saved.logits(texts, precision="float32"), want)
    (tmp_path / "run" / "scores.json").unlink()  # stopped before its end
    again = resume(tmp_path / "run", console=Console(file=io.StringIO()))
    np.testing.assert_array_equal(again.classifier.logits(texts, precision="float32"), want)


def test_the_mean_of_both_weights_is_saved_with_a_regression_on_its_vectors(
    model, tmp_path, monkeypatch
):
    rows = labelled(20)
    trained, _ = run(model, tmp_path / "trained", rows, ["compare_folds=0"])
    answer(monkeypatch, HALF)
    half, shown = run(model, tmp_path / "half", rows)
    assert "the mean of frozen and trained weights is saved" in shown
    start = dict(Encoder.from_pretrained(model, pooling="mean").named_parameters())
    end = dict(trained.encoder.named_parameters())
    moved = 0
    for name, weight in half.encoder.named_parameters():
        torch.testing.assert_close(weight, (start[name] + end[name]) / 2, atol=1e-6, rtol=0)
        moved += int((start[name] != end[name]).any())
    assert moved > 5
    texts = [row["text"] for row in rows]
    x = vectors_of(half.encoder, texts, precision="float32")
    targets = half.classifier.targets([row["label"] for row in rows])
    want = fit_linear_probe(x, targets, 3, normalize=True)
    got = half.classifier.logits(texts, precision="float32")
    np.testing.assert_allclose(got, want.logits(x), atol=1e-4)


def test_a_comparison_changes_nothing_of_the_training_itself(model, tmp_path, monkeypatch):
    rows = labelled(20)
    monkeypatch.setattr(Comparison, "share", TRAINED)
    run(model, tmp_path / "plain", rows, ["compare_folds=0"])
    run(model, tmp_path / "compared", rows)
    logs = [(tmp_path / name / "metrics.jsonl").read_text() for name in ("plain", "compared")]
    plain, compared = ([json.loads(line)["loss"] for line in log.splitlines()] for log in logs)
    assert plain == compared


def test_where_texts_have_several_labels_nothing_else_changes(model, tmp_path):
    _, shown = run(model, tmp_path / "run", labelled(20, several=True), ["steps=2"])
    assert (
        "each of 2 parts of 20 rows left out in turn: frozen encoder with logistic regression"
        in shown
    )


def test_a_crashed_run_ends_bit_identical(model, tmp_path, monkeypatch):
    rows = write_jsonl(tmp_path / "rows.jsonl", labelled(36))
    answer(monkeypatch, HALF)
    run(model, tmp_path / "whole", rows, ["save_every=1"])
    with monkeypatch.context() as patch:
        crash_at(patch, 2)
        with pytest.raises(ConnectionError):
            run(model, tmp_path / "crashed", rows, ["save_every=1"])
    resume(tmp_path / "crashed", console=Console(file=io.StringIO()))
    for file in ("model.safetensors", "classifier.safetensors"):
        one, other = ((tmp_path / f / "best" / file).read_bytes() for f in ("whole", "crashed"))
        assert one == other, file


def test_a_comparison_that_is_stopped_leaves_the_run_that_it_would_replace(
    model, tmp_path, monkeypatch
):
    rows = labelled(20)
    run(model, tmp_path / "run", rows, ["compare_folds=0", "steps=1"])
    before = (tmp_path / "run" / "best" / "model.safetensors").read_bytes()

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("textcl.classifier.supervision.compare_by_folds", stop)
    with pytest.raises(KeyboardInterrupt):
        run(model, tmp_path / "run", rows, overwrite=True)
    assert (tmp_path / "run" / "best" / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("rows", "settings", "more"),
    [
        (60, ["patience=2"], {}),  # which needs a dev set: a share is held out
        (20, ["compare_folds=0"], {}),
        (20, ["keep_frozen=false"], {}),
        (20, ["head=own"], {"recipe": "cross-entropy"}),
    ],
)
def test_nothing_is_compared_where_it_is_not_asked(rows, settings, more, model, tmp_path):
    _, shown = run(model, tmp_path / "run", labelled(rows), settings, **more)
    assert "parts of the rows in turn" not in shown


@pytest.mark.parametrize(("rows", "changes", "folds"), [
    (24, {}, True),
    (999, {}, True),  # a tenth of them would be a small dev set
    (1000, {}, False),
    (999, {"patience": 2}, False),  # which needs dev scores
    (999, {"head": "lcl"}, False),  # which cannot be the regression
    (999, {"keep_frozen": False}, False),
])  # fmt: skip
def test_parts_are_left_out_in_turn_where_rows_are_few(rows, changes, folds):
    settings = find("cross-entropy").settings(None, {"classes": ("a", "b"), **changes})
    texts = [f"text {number}" for number in range(rows)]
    assert can_fold(settings, texts, ["a", "b"] * (rows // 2) + ["a"] * (rows % 2)) == folds
    many = replace(settings, classes=("a", "b", *(f"c{number}" for number in range(60))))
    labels = [many.classes[number % 62] for number in range(1200)]
    texts = [f"text {number}" for number in range(1200)]
    assert can_fold(many, texts, labels) == (folds or rows == 1000), "below 20 rows a class"


def test_the_scores_of_a_comparison_are_those_of_the_run(model, tmp_path, monkeypatch):
    monkeypatch.setattr(Comparison, "share", TRAINED)
    trained, _ = run(model, tmp_path / "run", labelled(20), ["steps=2"])
    scores = trained.folder.scores()
    assert scores.protocol == "20 training rows left out in turn, accuracy × 100, float32"
    assert scores.finished
    assert scores.best == scores.last
    assert None not in (scores.before, scores.best)
    assert scores.best_step == scores.steps == 2
    monkeypatch.setattr(Comparison, "share", FROZEN)
    kept, _ = run(model, tmp_path / "kept", labelled(20), ["steps=2"])
    scores = kept.folder.scores()
    assert (scores.best, scores.best_step, scores.steps) == (scores.before, 0, 0)


def test_a_sweep_on_few_rows_has_scores_and_says_which(model, tmp_path, capsys, monkeypatch):
    data = write_jsonl(tmp_path / "rows.jsonl", labelled(20))
    options = ["--model", model, "--data", str(data), "--set", "max_length=16", "--set", "steps=2"]
    options += ["--set", "batch_size=12"]
    command = ["sweep", "--recipe", "few-shot", "--seeds", "0", "-o", str(tmp_path / "sweep")]
    monkeypatch.setattr(sys, "argv", ["textcl", *command, *options])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert not stopped.value.code
    shown = " ".join(capsys.readouterr().out.split())
    score = json.loads((tmp_path / "sweep" / "sweep.json").read_text())["table"][0]["scores"]["0"]
    assert f"{score:.2f}" in shown
    assert "on training rows that were left out of a training in turn" in shown


def test_a_dry_run_compares_nothing(model, tmp_path):
    _, shown = run(model, tmp_path / "run", labelled(20), dry_run=True)
    assert "to beat" in shown
    assert "parts of the rows in turn" not in shown


@pytest.mark.parametrize(
    ("texts", "folds"),
    [
        (["one", "two"], True),
        (["one"], False),
        (["one", " ONE"], False),  # equal texts are in one part
    ],
)
def test_a_class_that_a_part_would_lack_is_not_compared(texts, folds):
    rows = [{"text": f"text {n}", "label": "a"} for n in range(8)]
    rows += [{"text": text, "label": "b"} for text in texts]
    loaded = load_rows(rows, roles=("text", "label"))
    settings = find("few-shot").settings(
        None, {"classes": ("a", "b"), "class_rows": (8, len(texts))}
    )
    assert can_fold(settings, loaded.strings("text"), loaded.column("label")) == folds


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_fewer_rows_are_seen_as_often_or_half_as_often(share, monkeypatch):
    settings = find("few-shot").settings(None, {"warmup_steps": 40})
    assert settings.REHEARSED == 0.5
    monkeypatch.setattr(type(settings), "REHEARSED", share)
    half = for_fewer_rows(settings, 5, 160, 80)  # 50 updates of 32 rows: each row ten times
    steps = {1.0: 25, 0.5: 12}[share]
    assert (half.batch_size, half.rows_per_class, half.steps) == (32, 4, steps)
    assert (half.warmup_steps, half.learning_rate) == (steps - 1, 5e-5 / share)
    few = for_fewer_rows(settings, 1, 32, 15)
    assert (few.batch_size, few.rows_per_class) == (12, 4)
    assert few.steps == {1.0: 62, 0.5: 31}[share]


def test_equal_scores_are_decided_by_the_likelihood():
    scores = {FROZEN: 80.0, HALF: 85.0, TRAINED: 85.0}
    assert Comparison(scores, {FROZEN: -0.5, HALF: -0.9, TRAINED: -1.0}, 20, 2).share == HALF
    assert Comparison(scores, {FROZEN: -0.5, HALF: -1.9, TRAINED: -1.0}, 20, 2).share == TRAINED


def test_a_blend_lies_between_both_weights():
    layer = nn.Linear(2, 2)
    start = learnt_weights(layer)
    nn.init.constant_(layer.weight, 3.0)
    end = learnt_weights(layer)
    blend(layer, start, end, 0.25)
    torch.testing.assert_close(layer.weight, start["weight"] * 0.75 + 0.25 * 3.0)
    blend(layer, start, end, 0.0)
    assert torch.equal(layer.weight, start["weight"])


def test_the_end_of_a_run_says_which_class_is_too_small_to_compare(model, tmp_path):
    rows = [*labelled(20), {"text": "quite alone here", "label": "lonely"}]
    _, shown = run(model, tmp_path / "run", rows)
    assert "class 'lonely' has fewer than 2 different texts" in shown
    settings = find("few-shot").settings(None, {"classes": ("a", "lonely")})
    texts = [f"text {number}" for number in range(1000)]
    assert not too_small_classes(settings, texts, ["lonely", *["a"] * 999]), "these are many rows"
    assert "dev       none: the last weights are kept" in shown
    _, shown = run(model, tmp_path / "more", labelled(20))
    assert "dev       none: each of 2 parts of the rows is left out in turn" in shown
    assert "a standard error" in shown
    assert "next: textcl eval" in shown


def test_of_equal_scores_the_end_says_that_the_likelier_is_saved():
    found = Comparison({FROZEN: 80.0, TRAINED: 80.0}, {FROZEN: -2.0, TRAINED: -1.0}, 40, 2, 6.3)
    assert found.verdict() == (
        "each of 2 parts of 40 rows left out in turn: frozen encoder with logistic regression 80.00, trained encoder "
        "80.00 (a standard error 6.3); the trained encoder, of equal scores the likelier, is saved"
    )


def test_small_data_is_scored_about_ten_times():
    settings = find("cross-entropy").settings()
    assert [settings.total_steps(batches) for batches in (2, 100)] == [60, 500]
    assert [settings.evaluation_interval(batches) for batches in (1, 2, 7, 12, 100)] == [
        *(6, 6, 7, 12, 100)
    ]
    for asked in ({"epochs": 30}, {"steps": 60}, {"patience": 3}):
        assert find("lcl").settings(None, asked).evaluation_interval(2) == 2
    assert find("lcl").settings(None, {"evaluate_every": 5}).evaluation_interval(2) == 5
