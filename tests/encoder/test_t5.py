"""The encoders of T5: from folders of the whole model too, and in the layout of sentence-t5."""

from __future__ import annotations

import families
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import (
    Dense,
    Normalize,
    Pooling,
    Transformer,
)
from transformers import AutoModelForSeq2SeqLM, AutoModelForTextEncoding, BartConfig, BartModel

from textcl import Encoder
from textcl.errors import UserError

TEXTS = ["a dog runs in the street", "two men play the guitar in a park by night", "", "one"]


def vectors(encoder):
    return encoder.encode(TEXTS, precision="float32")


@pytest.fixture(params=("t5", "umt5"), scope="module")
def whole(request, tmp_path_factory):
    """A folder of the encoder and the decoder."""
    folder = tmp_path_factory.mktemp("whole") / request.param
    torch.manual_seed(0)
    model = AutoModelForSeq2SeqLM.from_config(families.tiny_config(request.param))
    model.save_pretrained(folder)
    families.tiny_tokenizer(request.param).save_pretrained(folder)
    return folder


def test_the_encoder_of_a_whole_model_gives_the_vectors_of_transformers(whole, tmp_path):
    encoder = Encoder.from_pretrained(whole, pooling="mean")
    rows = encoder.tokenizer(TEXTS, padding=True, return_tensors="pt")
    mask = rows["attention_mask"]
    with torch.no_grad():
        states = AutoModelForTextEncoding.from_pretrained(whole)(
            input_ids=rows["input_ids"], attention_mask=mask
        ).last_hidden_state
    theirs = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    np.testing.assert_allclose(vectors(encoder), theirs.numpy(), atol=1e-4)
    encoder.save_pretrained(tmp_path / "saved")
    assert not any(
        "decoder" in name for name in load_file(tmp_path / "saved" / "model.safetensors")
    )
    np.testing.assert_allclose(
        vectors(Encoder.from_pretrained(tmp_path / "saved")), vectors(encoder), atol=1e-5
    )
    both = SentenceTransformer(str(tmp_path / "saved"), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(both, vectors(encoder), atol=1e-5)


def test_a_folder_of_sentence_t5_gives_its_vectors(whole, tmp_path):
    transformer = Transformer(str(whole), max_seq_length=32)
    modules = [
        transformer,
        Pooling(32, "mean"),
        Dense(32, 24, bias=False, activation_function=torch.nn.Identity()),
        Normalize(),
    ]
    model = SentenceTransformer(modules=modules, device="cpu")
    model.save_pretrained(str(tmp_path / "st"))
    encoder = Encoder.from_pretrained(tmp_path / "st")
    assert (encoder.dimension, encoder.normalize, encoder.max_length) == (24, True, 32)
    np.testing.assert_allclose(vectors(encoder), model.encode(TEXTS), atol=1e-5)
    encoder.save_pretrained(tmp_path / "again")
    again = SentenceTransformer(str(tmp_path / "again"), device="cpu")
    np.testing.assert_allclose(again.encode(TEXTS), model.encode(TEXTS), atol=1e-5)


def test_layers_dropout_and_adapters(tmp_path):
    folder = families.tiny_model_dir(tmp_path, "t5")
    encoder = Encoder.from_pretrained(folder, num_layers=1, dropout=0.25)
    assert len(encoder.backbone.encoder.block) == 1
    rates = {m.p for m in encoder.backbone.modules() if isinstance(m, torch.nn.Dropout)}
    assert rates == {0.25}
    adapted = Encoder.from_pretrained(folder, adapter="lora:2")
    adapted.save_pretrained(tmp_path / "adapter")
    again = Encoder.from_pretrained(tmp_path / "adapter")
    np.testing.assert_allclose(vectors(again), vectors(adapted), atol=1e-5)


@pytest.mark.parametrize(("key", "other"), [("d_model", 64), ("num_layers", 7), ("vocab_size", 5)])
def test_a_config_of_another_model_is_refused(key, other, tmp_path):
    folder = families.tiny_model_dir(tmp_path, "t5")
    path, value = folder / "config.json", families.tiny_config("t5").to_dict()[key]
    path.write_text(path.read_text().replace(f'"{key}": {value}', f'"{key}": {other}'))
    with pytest.raises(UserError, match=str(folder)):
        Encoder.from_pretrained(folder)


def test_weights_that_lack_a_layer_are_refused(tmp_path):
    folder = families.tiny_model_dir(tmp_path, "t5")
    weights = load_file(folder / "model.safetensors")
    lost = next(name for name in weights if "block.1" in name)
    save_file({k: v for k, v in weights.items() if k != lost}, folder / "model.safetensors")
    with pytest.raises(UserError, match="lack 1 tensors"):
        Encoder.from_pretrained(folder)


def test_other_models_with_a_decoder_are_refused(tmp_path):
    config = BartConfig(
        vocab_size=99, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16,
    )  # fmt: skip
    BartModel(config).save_pretrained(tmp_path / "b")
    families.tiny_tokenizer().save_pretrained(tmp_path / "b")
    with pytest.raises(UserError, match="a bart model of an encoder and a decoder, which textcl"):
        Encoder.from_pretrained(tmp_path / "b")
