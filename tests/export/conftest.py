"""One export for all tests of this folder: making it takes seconds."""

import importlib.util

import families
import pytest

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
    made = {
        name: export_encoder(encoder, place / name, name)
        for name, packages in backends.BACKENDS.items()
        if all(importlib.util.find_spec(package) for package in packages)
    }
    return encoder, made
