"""The recipe few-shot, and the line to beat that every classifier is compared with."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from families import tiny_model_dir
from labelled import labelled, write_jsonl
from rich.console import Console
from sklearn.linear_model import LogisticRegression
from training_runs import crash_at, last_of_each

from textcl.classifier.baseline import Baseline
from textcl.classifier.classifier import Classifier, vectors_of
from textcl.classifier.linear_probe import STRENGTHS, LinearProbe, fit_linear_probe, out_of_fold
from textcl.classifier.supervision import default_dev
from textcl.errors import UserError
from textcl.training.position import DevScore, Position
from textcl.training.recipes import find
from textcl.training.session import resume, train

pytestmark = pytest.mark.usefixtures("few_strengths")

SETTINGS = ["batch_size=12", "steps=4", "max_length=16", "precision=fp32", "learning_rate=1e-3"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_model_dir(tmp_path_factory.mktemp("model"), layers=1))


def run(model, output, rows, settings=(), console=None, recipe="few-shot", **more):
    return train(
        recipe, model=model, data=rows, output=output, settings=last_of_each([*SETTINGS, *settings]),
        console=console or Console(file=io.StringIO(), width=300), **more,
    )  # fmt: skip


@pytest.mark.parametrize("several", [False, True])
def test_the_head_that_is_saved_is_the_regression_on_all_rows(several, model, tmp_path):
    rows = labelled(60, several=several)
    console = Console(file=io.StringIO(), width=300)
    done = run(model, tmp_path / "run", rows, ["keep_frozen=false"], console)
    shown = console.file.getvalue()
    assert "held out" in shown
    assert "to beat   " in shown
    assert " on dev: logistic regression on the frozen encoder (" in shown
    saved = Classifier.from_pretrained(tmp_path / "run")
    texts = [row["text"] for row in rows]
    facts = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert facts["settings"]["dev"] == "0.1"
    targets = saved.targets([row["labels" if several else "label"] for row in rows])
    x = vectors_of(saved.encoder, texts, precision="float32")
    logits = saved.logits(texts, precision="float32")
    fits = [
        fit_linear_probe(x, targets, 3, strength=c, normalize=True).logits(x) for c in STRENGTHS
    ]
    assert min(np.abs(logits - want).max() for want in fits) < 1e-3
    np.testing.assert_array_equal(
        done.classifier.logits(texts, precision="float32"),
        saved.logits(texts, precision="float32"),
    )


def test_without_dev_the_line_is_cross_validated_and_training_is_not_compared(model, tmp_path):
    rows, console = labelled(20), Console(file=io.StringIO(), width=300)
    done = run(model, tmp_path / "run", rows, ["compare_folds=0"], console, dev="")
    assert "on 20 training rows, each by the other two thirds" in console.file.getvalue()
    assert "training was not compared with the frozen encoder" in console.file.getvalue()
    texts = [row["text"] for row in rows]
    x = vectors_of(done.encoder, texts, precision="float32")
    targets = done.classifier.targets([row["label"] for row in rows])
    want = fit_linear_probe(x, targets, 3, normalize=True)
    logits = done.classifier.logits(texts, precision="float32")
    np.testing.assert_allclose(logits, want.logits(x), atol=1e-4)


def test_a_run_that_does_harm_leaves_the_frozen_encoder(model, tmp_path):
    dev = write_jsonl(tmp_path / "dev.jsonl", labelled(60, seed=1))
    console = Console(file=io.StringIO(), width=300)
    harm = ["learning_rate=1.0", "steps=6"]
    done = run(model, tmp_path / "run", labelled(36), harm, console, dev=dev)
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["best_step"] == 0
    assert scores["best"] == scores["before"] > scores["last"]
    assert "that is the model that is saved" in console.file.getvalue()
    assert done.position.best_step == 0
    run(model, tmp_path / "told", labelled(36), [*harm, "keep_frozen=false"], console, dev=dev)
    assert "and the trained model is saved" in console.file.getvalue()
    assert json.loads((tmp_path / "told" / "scores.json").read_text())["best_step"] == 6


def test_equal_seeds_and_a_crashed_run_end_bit_identical(model, tmp_path, monkeypatch):
    rows = write_jsonl(tmp_path / "rows.jsonl", labelled(60))
    settings = ["evaluate_every=2", "save_every=1", "keep_frozen=false"]
    run(model, tmp_path / "whole", rows, settings)
    with monkeypatch.context() as patch:
        crash_at(patch, 3)
        with pytest.raises(ConnectionError):
            run(model, tmp_path / "crashed", rows, settings)
    resume(tmp_path / "crashed", console=Console(file=io.StringIO()))
    for name in ("best", "last"):
        for file in ("model.safetensors", "classifier.safetensors"):
            one, other = ((tmp_path / f / name / file).read_bytes() for f in ("whole", "crashed"))
            assert one == other, (name, file)


def test_updates_follow_from_the_rows():
    settings = find("few-shot").settings()
    assert [settings.total_steps(batches) for batches in (1, 6, 100)] == [50, 60, 300]
    assert settings.evaluation_interval(6) == 60
    assert find("few-shot").settings(None, {"patience": 2}).evaluation_interval(6) == 6
    assert find("few-shot").settings(None, {"epochs": 2}).total_steps(5) == 10
    with pytest.raises(UserError, match="unknown setting 'head_dropout'"):
        find("few-shot").settings(None, ["head_dropout=0.1"])


def test_embeddings_of_tokens_stay_unless_asked(model, tmp_path):
    from safetensors.torch import load_file

    start = load_file(f"{model}/model.safetensors")
    key = next(key for key in start if key.endswith("word_embeddings.weight"))
    for value, same in (("true", True), ("false", False)):
        extra = ["keep_frozen=false", f"freeze_embeddings={value}"]
        run(model, tmp_path / value, labelled(36), extra, dev="")
        after = load_file(tmp_path / value / "best" / "model.safetensors")
        assert bool((after[key] == start[key]).all()) is same
        assert any((after[k] != start[k]).any() for k in after if k in start and "layer" in k)


def test_rows_are_held_out_where_there_are_twenty_a_class():
    texts = [str(number) for number in range(40_000)]
    assert default_dev(texts[:399], 20) == ""
    assert default_dev(texts[:400], 20) == "0.1"
    assert default_dev(texts, 20) == "0.025"
    assert default_dev(texts[:20] * 20, 20) == "", "no class has two texts that differ"


@pytest.mark.parametrize("several", [False, True])
def test_logits_out_of_fold_are_those_of_regressions_without_the_row(several):
    rng = np.random.default_rng(0)
    ids = np.arange(45) % 3
    x = rng.normal(size=(3, 5))[ids] + rng.normal(size=(45, 5))
    targets = np.eye(3, dtype=bool)[ids] if several else ids
    places, logits = out_of_fold(x, targets, 3, 3.0, seed=1)
    assert sorted(places) == list(range(45))
    middle = x.mean(0)
    scaled = (x - middle) / np.sqrt(((x - middle) ** 2).sum(1).mean())
    fold = places[:15]
    rest = np.setdiff1d(places, fold)
    model = LogisticRegression(C=3.0, max_iter=1000)
    if several:
        model.fit(scaled[rest], ids[rest] == 1)
        np.testing.assert_allclose(logits[:15, 1], model.decision_function(scaled[fold]), atol=1e-5)
    else:
        model.fit(scaled[rest], ids[rest])
        np.testing.assert_array_equal(logits[:15].argmax(1), model.predict(scaled[fold]))


def baseline(score=80.0, rows=1000, compared=True, starts=True):
    probe = LinearProbe(np.zeros((2, 3)), np.zeros(2), 1.0, 50)
    return Baseline(probe, score, "on dev", rows, compared, starts)


@pytest.mark.parametrize(
    ("best", "step", "options", "said"),
    [
        (81.5, 7, {}, "training beat the frozen encoder with logistic regression (80.00 on dev) by 1.50"),
        (85.0, 7, {"rows": 20}, "by 5.00; one of 20 rows is 5.0, a standard error 8.9"),
        (80.0, 7, {}, "is level with the frozen encoder with logistic regression (80.00 on dev): the trained"),
        (80.0, 0, {}, "did not beat the frozen encoder with logistic regression (80.00 on dev): that is"),
        (79.0, 7, {}, "(80.00 on dev), and the trained model is saved"),
        (79.0, 7, {"starts": False}, "saved; --set head=linear starts from the regression"),
        (None, 0, {"compared": False}, "no rows are set apart; name --dev FILE"),
    ],
)  # fmt: skip
def test_the_end_tells_whether_training_beat_the_line(best, step, options, said):
    assert said in baseline(**options).verdict(Position(step=7, best=best, best_step=step))


def test_a_trained_model_replaces_an_equal_start_and_no_equal_update():
    at = Position()
    assert at.scored(DevScore(80.0))
    at.step = 5
    assert at.scored(DevScore(80.0))
    at.step = 10
    assert not at.scored(DevScore(80.0))
    assert (at.best_step, at.stale) == (5, 1)
