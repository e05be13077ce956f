"""Every file of every kind of folder that textcl writes × every damage: read rightly, or one sentence.

Folders of encoders alone are in tests/encoder/test_damaged_folders.py, sweep.json in tests/sweep/test_sweep.py.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from families import tiny_encoder, tiny_model_dir
from rich.console import Console
from typer.testing import CliRunner

import textcl
from textcl.classifier.classifier import Classifier
from textcl.classifier.columns import ColumnsClassifier
from textcl.classifier.head import ClassificationHead
from textcl.cli.app import app
from textcl.errors import RunError, UserError
from textcl.export.load import load_encoder
from textcl.retrieval import Index
from textcl.training.recorder import Recorder
from textcl.training.session import resume

TEXTS = ["a dog", "two cats", "a bird", "no fish"]
SETTINGS = {"batch_size": 4, "steps": 2, "max_length": 8, "log_every": 1, "save_every": 1}
NUMBER = re.compile(rb"(?<=[:\[ ,])-?\d+(\.\d+)?(e-?\d+)?")
TEXT = re.compile(rb'"[^"]*"(?=[,\]\n}])')

Damage = Callable[[bytes], bytes]
DAMAGES: Mapping[str, Damage] = {
    "empty": lambda content: b"",
    "an empty object": lambda content: b"{}",
    "an empty list": lambda content: b"[]",
    "null": lambda content: b"null",
    "cut": lambda content: content[: len(content) * 2 // 3],
    "brackets": lambda content: b"[" * 100_000,
    "objects": lambda content: b'{"a":' * 100_000,
    "no text": lambda content: b"\xff\xfe\x00" * 50,
    "huge numbers": lambda content: NUMBER.sub(b"1" + b"0" * 400, content),
    "large numbers": lambda content: NUMBER.sub(b"1000000000", content),
    "negative numbers": lambda content: NUMBER.sub(b"-7", content),
    "no numbers": lambda content: NUMBER.sub(b"NaN", content),
    "objects for texts": lambda content: TEXT.sub(b"{}", content),
    "pointer": lambda content: (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    ),
}
FEW = ("missing", "cut", "huge numbers")


def of_command(*arguments: object) -> None:
    """Run a command; what it raises is raised here, but for the exit code."""
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception


def stopped_run(model: Path, folder: Path) -> None:
    """A run that was killed at its last update."""

    def killed(*_: object) -> None:
        raise ConnectionError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "finish", killed)
        with pytest.raises(ConnectionError):
            finished_run(model, folder)


def finished_run(model: Path, folder: Path) -> None:
    textcl.train(
        "unsup-simcse", model=model, data=TEXTS * 4, dev="", output=folder, settings=SETTINGS,
        console=Console(quiet=True),
    )  # fmt: skip


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Folders by kind, each made when it is asked for, and what reads it."""
    place = tmp_path_factory.mktemp("kinds")
    encoder, model = tiny_encoder(layers=1), tiny_model_dir(place, layers=1)
    encoder.save_pretrained(place / "encoder")
    texts = place / "texts.txt"
    texts.write_text("\n".join(TEXTS))
    classifier = Classifier(encoder, ClassificationHead(encoder.dimension, 2), ["x", "y"])

    def vectors(folder):
        of_command("encode", place / "encoder", texts, "-o", f"{folder}/", "-q")

    def export(folder):
        pytest.importorskip("onnxruntime")
        textcl.export_encoder(encoder, folder, backend="onnx")

    def index(dtype, kind="exact"):
        return lambda folder: Index.build(encoder, TEXTS, folder, dtype=dtype, kind=kind)

    def search(folder):
        Index.load(folder, encoder).search(["a dog"], 3)

    parts = {
        name: Classifier(encoder, ClassificationHead(encoder.dimension, 2), ["x", "y"])
        for name in ("topic", "tone")
    }
    columns = ColumnsClassifier(parts)
    makers = {
        "label columns": (columns.save_pretrained, ColumnsClassifier.from_pretrained),
        "classifier": (classifier.save_pretrained, Classifier.from_pretrained),
        "export": (export, load_encoder),
        "vectors": (vectors, vectors),
        "index": (index("float32"), search),
        "index of int8": (index("int8"), search),
        "index of a graph": (index("float32", "hnsw"), search),
        "stopped run": (
            lambda folder: stopped_run(model, folder),
            lambda folder: resume(folder, data=TEXTS * 4, console=Console(quiet=True)),
        ),
        "run": (
            lambda folder: finished_run(model, folder),
            lambda folder: of_command(
                "report", folder, "-o", place / "r.html", "--overwrite", "-q"
            ),
        ),
    }

    def kind(name):
        make, read = makers[name]
        folder = place / name.replace(" ", "-")
        if not folder.exists():
            make(folder)
        return folder, read

    return kind


KINDS = ("classifier", "index", "stopped run")
LATE = ("label columns", "export", "vectors", "index of int8", "index of a graph", "run")
SHARED = {"model.safetensors", "tokenizer.json", "config.json", "tokenizer_config.json"}


@pytest.mark.parametrize(
    ("name", "damages"),
    [
        *[(name, FEW) for name in KINDS],
        *[
            pytest.param(name, ("missing", *DAMAGES), marks=pytest.mark.slow)
            for name in (*KINDS, *LATE)
        ],
    ],
)
def test_a_damaged_file_is_read_or_told_in_one_sentence(kinds, name, damages, tmp_path):
    intact, read = kinds(name)
    files = sorted(path.relative_to(intact) for path in intact.rglob("*") if path.is_file())
    assert len(files) > 2
    for file in files:
        if file.name in SHARED and damages is FEW:  # as in the folder of an encoder
            continue
        for number, damage in enumerate(damages):
            folder = tmp_path / f"{number}-{file.name}"
            shutil.copytree(intact, folder)
            content = (folder / file).read_bytes()
            if damage == "missing":
                (folder / file).unlink()
            else:
                (folder / file).write_bytes(DAMAGES[damage](content))
            try:
                read(folder)
            except (UserError, RunError) as error:
                if not 20 < len(str(error)) < 700:
                    pytest.fail(f"{file} {damage}: {error}")
            except Exception as error:
                pytest.fail(f"{file} {damage}: {type(error).__name__}: {error}")
            shutil.rmtree(folder)
