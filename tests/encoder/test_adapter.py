"""Adapters: only they learn, and every library gives the vectors of a saved one."""

import json
import shutil

import numpy as np
import peft
import pytest
import torch
from families import tiny_model_dir
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

import textcl.encoder.adapter
from textcl import Encoder
from textcl.encoder.adapter import AdapterSpec, merge_adapter
from textcl.encoder.momentum import MomentumEncoder
from textcl.errors import RunError, UserError

TEXTS = ["a man plays", "", "the dog runs in a park and barks"]
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing")  # of peft

KINDS = ("lora:4", "rslora:4", "dora:4")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base") / "model"
    plain = tiny_model_dir(folder.parent)
    Encoder.from_pretrained(plain, pooling="cls").save_pretrained(folder)
    return folder


def trained(base, spec="lora:4"):
    """An encoder whose adapter is no longer at its start."""
    encoder = Encoder.from_pretrained(base, adapter=spec)
    torch.manual_seed(0)
    for name, parameter in encoder.named_parameters():
        if parameter.requires_grad and "magnitude" not in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return encoder


def vectors(encoder):
    return encoder.encode(TEXTS, precision="float32")


@pytest.fixture(scope="module")
def saved(base, tmp_path_factory):
    """Encoders and their folders by kind."""
    made = {}
    for spec in KINDS:
        folder = tmp_path_factory.mktemp("adapters") / "model"
        encoder = trained(base, spec)
        encoder.save_pretrained(folder)
        made[spec] = encoder, folder
    return made


@pytest.mark.parametrize("spec", KINDS)
def test_a_fresh_adapter_changes_no_vector_and_learns_alone(base, spec):
    plain, fresh = Encoder.from_pretrained(base), Encoder.from_pretrained(base, adapter=spec)
    np.testing.assert_allclose(vectors(fresh), vectors(plain), atol=1e-6)
    learned = [name for name, p in fresh.named_parameters() if p.requires_grad]
    assert learned
    assert all("lora_" in name for name in learned)
    fresh.train()(fresh.tokenize(TEXTS)).square().sum().backward()
    assert all(p.grad is None for p in fresh.parameters() if not p.requires_grad)


@pytest.mark.parametrize("spec", KINDS)
def test_textcl_sentence_transformers_and_peft_load_equal_vectors(base, saved, spec):
    encoder, folder = saved[spec]
    expected = vectors(encoder)
    assert np.abs(expected - vectors(Encoder.from_pretrained(base))).max() > 0.1
    assert not (folder / "model.safetensors").exists()
    np.testing.assert_allclose(vectors(Encoder.from_pretrained(folder)), expected, atol=1e-5)
    theirs = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(theirs, expected, atol=1e-5)
    model = peft.PeftModel.from_pretrained(AutoModel.from_pretrained(base), str(folder)).eval()
    rows = encoder.tokenizer(TEXTS, return_tensors="pt", padding=True)
    with torch.no_grad():
        states = model(**rows).last_hidden_state[:, 0]
    np.testing.assert_allclose(states.numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("spec", KINDS)
def test_a_merged_adapter_is_an_ordinary_model(saved, tmp_path, spec):
    encoder = Encoder.from_pretrained(saved[spec][1])
    expected = vectors(encoder)
    merge_adapter(encoder.backbone)
    encoder.save_pretrained(tmp_path / "m")
    assert (tmp_path / "m" / "model.safetensors").exists()
    assert not (tmp_path / "m" / "adapter_config.json").exists()
    loaded = Encoder.from_pretrained(tmp_path / "m")
    np.testing.assert_allclose(vectors(loaded), expected, atol=1e-5)
    assert all(p.requires_grad for p in loaded.parameters())


def test_a_folder_of_peft_alone_has_the_pooling_of_its_base(base, tmp_path):
    model = peft.get_peft_model(
        AutoModel.from_pretrained(base),
        peft.LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False),
    )
    model.save_pretrained(tmp_path / "p")
    encoder = Encoder.from_pretrained(tmp_path / "p")
    assert encoder.pooling == "cls"
    rows = encoder.tokenizer(TEXTS, return_tensors="pt", padding=True)
    with torch.no_grad():
        states = model.eval()(**rows).last_hidden_state[:, 0]
    np.testing.assert_allclose(vectors(encoder), states.numpy(), atol=1e-5)


def test_a_loaded_adapter_learns_on(saved):
    encoder = Encoder.from_pretrained(saved["lora:4"][1])
    assert all(p.requires_grad == ("lora_" in name) for name, p in encoder.named_parameters())


def test_a_momentum_encoder_follows_the_adapter_and_keeps_the_base_exactly(base):
    online = trained(base)
    momentum = MomentumEncoder(online, 0.5)
    before = {name: p.clone() for name, p in momentum.encoder.named_parameters()}
    with torch.no_grad():
        for parameter in online.parameters():
            if parameter.requires_grad:
                parameter.add_(1.0)
    momentum.follow(online)
    for name, parameter in momentum.encoder.named_parameters():
        moved = 0.5 if "lora_" in name else 0.0
        assert torch.equal(parameter, before[name].lerp(before[name] + 2 * moved, 0.5))


@pytest.mark.parametrize("text", ["lora", "lora:", "lora:0", "lora:x", "qlora:4", "lora:99999", ""])
def test_a_wrong_adapter_is_refused(text):
    with pytest.raises(UserError, match="such as lora:16"):
        AdapterSpec.parse(text)


def copied(folder, target, **changes):
    shutil.copytree(folder, target)
    config = json.loads((target / "adapter_config.json").read_text())
    (target / "adapter_config.json").write_text(json.dumps({**config, **changes}))
    return target


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_model_name_or_path": "gone/nowhere"}, "needs its base gone/nowhere: "),
        ({"base_model_name_or_path": None}, "expected the key 'base_model_name_or_path'"),
        ({"peft_type": "IA3"}, "of the kind IA3"),
        ({"megatron_config": {"a": 1}}, "sets megatron_config to"),
        ({"modules_to_save": ["pooler"]}, "sets modules_to_save to"),
        ({"rank_pattern": {"query": 2}}, "sets rank_pattern to"),
        ({"target_modules": 5}, "target_modules: expected a list, not 5"),
        ({"target_modules": ["nothing"]}, "does not fit its base"),
        ({"r": 3}, "does not fit its base"),
        ({"r": "4"}, "r: expected a whole number"),
    ],
)
def test_a_damaged_adapter_is_refused(saved, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        Encoder.from_pretrained(copied(saved["lora:4"][1], tmp_path / "a", **changes))


def test_an_adapter_of_another_base_is_refused(saved, tmp_path):
    wider = tiny_model_dir(tmp_path, hidden=64)
    folder = copied(saved["lora:4"][1], tmp_path / "a", base_model_name_or_path=str(wider))
    with pytest.raises(UserError, match="does not fit its base"):
        Encoder.from_pretrained(folder)
    other = tiny_model_dir(tmp_path / "other", seed=1)
    folder = copied(saved["lora:4"][1], tmp_path / "b", base_model_name_or_path=str(other))
    with pytest.raises(RunError, match="other vectors than when it was saved"):
        Encoder.from_pretrained(folder)


def test_saving_does_not_ask_the_hub_for_the_base(base, tmp_path, monkeypatch):
    encoder = trained(base)
    for config in encoder.backbone.peft_config.values():
        config.base_model_name_or_path = "somebody/base"
    monkeypatch.setattr("peft.utils.save_and_load.file_exists", pytest.fail, raising=False)
    monkeypatch.setattr("peft.utils.save_and_load.check_file_exists_on_hf_hub", pytest.fail)
    encoder.save_pretrained(tmp_path / "a")
    config = json.loads((tmp_path / "a" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "somebody/base"


def test_lost_weights_are_named(saved, tmp_path):
    folder = copied(saved["lora:4"][1], tmp_path / "a")
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(UserError, match=r"adapter_model\.safetensors is no intact"):
        Encoder.from_pretrained(folder)


def test_what_an_adapter_cannot_hold_is_refused(base, saved, monkeypatch):
    with pytest.raises(UserError, match="cut layers are not stored in an adapter"):
        Encoder.from_pretrained(base, adapter="lora:4", num_layers=1)
    with pytest.raises(UserError, match="pooling 'first_last' is not stored in an adapter"):
        Encoder.from_pretrained(base, adapter="lora:4", pooling="first_last")
    with pytest.raises(UserError, match="has an adapter already"):
        Encoder.from_pretrained(saved["lora:4"][1], adapter="lora:4")
    monkeypatch.setattr(textcl.encoder.adapter.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"textcl-train\[peft\]"):
        Encoder.from_pretrained(base, adapter="lora:4")
