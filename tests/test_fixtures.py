"""Folders that an earlier version wrote load, give the same vectors, and go on: see fixtures/README.md."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file

from textcl import Classifier, Encoder
from textcl.training import resume

FIXTURES = Path(__file__).parent / "fixtures"
TEXTS = ["a man runs", "the cat eats red food", "", "a dog plays in the street with a ball"]
VECTORS = load_file(FIXTURES / "vectors.safetensors")


def test_an_encoder_gives_the_vectors_that_it_gave():
    vectors = Encoder.from_pretrained(FIXTURES / "saved").encode(TEXTS, precision="float32")
    np.testing.assert_allclose(vectors, VECTORS["encoder"], atol=1e-5)


def test_a_classifier_gives_the_logits_that_it_gave():
    logits = Classifier.from_pretrained(FIXTURES / "classifier").logits(TEXTS, precision="float32")
    np.testing.assert_allclose(logits, VECTORS["classifier"], atol=1e-5)


def test_an_export_gives_the_vectors_that_it_gave():
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from textcl.export import load_encoder

    vectors = load_encoder(str(FIXTURES / "exported"), "onnx").encode(TEXTS)
    np.testing.assert_allclose(vectors, VECTORS["export"], atol=1e-5)


def test_a_stopped_run_goes_on_and_ends_where_it_would_have(tmp_path, monkeypatch):
    for name in ("encoder", "stopped"):
        shutil.copytree(FIXTURES / name, tmp_path / name)
    shutil.copy(FIXTURES / "rows.jsonl", tmp_path)
    monkeypatch.chdir(tmp_path)  # its settings name model and data relative to it
    done = resume("stopped", console=Console(file=io.StringIO()))
    lines = (tmp_path / "stopped" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert losses == pytest.approx(json.loads((FIXTURES / "losses.json").read_text()), rel=1e-5)
    vectors = done.encoder.encode(TEXTS, precision="float32")
    np.testing.assert_allclose(vectors, VECTORS["run"], atol=1e-4)
