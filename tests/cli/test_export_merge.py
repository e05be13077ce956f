"""`textcl export --backend torch` merges an adapter, and refuses what has none."""

import numpy as np
import pytest
from families import tiny_model_dir
from typer.testing import CliRunner

from textcl import Encoder
from textcl.classifier.classifier import Classifier
from textcl.classifier.head import make_head
from textcl.cli.app import app
from textcl.encoder.adapter import has_adapter
from textcl.errors import UserError


def export(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)], catch_exceptions=False)


def test_the_adapter_of_a_classifier_is_merged_and_the_classes_stay(tmp_path):
    encoder = Encoder.from_pretrained(tiny_model_dir(tmp_path), adapter="lora:2")
    for parameter in encoder.parameters():
        if parameter.requires_grad:
            parameter.data.fill_(0.05)
    classifier = Classifier(
        encoder, make_head("own", "bert", encoder.dimension, 2), ["a", "b"]
    ).eval()
    classifier.save_pretrained(tmp_path / "c")
    result = export(tmp_path / "c", "-o", tmp_path / "m", "--backend", "torch")
    assert result.exit_code == 0, result.output
    merged = Classifier.from_pretrained(tmp_path / "m")
    assert list(merged.classes) == ["a", "b"]
    want, got = (c.logits(["a b"], precision="float32") for c in (classifier, merged))
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert not has_adapter(merged.encoder.backbone)
    result = export(tmp_path / "c", "-o", tmp_path / "t", "--backend", "static")
    assert "its encoder alone is exported, without the classes" in result.stderr


def test_an_adapter_is_merged(tmp_path):
    base = tiny_model_dir(tmp_path)
    encoder = Encoder.from_pretrained(base, adapter="lora:2")
    for parameter in encoder.parameters():
        if parameter.requires_grad:
            parameter.data.fill_(0.05)
    encoder.save_pretrained(tmp_path / "a")
    result = export(tmp_path / "a", "-o", tmp_path / "m", "--backend", "torch")
    assert result.exit_code == 0, result.output
    assert "the adapter is merged; largest difference" in result.stderr
    merged = Encoder.from_pretrained(tmp_path / "m").encode(["a b"], precision="float32")
    np.testing.assert_allclose(merged, encoder.encode(["a b"], precision="float32"), atol=1e-5)
    with pytest.raises(UserError, match="has no adapter to merge"):
        export(tmp_path / "m", "-o", tmp_path / "x", "--backend", "torch")
    with pytest.raises(UserError, match="--int8 is for a graph"):
        export(tmp_path / "a", "-o", tmp_path / "x", "--backend", "torch", "--int8")
