"""Whole runs of classifiers: what they leave, that they learn, and that a crashed one goes on as if it had not."""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from families import tiny_model_dir
from labelled import labelled, write_jsonl
from safetensors.torch import load_file
from training_runs import crash_at, last_of_each, quiet

from textcl.classifier.classifier import Classifier
from textcl.errors import UserError
from textcl.evaluation.labelled import LabelledFiles, LabelledManifest
from textcl.evaluation.tasks import DataFile
from textcl.training.run_folder import RunFolder
from textcl.training.session import resume, train

pytestmark = pytest.mark.usefixtures("few_strengths")

SETTINGS = [
    "batch_size=6", "learning_rate=2e-3", "max_length=16", "log_every=1", "save_every=2", "pooling=mean",
]  # fmt: skip
LEARN = ["epochs=4", "learning_rate=3e-3", "dropout=0", "log_every=10", "save_every=0"]
RECIPES = ("cross-entropy", "supcon", "lcl")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_model_dir(tmp_path_factory.mktemp("model"), layers=1))


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name, rows in (
        ("train", labelled(60)),
        ("dev", labelled(12, seed=1)),
        ("train-several", labelled(60, several=True)),
        ("dev-several", labelled(12, seed=1, several=True)),
    ):
        write_jsonl(folder / f"{name}.jsonl", rows)
    return folder


def run(recipe, model, files, output, *, settings=(), kind="", dev=True, console=None, **more):
    dev = str(files / f"dev{kind}.jsonl") if dev is True else dev
    return train(
        recipe, model=model, data=more.pop("data", str(files / f"train{kind}.jsonl")), dev=dev,
        output=output, settings=last_of_each([*SETTINGS, *settings]), console=console or quiet(), **more,
    )  # fmt: skip


def read(folder, name):
    return json.loads((Path(folder) / name).read_text())


def gain(done):
    """How much higher the best dev score is than that of the model before."""
    return done.position.best - done.position.before


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_learns_and_leaves_a_classifier(recipe, model, files, tmp_path):
    done = run(recipe, model, files, tmp_path / "run", settings=[*LEARN, "head=own"])
    assert gain(done) > 30
    facts = read(tmp_path / "run", "settings.json")
    assert facts["settings"]["classes"] == ["food", "sport", "town"]
    assert sum(facts["settings"]["class_rows"]) == 60
    loaded = Classifier.from_pretrained(tmp_path / "run")
    texts = [row["text"] for row in labelled(12, seed=1)]
    proba = loaded.predict_proba(texts, precision="float32")
    np.testing.assert_array_equal(done.classifier.predict_proba(texts, precision="float32"), proba)
    gold = [row["label"] for row in labelled(12, seed=1)]
    right = np.mean([a == b for a, b in zip(loaded.predict(texts), gold, strict=True)])
    assert 100 * right == pytest.approx(done.position.best)
    protocol = read(tmp_path / "run", "scores.json")["protocol"]
    assert protocol == "dev.jsonl, accuracy × 100, float32"
    card = (tmp_path / "run" / "best" / "README.md").read_text()
    assert protocol in card
    assert str(files) not in card, "no folder of this machine"


def test_several_labels_are_learned_too(model, files, tmp_path):
    settings = [*LEARN, "epochs=5", "learning_rate=1e-2", "head=own"]
    done = run("lcl", model, files, tmp_path / "run", settings=settings, kind="-several")
    assert done.classifier.multi_label
    assert gain(done) > 25
    assert "macro-F1 × 100, threshold 0.5" in read(tmp_path / "run", "scores.json")["protocol"]


@pytest.mark.parametrize(
    "settings",
    [
        ["weighting=shared", "projector=8"],
        ["variant=paper", "head=own", "class_weights=balanced", "detach_weights=true"],
        ["second_view=span-mask", "rows_per_class=3", "no_positive=zero"],
        ["second_view=delete-words", "temperature=learnable:0.3", "chunk_size=4"],
        ["gradient_checkpointing=true", "precision=fp32", "accumulation=2"],
    ],
)
def test_the_choices_of_lcl_train(settings, model, files, tmp_path):
    run("lcl", model, files, tmp_path / "run", settings=["epochs=1", *settings])
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert all(math.isfinite(line["loss"]) for line in map(json.loads, lines) if "loss" in line)


def assert_same_run(one, other):
    for file in ("*model.safetensors", "classifier.safetensors"):
        for name in ("best", "last"):
            first, second = (load_file(next((Path(f) / name).glob(file))) for f in (one, other))
            assert first.keys() == second.keys()
            assert all(torch.equal(first[key], second[key]) for key in first), (name, file)
    scores = [read(f, "scores.json") for f in (one, other)]
    for score in scores:
        score.pop("train_seconds")
    assert scores[0] == scores[1]


# within the first epoch of 10 batches, and in the second, after its first batch
@pytest.mark.parametrize(
    ("recipe", "extra", "dev", "step"),
    [
        ("cross-entropy", ["class_weights=balanced"], True, 3),
        ("supcon", ["rows_per_class=2", "projector=8"], "0.2", 11),
        (
            "lcl",
            ["temperature=cosine:0.5:0.2", "second_view=repeat-words", "adapter=lora:2"],
            True,
            11,
        ),
    ],
)
def test_a_crashed_run_goes_on_as_if_it_had_not(
    recipe, extra, dev, step, model, files, tmp_path, monkeypatch
):
    settings = ["epochs=1.5", *extra]
    run(recipe, model, files, tmp_path / "whole", settings=settings, dev=dev)
    with monkeypatch.context() as patch:
        crash_at(patch, step)
        with pytest.raises(ConnectionError):
            run(recipe, model, files, tmp_path / "crashed", settings=settings, dev=dev)
    resume(tmp_path / "crashed", console=quiet())
    assert_same_run(tmp_path / "whole", tmp_path / "crashed")


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(3))
def test_a_killed_run_ends_bit_identical(attempt, model, files, tmp_path):
    settings = ["epochs=1.5", "rows_per_class=2"]
    run("lcl", model, files, tmp_path / "whole", settings=settings)
    sets = [part for setting in (*SETTINGS, *settings) for part in ("--set", setting)]
    data = ["--data", files / "train.jsonl", "--dev", files / "dev.jsonl"]
    command = ["--recipe", "lcl", "--model", model, *data, "--output", tmp_path / "killed", *sets]
    victim = subprocess.Popen(
        [sys.executable, "-m", "textcl", "train", *map(str, command)],
        stderr=subprocess.PIPE,
        text=True,
    )
    draw = random.Random(attempt)
    target = draw.randint(1, 14)
    for line in victim.stderr:
        if line.startswith(f"update {target}/"):
            break
    time.sleep(draw.random() * 0.05)
    victim.kill()
    victim.communicate()
    if not RunFolder(tmp_path / "killed").finished:
        resume(tmp_path / "killed", console=quiet())
    assert_same_run(tmp_path / "whole", tmp_path / "killed")


def test_dev_is_scored_after_every_epoch_unless_asked_otherwise(model, files, tmp_path):
    run("cross-entropy", model, files, tmp_path / "run", settings=["epochs=2"])
    lines = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    assert [line["step"] for line in lines if "dev" in line] == [10, 20]


def test_a_share_of_the_rows_is_held_out(model, files, tmp_path):
    console = quiet()
    options = {"console": console, "dev": "0.2", "settings": ["epochs=1"]}
    run("cross-entropy", model, files, tmp_path / "run", **options)
    facts = read(tmp_path / "run", "settings.json")
    held = 60 - sum(facts["settings"]["class_rows"])
    share = f"{held} of 60 rows ({held / 60:.1%}".replace("%", " %)")
    assert facts["dev"].startswith(f"{share}, with rows of 3 of 3 classes, held out, accuracy")
    assert facts["data"]["rows"] == 60 - held
    assert f"held out, accuracy × 100, float32, {held} texts" in console.file.getvalue()


def test_the_preview_tells_classes_and_company(model, files, tmp_path):
    console = quiet()
    options = {"console": console, "dry_run": True, "settings": ["rows_per_class=2"]}
    run("supcon", model, files, tmp_path / "run", **options)
    shown = console.file.getvalue()
    assert "classes   3; smallest" in shown
    assert "each anchor sees 10 candidates of other rows: in-batch 10; of the other rows" in shown
    assert "share a row's class on average" in shown
    assert "a row comes 1.00 times an epoch in every class" in shown
    console = quiet()
    run("cross-entropy", model, files, tmp_path / "run", console=console, dry_run=True)
    assert "negatives from batches of 6 rows\n" in console.file.getvalue()


def test_a_class_with_one_row_trains_and_is_told(model, files, tmp_path):
    rows = [*labelled(30), {"text": "a rare thing", "label": "rare"}]
    console = quiet()
    options = {"console": console, "dev": "0.2", "settings": ["epochs=1"]}
    done = run("lcl", model, files, tmp_path / "run", data=rows, **options)
    assert "classes   4; smallest rare with 1 row, largest" in console.file.getvalue()
    assert done.classifier.classes == ("food", "rare", "sport", "town")
    assert np.isfinite(done.classifier.predict_proba(["a rare thing"])).all()


def test_csv_with_other_columns(model, files, tmp_path):
    lines = ["review,topic", *(f"{row['text']},{row['label']}" for row in labelled(30))]
    (tmp_path / "x.csv").write_text("\n".join(lines))
    columns = {"text": "review", "label": "topic"}
    options = {
        "data": str(tmp_path / "x.csv"),
        "dev": "",
        "settings": ["epochs=1", "compare_folds=0"],
    }
    done = run("cross-entropy", model, files, tmp_path / "run", columns=columns, **options)
    assert done.classifier.classes == ("food", "sport", "town")
    with pytest.raises(UserError, match=r"for the role text; its columns are 'review', 'topic'"):
        run("cross-entropy", model, files, tmp_path / "new", **options)


def test_mistakes_are_told_before_training(model, files, tmp_path):
    def refused(match, **options):
        with pytest.raises(UserError, match=match):
            run("lcl", model, files, tmp_path / "run", **options)

    refused("have the same label", data=[{"text": f"t{i}", "label": "a"} for i in range(9)], dev="")
    refused("'town' .* rows", dev=True, data=[r for r in labelled(60) if r["label"] != "town"])
    refused("not a multiple of rows_per_class=4", settings=["rows_per_class=4"])
    refused("several: leave it at 0", settings=["rows_per_class=2"], kind="-several")
    refused("fewer than a batch of 60", settings=["batch_size=60"], dev="0.1")
    assert not (tmp_path / "run").exists()


def test_every_recipe_names_its_settings_in_presets_that_exist():
    for name in RECIPES:
        found = importlib.import_module("textcl.training.recipes").find(name)
        small = found.settings("sentence-transformers/all-MiniLM-L6-v2")
        assert (small.pooling, small.head) == ("mean", "linear")
        assert (found.settings().batch_size, found.settings().learning_rate) == (10, 2e-5)


def test_a_task_is_trained_on_by_its_name_and_its_dev_split_selects(model, tmp_path, monkeypatch):
    parts = {"train": labelled(60), "dev": labelled(12, seed=1), "test": labelled(9, seed=2)}
    about = {}
    for split, rows in parts.items():
        content = Path(write_jsonl(tmp_path / f"{split}.jsonl", rows)).read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        about[split] = DataFile(f"{split}.jsonl", digest, rows=len(rows))
    toy = LabelledManifest(
        name="Toy",
        label="Toy",
        kind="classification",
        metric="accuracy",
        protocol="toy",
        published_as="",
        licence="CC0",
        citation="nobody",
        classes=("food", "sport", "town"),
        local=LabelledFiles({"text": "text", "label": "label"}, **about),
    )
    monkeypatch.setattr("textcl.evaluation.labelled.labelled_manifests", lambda: {"Toy": toy})
    monkeypatch.setenv("TEXTCL_DATA", str(tmp_path))
    options = {"model": model, "settings": [*SETTINGS, "steps=2"], "console": quiet()}
    done = train("cross-entropy", data="toy", output=tmp_path / "a", **options)
    assert done.folder.facts.data.source == "toy, train"
    assert done.folder.facts.settings["dev"] == "toy"
    assert done.position.best is not None
    same = train(
        "cross-entropy", data=str(tmp_path / "train.jsonl"), dev=str(tmp_path / "dev.jsonl"),
        output=tmp_path / "b", **options,
    )  # fmt: skip
    assert same.position.best == done.position.best
    texts = [row["text"] for row in parts["test"]]
    np.testing.assert_array_equal(
        same.classifier.logits(texts, precision="float32"),
        done.classifier.logits(texts, precision="float32"),
    )
