"""Decoders as encoders: vectors of transformers and sentence-transformers, from either side of padding."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import families
import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import AutoConfig, AutoModel, AutoTokenizer

from textcl import Encoder
from textcl.errors import UserError

TEXTS = ["a dog runs in the street", "two men play the guitar in a park by night", "", "one"]
LONG = " ".join(["the dog runs"] * 40)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of transformers of every family."""
    place = tmp_path_factory.mktemp("plain")
    for family in families.DECODERS:
        families.tiny_model_dir(place, family)
    return place


def load(folder: Path, **options: object) -> Encoder:
    return Encoder.from_pretrained(folder, device="cpu", **options)  # pyright: ignore[reportArgumentType]


def vectors(encoder: Encoder) -> np.ndarray:
    return encoder.encode(TEXTS, precision="float32")


def by_transformers(folder: Path, pooling: str, side: str) -> np.ndarray:
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side=side)
    rows = tokenizer(TEXTS, padding=True, return_tensors="pt")
    mask = rows["attention_mask"]
    with torch.no_grad():
        states = AutoModel.from_pretrained(folder)(
            input_ids=rows["input_ids"], attention_mask=mask
        ).last_hidden_state
    if pooling == "mean":
        return ((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)).numpy()
    places = torch.arange(mask.shape[1]) * mask
    return states[torch.arange(len(TEXTS)), places.argmax(1)].numpy()


@pytest.mark.parametrize("family", families.DECODERS)
def test_vectors_are_those_of_transformers_on_either_side_of_padding(family, plain):
    encoder = load(plain / family)
    for pooling, side in product(("lasttoken", "mean"), ("left", "right")):
        assert encoder.pooling == pooling
        encoder.tokenizer.padding_side = side
        theirs = by_transformers(plain / family, pooling, side)
        np.testing.assert_allclose(vectors(encoder), theirs, atol=1e-4)
        encoder.pooling = "lasttoken" if side == "left" and pooling == "lasttoken" else "mean"


@pytest.mark.parametrize(
    ("family", "side"), [*zip(families.DECODERS, ["left", "right"] * 3, strict=True)]
)
def test_saved_folders_open_in_sentence_transformers(family, side, plain, tmp_path):
    for bidirectional in (None, True):
        encoder = load(plain / family, bidirectional=bidirectional)
        assert encoder.pooling == ("mean" if bidirectional else "lasttoken")
        encoder.tokenizer = AutoTokenizer.from_pretrained(plain / family, padding_side=side)
        encoder.save_pretrained(tmp_path / f"{bidirectional}")
        again = load(tmp_path / f"{bidirectional}")
        assert again.tokenizer.padding_side == side
        np.testing.assert_allclose(vectors(again), vectors(encoder), atol=1e-5)
        theirs = SentenceTransformer(str(tmp_path / f"{bidirectional}"), device="cpu")
        np.testing.assert_allclose(theirs.encode(TEXTS), vectors(encoder), atol=1e-5)
    assert np.abs(vectors(encoder) - vectors(load(plain / family))).max() > 0.1


def test_a_bidirectional_folder_can_be_made_causal_again(plain, tmp_path):
    both = load(plain / "qwen3", pooling="lasttoken", bidirectional=True)
    both.save_pretrained(tmp_path / "both")
    causal = load(tmp_path / "both", bidirectional=False)
    np.testing.assert_allclose(vectors(causal), vectors(load(plain / "qwen3")), atol=1e-6)


def test_gemma_by_its_own_word_stays_bidirectional(plain, tmp_path):
    encoder = load(plain / "gemma3_text")
    config = type(encoder.backbone.config)(
        **encoder.backbone.config.to_dict() | {"use_bidirectional_attention": True}
    )
    model = AutoModel.from_config(config)
    model.load_state_dict(encoder.backbone.state_dict())
    Encoder(model.eval(), encoder.tokenizer, pooling="mean").save_pretrained(tmp_path / "g")
    again = load(tmp_path / "g", bidirectional=True)
    theirs = SentenceTransformer(str(tmp_path / "g"), device="cpu")
    # older versions of transformers halve it once more when a folder is opened
    assert again.backbone.config.sliding_window == theirs[0].auto_model.config.sliding_window
    np.testing.assert_allclose(theirs.encode(TEXTS), vectors(again), atol=1e-5)
    with pytest.raises(UserError, match="was made bidirectional in its training"):
        load(tmp_path / "g", bidirectional=False)


def test_families_without_two_directions_are_refused_by_name(tmp_path):
    folder = families.tiny_model_dir(tmp_path)
    for bidirectional in (True, False):
        with pytest.raises(UserError, match=r"bidirectional is for decoders .*, not for bert"):
            load(folder, bidirectional=bidirectional)


@pytest.mark.parametrize("pooling", ["cls", "first_token", "mean+cls"])
def test_a_first_token_that_sees_nothing_is_refused(pooling, plain):
    with pytest.raises(UserError, match=r"do not see the text after them: use lasttoken or"):
        load(plain / "llama", pooling=pooling)
    assert load(plain / "llama", pooling=pooling, bidirectional=True).pooling == pooling


def test_cut_texts_keep_the_end_token(plain):
    encoder = load(plain / "qwen3", max_length=9)
    tokens = encoder.tokenize([LONG, "a dog"])
    assert tokens.lengths.tolist() == [9, 3]
    ends = tokens.ids[tokens.offsets[1:] - 1].tolist()
    assert ends == [encoder.tokenizer.eos_token_id] * 2


def test_prompts_by_role(plain):
    encoder = load(plain / "qwen3")
    encoder.prompts = {"query": "find the dog : ", "document": ""}
    texts = [text for text in TEXTS if text]
    asked = encoder.encode(["find the dog : " + text for text in texts], precision="float32")
    queries = encoder.encode_query(texts, precision="float32")
    np.testing.assert_allclose(queries, asked, atol=1e-6)
    documents = encoder.encode_document(texts, precision="float32")
    np.testing.assert_allclose(documents, vectors(encoder)[[0, 1, 3]], atol=1e-6)


def test_an_adapter_has_the_direction_of_its_base(plain, tmp_path):
    with pytest.raises(UserError, match="bidirectional=true is not stored in an adapter"):
        load(plain / "qwen3", bidirectional=True, adapter="lora:2")
    load(plain / "qwen3", bidirectional=True).save_pretrained(tmp_path / "base")
    encoder = load(tmp_path / "base", adapter="lora:2")
    for name, parameter in encoder.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    encoder.save_pretrained(tmp_path / "adapter")
    np.testing.assert_allclose(vectors(load(tmp_path / "adapter")), vectors(encoder), atol=1e-5)
    theirs = SentenceTransformer(str(tmp_path / "adapter"), device="cpu")
    np.testing.assert_allclose(theirs.encode(TEXTS), vectors(encoder), atol=1e-5)


def test_a_model_that_reads_pictures_too_is_refused(tmp_path):
    folder = families.tiny_model_dir(tmp_path, "gemma3_text")
    text = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({"model_type": "gemma3", "text_config": text}))
    with pytest.raises(UserError, match="a gemma3 model that reads more than text"):
        load(folder)


def test_other_decoders_run_with_padding(tmp_path):
    config = AutoConfig.for_model(
        "gpt2", vocab_size=200, n_embd=32, n_layer=2, n_head=2, n_positions=64, bos_token_id=0,
        eos_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(tmp_path)
    families.tiny_tokenizer("llama").save_pretrained(tmp_path)
    encoder = load(tmp_path)
    assert encoder.pooling == "lasttoken"
    theirs = by_transformers(tmp_path, "lasttoken", "right")
    np.testing.assert_allclose(vectors(encoder), theirs, atol=1e-4)
    with pytest.raises(UserError, match=r"bidirectional is for decoders .*, not for gpt2 models"):
        load(tmp_path, bidirectional=True)


@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "vocab_size"])
def test_a_config_of_another_model_is_refused(key, plain, tmp_path):
    folder = families.tiny_model_dir(tmp_path, "qwen3")
    path = folder / "config.json"
    value = families.tiny_config("qwen3").to_dict()[key]
    path.write_text(path.read_text().replace(f'"{key}": {value}', f'"{key}": {value * 3}'))
    with pytest.raises(UserError, match=rf"{folder}.*{key}"):
        load(folder)


def test_a_tokenizer_with_more_tokens_than_embeddings_is_refused(tmp_path):
    folder = families.tiny_model_dir(tmp_path, "llama")
    tokenizer = families.tiny_tokenizer("llama")
    tokenizer.add_tokens(["unheard", "of"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(UserError, match="the model has embeddings for"):
        load(folder)
