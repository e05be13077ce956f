"""The loop: what a run leaves, how it stops, and that it goes on as if it had not stopped."""

from __future__ import annotations

import importlib
import io
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from families import tiny_model_dir
from recipe_rows import WORDS
from rich.console import Console
from training_runs import assert_same_run, crash_at, last_of_each, losses, quiet, weights

import textcl.training.loader
import textcl.training.session
from textcl.data.lock import sole_writer
from textcl.errors import RunError, UserError
from textcl.method.hooks import Hook
from textcl.training.interrupts import InterruptedRunError
from textcl.training.recorder import Recorder
from textcl.training.run_folder import RunFolder
from textcl.training.session import resume, train


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """A folder with a tiny model, a corpus and graded pairs; no test changes them."""
    folder = tmp_path_factory.mktemp("inputs")
    tiny_model_dir(folder)
    draw = random.Random(0)
    lines = [" ".join(draw.sample(WORDS, draw.randint(2, 8))) for _ in range(64)]
    (folder / "corpus.txt").write_text("\n".join(lines) + "\n")
    draw = random.Random(1)
    pairs = []
    for _ in range(12):
        first = draw.sample(WORDS, 5)
        kept = draw.randint(0, 5)
        second = first[:kept] + draw.sample(WORDS, 5 - kept)
        pairs.append({"sentence1": " ".join(first), "sentence2": " ".join(second), "score": kept})
    (folder / "dev.jsonl").write_text("\n".join(map(json.dumps, pairs)) + "\n")
    return folder


@pytest.fixture(scope="module")
def model(inputs):
    return str(inputs / "bert")


@pytest.fixture(scope="module")
def corpus(inputs):
    return str(inputs / "corpus.txt")


@pytest.fixture(scope="module")
def dev(inputs):
    return str(inputs / "dev.jsonl")


SETTINGS = [
    "batch_size=8", "steps=12", "learning_rate=1e-3", "evaluate_every=3", "save_every=2",
    "log_every=1", "head=train", "pooling=mean", "dropout=0.2",
]  # fmt: skip


def run(model, corpus, output, *, dev="", settings=(), console=None, **more):
    return train(
        "unsup-simcse", model=model, data=corpus, dev=dev, output=output,
        settings=last_of_each([*SETTINGS, *settings]), console=console or quiet(), **more,
    )  # fmt: skip


def test_the_end_of_a_run_repeats_how_many_texts_were_cut(model, tmp_path):
    for longest, line in ((4, "trained on cut texts: 16 of 16 texts at 4 tokens"), (16, "")):
        console = Console(file=io.StringIO(), width=300)
        train(
            "unsup-simcse", model=model, data=["a man eats food"] * 16, dev="", output=tmp_path / str(longest),
            settings={"batch_size": 8, "steps": 1, "max_length": longest, "head": "none"}, console=console,
        )  # fmt: skip
        shown = console.file.getvalue()
        assert line in shown
        assert ("cut texts" in shown) == bool(line)


def test_a_run_of_an_earlier_version_that_stopped_in_its_warmup_is_refused(
    model, tmp_path, monkeypatch
):
    folder, data = tmp_path / "run", ["a man eats food", "a dog runs"] * 8
    settings = {"batch_size": 8, "steps": 8, "warmup": 0.5, "save_every": 2, "log_every": 1}
    with monkeypatch.context() as patch:
        patch.setattr("textcl.training.recorder.Recorder.save", _save_and_die(2))
        with pytest.raises(ConnectionError):
            train(
                "unsup-simcse", model=model, data=data, dev="", output=folder, settings=settings,
                console=Console(quiet=True),
            )  # fmt: skip
    facts = json.loads((folder / "settings.json").read_text())
    del facts["settings"]["warmup_steps"]
    (folder / "settings.json").write_text(json.dumps(facts))
    with pytest.raises(UserError, match="stopped at update 2 of a warm-up of 4"):
        resume(folder, data=data, console=Console(quiet=True))


def _save_and_die(step):
    save = Recorder.save

    def dying(recorder, at, *arguments):
        save(recorder, at, *arguments)
        if at.step == step:
            raise ConnectionError

    return dying


def test_a_run_leaves_what_it_promises(model, corpus, dev, tmp_path):
    out = tmp_path / "run"
    done = run(model, corpus, out, dev=dev)
    assert {p.name for p in out.iterdir()} == {
        "settings.json", "metrics.jsonl", "scores.json", "best", "last", "checkpoints",
    }  # fmt: skip
    facts = json.loads((out / "settings.json").read_text())
    assert facts["recipe"] == "unsup-simcse"
    assert facts["settings"]["batch_size"] == 8
    assert len(facts["data"]["sha256"]) == 64
    assert facts["versions"]["torch"] == torch.__version__
    scores = json.loads((out / "scores.json").read_text())
    assert scores["best"] == max(dev for _, _, dev in losses(out) if dev is not None)
    assert scores["seed"] == 0
    assert "float32" in scores["protocol"]
    assert [step for step, loss, _ in losses(out) if loss is not None] == list(range(1, 13))
    best = torch.from_numpy(
        textcl.Encoder.from_pretrained(str(out / "best")).encode(["a man runs"])
    )
    torch.testing.assert_close(torch.from_numpy(done.encoder.encode(["a man runs"])), best)


def test_training_lowers_the_loss(model, corpus, tmp_path):
    run(model, corpus, tmp_path / "run", settings=["steps=40", "dropout=0.1"])
    values = [loss for _, loss, _ in losses(tmp_path / "run")]
    assert sum(values[-5:]) < 0.8 * sum(values[:5])


def test_the_same_seed_gives_the_same_weights_and_another_does_not(model, corpus, tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        run(model, corpus, tmp_path / name, settings=[f"seed={seed}"])
    assert_same_run(tmp_path / "a", tmp_path / "b")
    first, other = weights(tmp_path / "a"), weights(tmp_path / "c")
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.fixture(scope="module")
def whole(model, corpus, dev, tmp_path_factory):
    """An undisturbed run with dev pairs."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    run(model, corpus, folder, dev=dev)
    return folder


# before the first checkpoint, within an epoch of 8 batches, in the second epoch
@pytest.mark.parametrize("step", [1, 7, 9])
def test_a_crashed_run_goes_on_as_if_it_had_not(
    step, whole, model, corpus, dev, tmp_path, monkeypatch
):
    crash_and_resume(monkeypatch, step, model, corpus, dev, tmp_path / "crashed")
    assert_same_run(whole, tmp_path / "crashed")


def crash_and_resume(monkeypatch, step, model, corpus, dev, output, settings=()):
    with monkeypatch.context() as patch:
        crash_at(patch, step)
        with pytest.raises(ConnectionError):
            run(model, corpus, output, dev=dev, settings=settings)
    resume(output, console=quiet())


OTHER_SETTINGS = {
    "accumulated": ["accumulation=2", "chunk_size=3", "temperature=learnable:0.1"],
    "scheduled": [
        "temperature=cosine:0.2:0.05", "warmup=0.3", "schedule=cosine", "adapter=lora:2",
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHER_SETTINGS)
@pytest.mark.parametrize("step", [9, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 7))])
def test_a_crashed_run_of_other_settings_goes_on_as_if_it_had_not(
    step, kind, model, corpus, dev, tmp_path, monkeypatch
):
    settings = OTHER_SETTINGS[kind]
    run(model, corpus, tmp_path / "whole", dev=dev, settings=settings)
    crash_and_resume(monkeypatch, step, model, corpus, dev, tmp_path / "crashed", settings)
    assert_same_run(tmp_path / "whole", tmp_path / "crashed")


def test_the_logged_loss_is_that_of_an_uninterrupted_run_when_lines_are_rare(
    model, corpus, tmp_path, monkeypatch
):
    extra = ["log_every=4", "save_every=3"]  # saved between two lines of the log
    run(model, corpus, tmp_path / "whole", settings=extra)
    with monkeypatch.context() as patch:
        crash_at(patch, 8)
        with pytest.raises(ConnectionError):
            run(model, corpus, tmp_path / "crashed", settings=extra)
    resume(tmp_path / "crashed", console=quiet())
    assert_same_run(tmp_path / "whole", tmp_path / "crashed")
    assert losses(tmp_path / "whole") == losses(tmp_path / "crashed")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(
    number, whole, model, corpus, dev, tmp_path, monkeypatch
):
    build = textcl.training.session.run_loop

    class Interrupt(Hook):
        def after_update(self, done):
            if done == 5:
                # the handler itself: OpenVINO and V8 together, which other tests load into this process, leave it
                # without a stack to deliver a signal on; test_distributed.py sends a real one to processes of its own
                handler = signal.getsignal(number)
                assert callable(handler)
                handler(number, None)

    def loop(method, *args, **kwargs):
        object.__setattr__(method, "hooks", [*method.hooks, Interrupt()])
        return build(method, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(textcl.training.session, "run_loop", loop)
        with pytest.raises(
            InterruptedRunError, match=r"stopped after update 5 of 12 and saved; .*--resume"
        ) as stopped:
            run(model, corpus, tmp_path / "stopped", dev=dev)
    assert stopped.value.signal_number == number
    resume(tmp_path / "stopped", console=quiet())
    assert_same_run(whole, tmp_path / "stopped")


def kill_once(model, corpus, dev, output, draw, extra=()):
    """Start the command in a process of its own and kill it at a random moment after its first update."""
    sets = [part for setting in last_of_each([*SETTINGS, *extra]) for part in ("--set", setting)]
    command = [
        sys.executable,
        "-m",
        "textcl",
        "train",
        "--recipe",
        "unsup-simcse",
        "--model",
        model,
    ]
    victim = subprocess.Popen(
        [*command, "--data", corpus, "--dev", dev, "--output", str(output), *sets],
        stderr=subprocess.PIPE, text=True, env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    target = draw.randint(1, 12)
    for line in victim.stderr:
        if line.startswith(f"update {target}/"):
            break
    time.sleep(draw.random() * 0.05)
    victim.kill()
    victim.communicate()
    assert victim.returncode in (-signal.SIGKILL, 0)
    return victim.returncode


def check_kills(count, whole, model, corpus, dev, tmp_path, seed, extra=()):
    draw = random.Random(seed)
    torch_threads = torch.get_num_threads()
    for attempt in range(count):
        output = tmp_path / f"killed-{attempt}"
        if kill_once(model, corpus, dev, output, draw, extra) != 0:
            if json.loads((output / "settings.json").read_text())["threads"] != torch_threads:
                pytest.fail("the killed run used another number of threads")
            if not RunFolder(output).finished:
                resume(output, console=quiet())
        assert_same_run(whole, output)


def test_a_killed_run_ends_bit_identical(whole, model, corpus, dev, tmp_path):
    check_kills(1, whole, model, corpus, dev, tmp_path, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("extra", [(), ("adapter=lora:4",)], ids=["weights", "adapter"])
def test_twenty_killed_runs_end_bit_identical(extra, model, corpus, dev, tmp_path):
    run(model, corpus, tmp_path / "whole", dev=dev, settings=extra)
    check_kills(20, tmp_path / "whole", model, corpus, dev, tmp_path, seed=1, extra=extra)


def test_tokens_from_disk_change_nothing(model, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("textcl.data.cache.datasets_config.HF_DATASETS_CACHE", tmp_path / "cache")
    console = quiet()
    run(model, corpus, tmp_path / "table", console=console)
    assert "tokenising 64 texts" in console.file.getvalue()
    monkeypatch.setattr(textcl.training.loader, "cached_tokens", lambda *_: None)
    run(model, corpus, tmp_path / "batches")
    assert_same_run(tmp_path / "table", tmp_path / "batches")


def test_a_run_that_sees_a_part_of_the_rows_tokenises_no_more(model, corpus, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("all rows were tokenised")

    monkeypatch.setattr(textcl.training.loader, "cached_tokens", refuse)
    run(model, corpus, tmp_path / "run", settings=["steps=7"])
    with pytest.raises(AssertionError, match="all rows"):
        run(model, corpus, tmp_path / "epoch", settings=["steps=8"])


def test_a_finished_run_is_not_resumed(whole):
    with pytest.raises(UserError, match="is finished: its model is"):
        resume(whole)


def test_resume_refuses_changed_data(model, corpus, tmp_path, monkeypatch):
    corpus = shutil.copy(corpus, tmp_path)
    with monkeypatch.context() as patch:
        crash_at(patch, 3)
        with pytest.raises(ConnectionError):
            run(model, corpus, tmp_path / "run")
    with Path(corpus).open("a") as file:
        file.write("one more sentence\n")
    with pytest.raises(UserError, match="the data of this run changed"):
        resume(tmp_path / "run", console=quiet())


def test_resume_wants_a_run(tmp_path):
    with pytest.raises(UserError, match=r"is no run: it has no settings\.json"):
        resume(tmp_path)


def test_an_output_that_exists_is_kept(model, corpus, tmp_path):
    out = tmp_path / "run"
    run(model, corpus, out, settings=["steps=1"])
    with pytest.raises(
        UserError, match=r"exists already: --overwrite replaces it, --resume goes on"
    ):
        run(model, corpus, out)
    run(model, corpus, out, overwrite=True, settings=["steps=2"])
    assert json.loads((out / "scores.json").read_text())["steps"] == 2
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.tex").write_text("years of work")
    with pytest.raises(UserError, match="exists already: choose another"):
        run(model, corpus, other, overwrite=True)
    assert (other / "chapter.tex").read_text() == "years of work"


def test_a_batch_larger_than_the_data_is_refused(model, corpus, tmp_path):
    with pytest.raises(
        UserError, match=r"has 64 usable rows, fewer than a batch of 65: .*batch_size=64"
    ):
        run(model, corpus, tmp_path / "run", settings=["batch_size=65"])


def test_one_row_is_refused(model, tmp_path):
    with pytest.raises(UserError, match=r"has 1 usable rows.*needs at least 2"):
        run(model, ["alone"], tmp_path / "run")


def test_no_data_is_said(model, tmp_path):
    with pytest.raises(UserError, match="no training data: name a file"):
        train("unsup-simcse", model=model, output=tmp_path / "run", console=quiet())


def test_a_dry_run_shows_the_batch_and_writes_nothing(model, corpus, dev, tmp_path):
    console = quiet()
    assert run(model, corpus, tmp_path / "run", dev=dev, console=console, dry_run=True) is None
    shown = console.file.getvalue()
    assert "each anchor sees 7 negatives: in-batch 7" in shown
    assert "12 updates of 8 rows, 1.50 epochs" in shown
    assert shown.count("anchor (") == 3
    assert "64 rows" in shown
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite_stops_the_run(model, corpus, tmp_path, monkeypatch):
    def explode(self, z):
        output = plain(self, z)
        steps.append(1)
        return type(output)(output.loss * (math.nan if len(steps) > 6 else 1.0), output.terms)

    from textcl.objectives.contrastive import Contrastive

    steps = []
    run(model, corpus, tmp_path / "short", settings=["steps=1"])
    plain = Contrastive.forward
    monkeypatch.setattr("textcl.training.supervision.describe_negatives", lambda *_, **options: "")
    monkeypatch.setattr(Contrastive, "forward", explode)
    with pytest.raises(
        RunError, match=r"not finite at update 7 .*go on from step-00000006 with --resume"
    ):
        run(model, corpus, tmp_path / "run")
    checkpoints = [p.name for p in (tmp_path / "run" / "checkpoints").iterdir() if p.is_dir()]
    assert checkpoints == ["step-00000006"]


def test_patience_stops_early_and_keeps_the_best(model, corpus, dev, tmp_path, monkeypatch):
    scores = iter([50.0, 60.0, 55.0, 54.0, 53.0])
    monkeypatch.setattr(
        textcl.training.dev.DevPairs, "__call__", lambda self, encoder: next(scores)
    )
    done = run(
        model, corpus, tmp_path / "run", dev=dev, settings=["patience=2", "evaluate_every=2"]
    )
    assert done.position.step == 6
    assert (done.position.best, done.position.best_step) == (60.0, 2)


def test_plain_lines_are_shown_where_there_is_no_terminal(model, corpus, dev, tmp_path):
    console = quiet()
    run(model, corpus, tmp_path / "run", dev=dev, console=console)
    shown = console.file.getvalue()
    assert "update 12/12  loss" in shown
    assert "update 12: dev" in shown
    assert "dev before" in shown
    assert "\x1b" not in shown


def test_a_run_stands_for_its_best_encoder(model, corpus, tmp_path):
    run(model, corpus, tmp_path / "run", settings=["steps=2"])
    texts = ["a man runs", "a dog eats"]
    of_run = textcl.Encoder.from_pretrained(tmp_path / "run").encode(texts)
    assert (of_run == textcl.Encoder.from_pretrained(tmp_path / "run" / "best").encode(texts)).all()


def test_gradient_checkpointing_changes_nothing_but_memory(model, corpus, tmp_path):
    run(model, corpus, tmp_path / "plain", settings=["precision=fp32"])
    run(
        model,
        corpus,
        tmp_path / "again",
        settings=["precision=fp32", "gradient_checkpointing=true"],
    )
    plain, again = weights(tmp_path / "plain"), weights(tmp_path / "again")
    for name in plain:
        torch.testing.assert_close(plain[name], again[name], rtol=1e-4, atol=1e-6)


def test_precisions_agree_but_for_rounding(model, corpus, tmp_path):
    for precision in ("fp32", "bf16"):
        run(model, corpus, tmp_path / precision, settings=[f"precision={precision}", "dropout=0"])
    values = {p: [loss for _, loss, _ in losses(tmp_path / p)] for p in ("fp32", "bf16")}
    assert values["fp32"] != values["bf16"]
    assert values["bf16"] == pytest.approx(values["fp32"], abs=0.05)
    assert all(tensor.dtype == torch.float32 for tensor in weights(tmp_path / "bf16").values())


def test_rows_in_memory_are_trained_and_asked_for_on_resume(model, tmp_path, monkeypatch):
    rows = [f"{first} {second}" for first in WORDS for second in WORDS[:4]]
    run(model, rows, tmp_path / "whole")
    with monkeypatch.context() as patch:
        crash_at(patch, 5)
        with pytest.raises(ConnectionError):
            run(model, rows, tmp_path / "crashed")
    with pytest.raises(UserError, match="started with rows in memory"):
        resume(tmp_path / "crashed", console=quiet())
    resume(tmp_path / "crashed", data=rows, console=quiet())
    assert_same_run(tmp_path / "whole", tmp_path / "crashed")


def test_a_terminal_shows_a_bar_with_loss_dev_and_speed(model, corpus, dev, tmp_path):
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    run(model, corpus, tmp_path / "run", dev=dev, console=console)
    shown = console.file.getvalue()
    assert "12/12" in shown
    assert "rows/s" in shown
    assert "· dev" in shown


def test_weight_decay_spares_biases_norms_and_scalars(model, corpus, tmp_path, monkeypatch):
    groups, make = [], torch.optim.AdamW
    monkeypatch.setattr(
        torch.optim, "AdamW", lambda given, **kwargs: groups.extend(given) or make(given, **kwargs)
    )
    settings = ["weight_decay=0.1", "temperature=learnable:0.1", "steps=1"]
    done = run(model, corpus, tmp_path / "run", settings=settings)
    decayed, spared = groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    assert all(p.ndim >= 2 for p in decayed["params"])
    count = sum(1 for _ in done.encoder.parameters()) + 1  # and the logit scale
    assert len(decayed["params"]) + len(spared["params"]) == count
    assert all(p.ndim < 2 for p in spared["params"])


def test_train_is_a_function_whatever_was_imported_before():
    for module in ("loop", "session"):
        importlib.import_module(f"textcl.training.{module}")
    assert textcl.train is train


def test_no_module_hides_a_public_name():
    import pkgutil

    modules = {module.name for module in pkgutil.iter_modules(textcl.__path__)}
    assert not modules & set(textcl.__all__)


def test_a_wrong_public_name_is_met_with_the_nearest():
    with pytest.raises(AttributeError, match="did you mean Encoder"):
        _ = textcl.Encodr


def test_overwrite_keeps_the_old_run_until_the_new_one_has_something(
    model, corpus, tmp_path, monkeypatch
):
    out = tmp_path / "run"
    run(model, corpus, out, settings=["steps=2"])
    old = weights(out)
    with monkeypatch.context() as patch:
        crash_at(patch, 1)
        with pytest.raises(ConnectionError):
            run(model, corpus, out, settings=["seed=1"], overwrite=True)
    assert all(torch.equal(old[name], tensor) for name, tensor in weights(out).items())
    run(model, corpus, out, settings=["steps=2", "seed=1"], overwrite=True)
    assert any(not torch.equal(old[name], tensor) for name, tensor in weights(out).items())
    assert [path.name for path in tmp_path.iterdir() if "replaced" in path.name] == []


def test_two_processes_cannot_go_on_with_one_run_at_once(model, corpus, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        crash_at(patch, 7)
        with pytest.raises(ConnectionError):
            run(model, corpus, tmp_path / "run")
    with (
        sole_writer(tmp_path / "run" / "checkpoints" / ".lock", "the run"),
        pytest.raises(UserError, match="is being written by process"),
    ):
        resume(tmp_path / "run", console=quiet())
    resume(tmp_path / "run", console=quiet())


def test_an_output_that_cannot_be_made_is_found_before_anything_is_read(model, corpus, monkeypatch):
    with pytest.raises(
        UserError, match=r"corpus\.txt is a file, so nothing can be written under it"
    ):
        train("unsup-simcse", model="nowhere", data="nowhere", output=f"{corpus}/run")
    monkeypatch.setattr("textcl.data.files.os.access", lambda *_: False)
    with pytest.raises(UserError, match="you may not write to the folder"):
        train("unsup-simcse", model="nowhere", data="nowhere")


def test_dev_sentences_that_the_model_cuts_are_counted_before_training(
    model, corpus, dev, tmp_path
):
    shown = Console(file=io.StringIO(), width=400)
    train(
        "unsup-simcse", model=model, data=corpus, dev=dev, dry_run=True, console=shown,
        settings=["batch_size=8", "reading_length=6"],
    )  # fmt: skip
    assert re.search(
        r"dev .* \d+ of \d+ texts have more than the 6 tokens that the model reads: scored cut\.",
        shown.file.getvalue(),
    )


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"settings": "batch_size=4"}, "settings is a list of texts or a dict"),
        ({"recipe": Path("nowhere.py")}, r"recipe file nowhere\.py does not exist"),
        (
            {"dev": "nowhere.jsonl"},
            r"--dev nowhere\.jsonl: there is no such file; name one with sentence1",
        ),
        ({"dev": 0.1}, r"--dev 0\.1: .* a share of the rows is held out for classifiers only"),
    ],
)
def test_arguments_of_another_kind_are_told(asked, message, model, corpus):
    with pytest.raises(UserError, match=message):
        train(
            **{"recipe": "unsup-simcse", "model": model, "data": corpus, "dry_run": True, **asked}
        )


@pytest.mark.parametrize("settings", [[], ["save_every=3", "log_every=100"]])
def test_the_seconds_of_a_run_are_those_of_all_its_updates(
    model, corpus, dev, tmp_path, monkeypatch, settings
):
    """Batches of one second each: whatever the epochs, the log, checkpoints and evaluations, none is lost."""
    clock = [0.0]
    build = textcl.training.session.run_loop

    class Tick(Hook):
        def after_batch(self, embeddings, world):
            clock[0] += 1

    def loop(method, *args, **kwargs):
        object.__setattr__(method, "hooks", [*method.hooks, Tick()])
        return build(method, *args, **kwargs)

    chosen = ["batch_size=32", "log_every=5", "save_every=4", *settings]
    with monkeypatch.context() as patch:
        patch.setattr("textcl.training.position.time.perf_counter", lambda: clock[0])
        patch.setattr(textcl.training.session, "run_loop", loop)
        run(model, corpus, tmp_path / "whole", dev=dev, settings=chosen)
        crash_at(patch, 8)
        with pytest.raises(ConnectionError):
            run(model, corpus, tmp_path / "crashed", dev=dev, settings=chosen)
        before = clock[0]
        patch.setattr(textcl.training.session, "run_loop", loop)
        resume(tmp_path / "crashed", console=quiet())
    assert clock[0] - before < 12
    for folder in (tmp_path / "whole", tmp_path / "crashed"):
        assert json.loads((folder / "scores.json").read_text())["train_seconds"] == 12
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        speeds = [line["rows_per_second"] for line in lines if "loss" in line]
        assert speeds == [32] * len(speeds)
