"""Every command × Ctrl-C, SIGTERM, a full disk and an existing output."""

import errno
import importlib
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
import typer
from families import tiny_model_dir
from safetensors import SafetensorError
from signals import deliver

import textcl.cli
from textcl.cli.app import app
from textcl.data.lock import sole_writer
from textcl.errors import UserError
from textcl.training.recorder import Recorder

for name in ("textcl.export.write", "textcl.retrieval.index"):
    importlib.import_module(name)  # before a test replaces a function that it imports

COMMANDS = {  # what each command does its work in, and how it is called
    "train": ("textcl.training.session.train", ["--recipe", "quickstart", "-o", "out"]),
    "sweep": ("textcl.sweep.run.Sweep.run", ["--recipe", "quickstart", "-o", "out"]),
    "recipes": ("textcl.cli.recipes._list", []),
    "encode": ("textcl.cli.encode.load_encoder", ["m", "x.txt", "-o", "out.npy"]),
    "predict": ("textcl.cli.predict.load_classifier", ["m", "x.txt", "-o", "out.csv"]),
    "calibrate": (
        "textcl.classifier.columns.load_classifier",
        ["m", "x.txt", "-o", "out"],
    ),
    "reject": (
        "textcl.cli.reject.parse_columns",
        ["m", "x.csv", "-o", "out"],
    ),
    "export": (
        "textcl.encoder.encoder.Encoder.from_pretrained",
        ["m", "-o", "out", "--backend", "openvino"],
    ),
    "index": ("textcl.cli.index.load_model", ["x.txt", "-m", "m", "-o", "out"]),
    "mine": ("textcl.cli.mine.load_model", ["m", "pairs.csv", "-o", "out.jsonl"]),
    "search": ("textcl.retrieval.index.Index.load", ["m", "a text", "-o", "out.jsonl"]),
    "neighbours": ("textcl.retrieval.index.Index.load", ["m", "1"]),
    "eval": ("textcl.cli.eval_encoder.load", ["m", "--task", "sample-pairs-dev", "-o", "out.json"]),
    "probe": ("textcl.probe.models.probe_models", ["m", "-o", "out.json"]),
    "review": ("textcl.data.rows.settle_roles", ["x.csv", "-m", "m", "-o", "out"]),
    "report": ("textcl.report.write.write_report", ["m", "-o", "out.html"]),
}
SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture
def textcl_in(monkeypatch, capsys, tmp_path):
    """Runs a command in a folder with a text; gives its exit code and standard error."""
    # a process that was started in the background, as by nohup, ignores Ctrl-C
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.txt").write_text("one text\n")
    (tmp_path / "pairs.csv").write_text("anchor,positive\na question,an answer\n")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["textcl", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            textcl.cli.main()
        return stopped.value.code or 0, capsys.readouterr().err

    yield run
    signal.signal(signal.SIGINT, before)


def test_no_command_is_left_out():
    assert typer.main.get_command(app).commands.keys() == COMMANDS.keys()


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_stopped_command_says_what_is_kept(monkeypatch, textcl_in, name, number):
    place, arguments = COMMANDS[name]
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(place, lambda *_args, **_options: deliver(number))
    monkeypatch.setattr("textcl.export.backends.find_backend", lambda name: None)
    monkeypatch.setattr("textcl.cli.sweep.show", lambda sweep: None)
    monkeypatch.setattr("textcl.cli.sweep.draw", lambda sweep: None)
    code, err = textcl_in(name, *arguments)
    assert code == 128 + number, err
    lines = [line for line in err.splitlines() if line.startswith("textcl: ")]
    assert len(lines) == 1
    assert lines[0].startswith("textcl: stopped; ")
    assert "Traceback" not in err
    assert signal.getsignal(signal.SIGTERM) is handler


@pytest.mark.parametrize(
    "name", [name for name, (_, options) in COMMANDS.items() if "-o" in options]
)
def test_an_existing_output_is_refused_before_any_work(monkeypatch, textcl_in, tmp_path, name):
    place, arguments = COMMANDS[name]
    place = {"train": "textcl.training.session.recipes.find"}.get(name, place)
    monkeypatch.setattr(place, lambda *_args, **_options: pytest.fail("went to work"))
    monkeypatch.setattr("textcl.export.backends.find_backend", lambda name: None)
    output = tmp_path / arguments[arguments.index("-o") + 1]
    if output.suffix:
        output.write_text("old")
    else:
        output.mkdir()
        (output / "old").write_text("old")
    code, err = textcl_in(name, *arguments)
    assert code == 2, err
    assert f"{output.name} exists already" in err
    kept = output if output.suffix else output / "old"
    assert kept.read_text() == "old"


def below_a_file(_monkeypatch, output):
    """A folder that a regular file stands in the way of."""
    return f"x.txt/{output}", "x.txt is a file, so nothing can be written under it"


def read_only(monkeypatch, output):
    """A folder that nothing can be written in; the user of the tests may be root, who may write everywhere."""
    access = os.access

    def no_writing(path, mode, **options):
        return not mode & os.W_OK and access(path, mode, **options)

    monkeypatch.setattr(os, "access", no_writing)
    return output, "you may not write to the folder"


MORE_OUTPUTS = {  # beside the output that -o names
    "eval --figures": ("eval", ["m", "--task", "sample-pairs-dev", "--figures", "out"]),
    "report --figures": ("report", ["m", "-o", "r.html", "--figures", "out"]),
    "report --atlas": ("report", ["m", "-o", "r.html", "--atlas", "out.parquet"]),
    "mine --audit": ("mine", ["m", "pairs.csv", "-o", "o.jsonl", "--audit", "out.html"]),
    "encode folder": ("encode", ["m", "x.txt", "-o", "out/"]),
    "calibrate": ("calibrate", ["out", "x.txt"]),
    "reject": ("reject", ["out", "x.csv"]),
}
OUTPUTS = {
    **{name: (name, options) for name, (_, options) in COMMANDS.items() if "-o" in options},
    **MORE_OUTPUTS,
}


@pytest.mark.parametrize("hinder", [below_a_file, read_only])
@pytest.mark.parametrize("case", OUTPUTS)
def test_an_output_that_cannot_be_written_is_refused_before_any_work(
    monkeypatch, textcl_in, tmp_path, case, hinder
):
    name, arguments = OUTPUTS[case]
    place = COMMANDS[name][0]
    place = {"train": "textcl.training.session.recipes.find"}.get(name, place)
    monkeypatch.setattr(place, lambda *_args, **_options: pytest.fail("went to work"))
    monkeypatch.setattr("textcl.export.backends.find_backend", lambda name: None)
    monkeypatch.setattr("textcl.encoder.folder_hash.model_sha256", lambda folder: "ab")
    if arguments == ["m", "x.txt", "-o", "out/"]:
        monkeypatch.setattr("textcl.encoder.hub.find_model", Path)
    output = next(each for each in arguments if each.startswith("out"))
    hindered, message = hinder(monkeypatch, output)
    if case in ("calibrate", "reject"):  # in place
        if hinder is below_a_file:
            return
        tiny_model_dir(tmp_path, layers=1).rename(tmp_path / "out")
    code, err = textcl_in(name, *(hindered if each == output else each for each in arguments))
    assert code == 2, err
    assert message in err


def test_a_folder_that_is_gone_on_with_is_found_to_be_read_only(monkeypatch, tmp_path):
    read_only(monkeypatch, "out")
    with (
        pytest.raises(UserError, match="you may not write to the folder"),
        sole_writer(tmp_path / "out" / ".lock", "the sweep or the index"),
    ):
        pytest.fail("went to work")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "weights"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
        shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")]),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_one_sentence(monkeypatch, textcl_in, name, error):
    def full(*_args, **_options):
        raise error

    place, arguments = COMMANDS[name]
    monkeypatch.setattr(place, full)
    monkeypatch.setattr("textcl.export.backends.find_backend", lambda name: None)
    monkeypatch.setattr("textcl.cli.sweep.show", lambda sweep: None)
    monkeypatch.setattr("textcl.cli.sweep.draw", lambda sweep: None)
    code, err = textcl_in(name, *arguments)
    assert code == 1
    assert err.splitlines()[-1].startswith("textcl: the disk")
    assert "is full: free some space" in err


def test_a_run_that_is_terminated_is_saved_and_ends_with_143(monkeypatch, textcl_in, tmp_path):
    write_line = Recorder.write_line

    def terminated(recorder, line):
        deliver(signal.SIGTERM)
        return write_line(recorder, line)

    monkeypatch.setattr(Recorder, "write_line", terminated)
    (tmp_path / "x.txt").write_text("".join(f"a man runs {i}\n" for i in range(16)))
    code, err = textcl_in(
        "train", "--recipe", "unsup-simcse", "--model", tiny_model_dir(tmp_path / "model"),
        "--data", "x.txt", "--dev", "", "-o", "run", "--set", "batch_size=4",
        "--set", "pooling=mean", "--set", "log_every=1", "-q",
    )  # fmt: skip
    assert code == 143, err
    assert "textcl train --resume run" in err
    assert any((tmp_path / "run" / "checkpoints").glob("step-*"))
