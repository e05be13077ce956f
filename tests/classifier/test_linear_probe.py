"""Logistic regression on frozen vectors: equal to scikit-learn's, and where the head of a run starts."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from families import tiny_model_dir
from labelled import labelled, write_jsonl
from rich.console import Console
from sklearn.linear_model import LogisticRegression

from textcl.classifier.classifier import Classifier, vectors_of
from textcl.classifier.linear_probe import STRENGTHS, fit_linear_probe, probe_places
from textcl.encoder.encoder import Encoder
from textcl.training.session import train

RNG = np.random.default_rng(0)


def clouds(classes, rows=40, width=6, seed=0):
    rng = np.random.default_rng(seed)
    ids = np.arange(rows) % classes
    return 3 + 5 * (rng.normal(size=(classes, width))[ids] + rng.normal(size=(rows, width))), ids


def scaled(x):
    middle = x.mean(0)
    return (x - middle) / np.sqrt(((x - middle) ** 2).sum(1).mean())


@pytest.mark.parametrize("classes", [2, 4])
def test_it_is_scikit_learns_regression_on_vectors_of_unit_spread(classes):
    x, ids = clouds(classes)
    probe = fit_linear_probe(x, ids, classes)
    assert probe.strength in STRENGTHS
    model = LogisticRegression(C=probe.strength, max_iter=1000).fit(scaled(x), ids)
    shares = np.exp(probe.logits(x))
    np.testing.assert_allclose(
        shares / shares.sum(1, keepdims=True), model.predict_proba(scaled(x)), atol=1e-6
    )


def test_several_labels_are_one_regression_each():
    x, ids = clouds(3)
    hot = np.eye(3, dtype=bool)[ids] | (RNG.random((len(ids), 3)) < 0.2)
    probe = fit_linear_probe(x, hot, 3)
    for place in range(3):
        model = LogisticRegression(C=probe.strength, max_iter=1000).fit(scaled(x), hot[:, place])
        np.testing.assert_allclose(
            probe.logits(x)[:, place], model.decision_function(scaled(x)), atol=1e-5
        )


def test_classes_without_a_row_and_labels_of_no_row_stay_improbable():
    x, ids = clouds(2)
    probe = fit_linear_probe(x, ids, 4)
    assert set(probe.logits(x).argmax(1)) == {0, 1}
    hot = np.column_stack([ids == 0, np.zeros(len(ids), bool), np.ones(len(ids), bool)])
    logits = fit_linear_probe(x, hot, 3).logits(x)
    assert logits[:, 1].max() < -3
    assert logits[:, 2].min() > 3


def test_class_weights_are_those_of_scikit_learn():
    x, ids = clouds(3)
    probe = fit_linear_probe(x, ids, 3, class_weights=(1.0, 5.0, 0.5))
    weights = {0: 1.0, 1: 5.0, 2: 0.5}
    model = LogisticRegression(C=probe.strength, max_iter=1000, class_weight=weights)
    model.fit(scaled(x), ids)
    np.testing.assert_array_equal(probe.logits(x).argmax(1), model.predict(scaled(x)))


def test_of_many_rows_a_part_is_enough():
    assert probe_places(7, 0) == list(range(7))
    places = probe_places(30_000, 3)
    assert len(set(places)) == len(places) == 10_000
    assert places == probe_places(30_000, 3) != probe_places(30_000, 4)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_model_dir(tmp_path_factory.mktemp("model"), layers=1))


def run(recipe, model, folder, rows, settings, console=None):
    dev = write_jsonl(folder / "dev.jsonl", labelled(30, seed=1, several="labels" in rows[0]))
    chosen = ["batch_size=6", "max_length=16", "pooling=mean", "save_every=0", *settings]
    return train(
        recipe, model=model, data=rows, dev=dev, output=folder / "run", settings=chosen,
        console=console or Console(file=io.StringIO(), width=300),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("recipe", "several"),
    [
        ("cross-entropy", True),
        ("supcon", False),
        ("lcl", False),
        *(
            pytest.param(*other, marks=pytest.mark.slow)
            for other in [("cross-entropy", False), ("supcon", True), ("lcl", True)]
        ),
    ],
)
def test_update_0_is_the_regression_and_is_kept_where_training_does_harm(
    recipe, several, model, tmp_path
):
    rows = labelled(60, several=several)
    console = Console(file=io.StringIO(), width=300)
    harm = ["steps=2", "learning_rate=0.5", "head_learning_rate=3.0"]
    done = run(recipe, model, tmp_path, rows, harm, console)
    encoder = Encoder.from_pretrained(model, pooling="mean", max_length=16)
    texts = [row["text"] for row in rows]
    x = vectors_of(encoder, texts, precision="float32")
    saved = Classifier.from_pretrained(tmp_path / "run")
    targets = saved.targets([row["labels" if several else "label"] for row in rows])
    probe = fit_linear_probe(x, targets, 3)
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["best"] == scores["before"]
    assert scores["best_step"] == 0
    np.testing.assert_allclose(saved.logits(texts, precision="float32"), probe.logits(x), atol=1e-4)
    np.testing.assert_allclose(
        done.classifier.logits(texts, precision="float32"), probe.logits(x), atol=1e-4
    )
    shown = console.file.getvalue()
    assert f"to beat   {scores['before']:.2f} on dev: logistic regression on the frozen" in shown
    assert "training did not beat the frozen encoder" in shown
    assert f"({scores['before']:.2f} on dev): that is the model that is saved" in shown


def test_heads_with_a_hidden_layer_start_at_random_at_the_rate_of_the_encoder(model, tmp_path):
    console = Console(file=io.StringIO(), width=300)
    run("cross-entropy", model, tmp_path, labelled(30), ["head=own", "steps=1"], console)
    assert "to beat   " in console.file.getvalue()
    assert "where training starts" not in console.file.getvalue()


def test_the_shared_weighting_network_starts_there_too(model, tmp_path):
    settings = ["weighting=shared", "steps=1", "learning_rate=0", "dropout=0"]
    done = run("lcl", model, tmp_path, labelled(30), settings)
    assert done.position.best == done.position.before


def test_the_head_has_a_learning_rate_of_its_own(model, tmp_path):
    """AdamW moves every weight by the rate in its first update, whatever the gradient."""
    rows = labelled(60)
    settings = ["steps=1", "learning_rate=1e-6", "head_learning_rate=0.01", "weight_decay=0"]
    done = run("cross-entropy", model, tmp_path, rows, settings)
    encoder = Encoder.from_pretrained(model, pooling="mean", max_length=16)
    x = vectors_of(encoder, [row["text"] for row in rows], precision="float32")
    start = fit_linear_probe(
        x, np.array([sorted({"food", "sport", "town"}).index(r["label"]) for r in rows]), 3
    )
    last = Classifier.from_pretrained(tmp_path / "run" / "last")
    moved = np.abs(last.head.output.weight.detach().numpy() - start.weight)
    assert np.median(moved) == pytest.approx(0.01, rel=0.05)
    weights = dict(last.encoder.backbone.named_parameters())
    for name, before in encoder.backbone.named_parameters():
        assert (weights[name] - before).abs().max() <= 1.1e-6
    assert done.position.step == 1


def test_small_data_is_trained_for_enough_updates_unless_epochs_are_given(model, tmp_path):
    from textcl.training.recipes import find

    settings = find("lcl").settings()
    assert settings.total_steps(1) == settings.total_steps(12) == 60
    assert settings.total_steps(1000) == 5000
    assert find("lcl").settings_type(epochs=1).total_steps(7) == 7
    assert find("lcl").settings_type(steps=3).total_steps(7) == 3
