"""Every command × Ctrl-C, SIGTERM, a full disk and an existing output."""

import errno
import importlib
import shutil
import signal
import sys

import pytest
import typer
from families import tiny_model_dir
from safetensors import SafetensorError
from signals import deliver

import textcl.cli
from textcl.cli.app import app
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
        "textcl.classifier.classifier.Classifier.from_pretrained",
        ["m", "x.txt", "-o", "out"],
    ),
    "reject": (
        "textcl.data.rows.load_rows",
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
    "eval": ("textcl.cli.eval._load", ["m", "--task", "sample-pairs-dev", "-o", "out.json"]),
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
