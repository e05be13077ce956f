"""The command itself: exit codes, one clear sentence for every mistake, a traceback only when asked."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from families import tiny_model_dir

import textcl.cli
from textcl.training import checkpoint
from textcl.training import recipes as recipe
from textcl.training.position import Position
from textcl.training.run_folder import RunFolder
from textcl.training.trained import Trained


def run(monkeypatch, capsys, *arguments):
    """Exit code, standard output and standard error of a command."""
    monkeypatch.setattr(sys, "argv", ["textcl", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        textcl.cli.main()
    out, err = capsys.readouterr()
    return stopped.value.code or 0, out, err


def test_version_and_help(monkeypatch, capsys):
    code, out, _err = run(monkeypatch, capsys, "--version")
    assert (code, out.split()[0]) == (0, "textcl")
    for command in ((), ("train",), ("eval",), ("encode",), ("recipes",)):
        code, out, _err = run(monkeypatch, capsys, *command, "--help")
        assert code == 0, _err
        assert "Example" in out


def test_recipes_are_listed_shown_and_copied(monkeypatch, capsys, tmp_path):
    code, out, _err = run(monkeypatch, capsys, "recipes")
    assert code == 0, _err
    assert all(name in out for name in recipe.names())
    assert max(map(len, out.splitlines())) <= 80
    heads = [line.split(" (")[0] for line in out.splitlines() if " (columns " in line]
    assert heads[:5] == ["sentences", "words", "pairs", "triplets", "graded pairs"]
    assert "texts with classes" in heads
    code, out, _err = run(monkeypatch, capsys, "recipes", "show", "unsup-simcse")
    assert code == 0, _err
    assert "76.25" in out
    assert "temperature" in out
    assert "roberta-large: batch_size=512" in out
    code, _, _err = run(
        monkeypatch, capsys, "recipes", "copy", "unsup-simcse", tmp_path / "mine.py"
    )
    assert code == 0, _err
    assert recipe.find(str(tmp_path / "mine.py")).roles == ("text",)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "which recipe? --recipe NAME"),
        (["train", "--recipe", "unsup-simsce"], "did you mean unsup-simcse"),
        (["train", "--recipe", "quickstart", "--set", "batchsize=3"], "did you mean batch_size"),
        (["train", "--recipe", "quickstart", "--set", "precision=fp16"], "precision=fp16 needs a GPU"),
        (["train", "--recipe", "quickstart", "--set", "trackers=nosuch"], "trackers is a list, each one of aim"),
        (["train", "--recipe", "quickstart", "--data", "missing.txt"], "missing.txt"),
        (["train", "--recipe", "unsup-simcse", "--column", "text"], "expected --column ROLE=NAME, got 'text'"),
        (["train", "--recipe", "quickstart", "--dev", "STSBenchmark-def"], "STSBenchmark-dev"),
        (["train", "--resume", "nowhere"], "nowhere is no run"),
        (
            ["train", "--recipe", "quickstart", "--set", "batch_size=3", "--set", "batch-size=4"],
            "--set batch_size is given twice: '3' and '4'",
        ),
        (["train", "--recipe", "quickstart", "--recipe", "lcl"], "--recipe is given twice and takes one"),
        (["encode", "m", "x.txt", "-o", "a.npy", "--output", "b.npy"], "--output is given twice"),
        (["review", "x.csv", "-m", "m", "-o", "x.html"], "x.html is named like a file, and a folder is"),
        (["train", "--resume", "x", "--model", "bert"], "leave the other options out"),
        (["eval", "no/such/model", "--suite", "sample"], "no/such/model"),
        (["encode", "some/model", "missing.txt", "-o", "out.npy"], "missing.txt"),
        (["recipes", "show", "simcse"], "did you mean"),
        (["recipes", "show"], "which recipe? textcl recipes show NAME"),
        (["train", "--no-such-option"], "No such option"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_in_one_sentence_with_exit_code_2(
    monkeypatch, capsys, tmp_path, arguments, message
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(monkeypatch, capsys, *arguments)
    assert code == 2, err
    assert message in err
    assert "Traceback" not in err
    assert out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("at", "line"),
    [
        (Position(before=50.0, best=60.126), "dev before 50.00, after 60.13; model: runs/a/best\n"),
        (Position(), "model: runs/a/best\n"),
    ],
)
def test_a_quiet_run_prints_its_result_alone(monkeypatch, capsys, at, line):
    def train(*_, console, **options):
        console.print("training")
        return None if options["dry_run"] else Trained(RunFolder(Path("runs/a")), None, at, None)

    monkeypatch.setattr("textcl.training.session.train", train)
    asked = "train", "--recipe", "quickstart", "--quiet"
    assert run(monkeypatch, capsys, *asked) == (0, line, "")
    assert run(monkeypatch, capsys, *asked, "--dry-run") == (0, "", "training\n")


def test_a_failure_has_exit_code_1_and_a_traceback_only_with_debug(monkeypatch, capsys):
    def broken(*_args, **_kwargs):
        raise RuntimeError("out of luck")

    monkeypatch.setattr("textcl.training.session.train", broken)
    code, _, err = run(monkeypatch, capsys, "train", "--recipe", "quickstart")
    assert code == 1, err
    assert err == "textcl: RuntimeError: out of luck (run again with --debug for the traceback)\n"
    monkeypatch.setattr(sys, "argv", ["textcl", "train", "--recipe", "quickstart", "--debug"])
    with pytest.raises(RuntimeError, match="out of luck"):
        textcl.cli.main()


def test_a_full_disk_is_told_and_the_last_checkpoint_stays(monkeypatch, capsys, tmp_path):
    model = tiny_model_dir(tmp_path / "model")
    (tmp_path / "corpus.txt").write_text("".join(f"a man runs {i}\n" for i in range(16)))
    save, calls = checkpoint.save_file, []

    def full(tensors, path):
        calls.append(path)
        if len(calls) > 4:  # two files a checkpoint: the third one fails
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        save(tensors, path)

    monkeypatch.setattr("textcl.training.checkpoint.save_file", full)
    output = tmp_path / "run"
    code, _, err = run(
        monkeypatch, capsys, "train", "--recipe", "unsup-simcse", "--model", model, "--data",
        tmp_path / "corpus.txt", "--dev", "", "--output", output, "--set", "batch_size=4",
        "--set", "save_every=1", "--set", "pooling=mean",
    )  # fmt: skip
    assert code == 1, err
    assert "is full; the checkpoint before it is kept" in err, err
    kept = [p.name for p in (output / "checkpoints").glob("step-*") if p.suffix != ".part"]
    assert kept == ["step-00000002"]


def test_offline_is_set_before_anything_is_imported(monkeypatch, capsys):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    run(monkeypatch, capsys, "recipes", "--offline")
    import os

    assert os.environ["HF_HUB_OFFLINE"] == "1"


def test_help_is_shown_without_the_heavy_libraries():
    script = (
        "import atexit, sys, textcl.cli\n"
        "atexit.register(lambda: print(*sys.modules))\n"
        "textcl.cli.main()\n"
    )
    command = [sys.executable, "-c", script, "encode", "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "--truncate-dim" in shown
    heavy = {"torch", "transformers", "datasets", "pandas", "pyarrow", "scipy", "sklearn"}
    assert not heavy & set(shown.split())
