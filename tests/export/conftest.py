"""One export for all tests of this folder: making it takes seconds."""

import importlib.util
import shutil

import families
import pytest

import textcl.export.write
from textcl.export import backends
from textcl.export.write import export_encoder


@pytest.fixture(scope="session")
def exports(tmp_path_factory):
    """A tiny encoder, and its export for each backend that is installed."""
    encoder = families.tiny_encoder("bert", layers=1, normalize=True)
    encoder.prompts = {"query": "find: "}
    encoder.tokenizer.init_kwargs["max_length"] = (
        5  # of an older library, not the length of the model
    )
    place = tmp_path_factory.mktemp("exports")
    program_of, traced = textcl.export.write.program_of, []
    with pytest.MonkeyPatch.context() as patch:  # torch traces the encoder once for all

        def trace(graph, encoder):
            traced.extend([] if traced else [program_of(graph, encoder)])
            return traced[0]

        patch.setattr(textcl.export.write, "program_of", trace)
        made = {
            name: export_encoder(encoder, place / name, name)
            for name, packages in backends.BACKENDS.items()
            if all(importlib.util.find_spec(package) for package in packages)
        }
    return encoder, made


@pytest.fixture
def converted(exports, monkeypatch):
    """The encoder of `exports`; whoever exports it now gets its float32 graphs as copies of those."""
    encoder, made = exports

    def copy(library, program, path, kind):
        backend = library.__name__.rpartition(".")[2]
        for file in made[backend].folder.glob(f"{path.stem}*"):
            shutil.copy(file, path.parent)

    monkeypatch.setattr(textcl.export.write, "program_of", lambda graph, encoder: None)
    monkeypatch.setattr(textcl.export.write, "convert", copy)
    return encoder
