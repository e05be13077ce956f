"""Weights in fewer bits: what is kept so, what learns beside them, and where they are refused."""

from __future__ import annotations

import families
import numpy as np
import pytest
import torch

from textcl import Encoder
from textcl.encoder.storage import loading_options
from textcl.errors import RunError, UserError
from textcl.training.settings import TrainSettings

TEXTS = ["a dog runs in the street", "two men play the guitar in a park by night", "one"]


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "model"
    plain = families.tiny_model_dir(folder.parent, "qwen3")
    Encoder.from_pretrained(plain).save_pretrained(folder)
    return folder


def cosines(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_bfloat16_weights_give_nearly_the_same_vectors(base):
    plain = Encoder.from_pretrained(base)
    low = Encoder.from_pretrained(base, weights="bfloat16")
    assert {p.dtype for p in low.backbone.parameters()} == {torch.bfloat16}
    found = low.encode(TEXTS)
    assert found.dtype == np.float32
    assert cosines(found, plain.encode(TEXTS, precision="float32")).min() > 0.999


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing")  # of peft
def test_an_adapter_beside_them_learns_in_float32_and_loads_beside_others(base, tmp_path):
    torch.manual_seed(0)
    encoder = Encoder.from_pretrained(base, weights="bfloat16", adapter="lora:4")
    learned = [p for p in encoder.parameters() if p.requires_grad]
    assert {p.dtype for p in learned} == {torch.float32}
    for name, parameter in encoder.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    encoder.train()(encoder.tokenize(TEXTS)).square().sum().backward()
    assert all(p.grad is not None for p in learned)
    encoder.eval().save_pretrained(tmp_path / "adapter")
    for weights in ("float32", "bfloat16"):
        again = Encoder.from_pretrained(tmp_path / "adapter", weights=weights)
        assert {p.dtype for p in again.parameters() if p.requires_grad} == {torch.float32}
        assert cosines(again.encode(TEXTS), encoder.encode(TEXTS)).min() > 0.999


def test_a_folder_saved_from_them_is_still_checked(base, tmp_path):
    Encoder.from_pretrained(base, weights="bfloat16").save_pretrained(tmp_path / "low")
    loaded = Encoder.from_pretrained(tmp_path / "low")
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    for size, wanted in (("1.0", UserError), ("-1", UserError), ('"x"', UserError)):
        parity = tmp_path / "low/textcl_parity.json"
        text = parity.read_text()
        parity.write_text(text.replace('"rounding": 0.05', f'"rounding": {size}'))
        with pytest.raises(wanted, match="rounding"):
            Encoder.from_pretrained(tmp_path / "low")
        parity.write_text(text)
    loaded.backbone.layers[0].mlp.down_proj.weight.data *= 3
    loaded.backbone.save_pretrained(tmp_path / "low")
    with pytest.raises(RunError, match="gives other vectors than when it was saved"):
        Encoder.from_pretrained(tmp_path / "low")


def test_settings_ask_for_an_adapter():
    with pytest.raises(UserError, match="setting base_weights=bfloat16 needs an adapter"):
        TrainSettings(base_weights="bfloat16")
    settings = TrainSettings(base_weights="bfloat16", adapter="lora:16")
    assert settings.base_weights == "bfloat16"


def test_other_weights_are_refused_by_name(base, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"4 bits need a CUDA device, .* use bfloat16"):
        Encoder.from_pretrained(base, weights="4bit")
    with pytest.raises(UserError, match="float32, bfloat16 or 4bit, not 'int3'"):
        Encoder.from_pretrained(base, weights="int3")


def test_four_bits_without_their_library(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match="need bitsandbytes: pip install"):
        loading_options("4bit")


@pytest.mark.gpu
def test_four_bits_on_a_gpu(base, tmp_path):
    pytest.importorskip("bitsandbytes")
    plain = Encoder.from_pretrained(base)
    encoder = Encoder.from_pretrained(base, weights="4bit", adapter="lora:4")
    kinds = {type(module).__name__ for module in encoder.backbone.modules()}
    assert "Linear4bit" in kinds
    vectors = plain.encode(TEXTS, precision="float32")
    assert cosines(encoder.encode(TEXTS), vectors).min() > 0.8
    encoder.train()(encoder.tokenize(TEXTS)).square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters() if p.requires_grad)
    encoder.eval().save_pretrained(tmp_path / "adapter")
