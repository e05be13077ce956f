"""Prompts that the tokens of a text see and the pooling leaves out, as sentence-transformers does."""

from __future__ import annotations

import json
from importlib import metadata

import families
import numpy as np
import pytest
import torch
from recipe_rows import recipe_rows
from sentence_transformers import SentenceTransformer
from transformers import AutoTokenizer

from textcl import Encoder
from textcl.encoder.folder import ST_POOLINGS
from textcl.encoder.pooling import pool
from textcl.errors import UserError
from textcl.export.graph import EncoderGraph
from textcl.training import recipes
from textcl.training.session import train
from textcl.types import Tokens

OLDER = int(metadata.version("sentence-transformers").partition(".")[0]) < 6
TEXTS = ["a dog runs in the street", "two men play the guitar in a park by night", "", "one"]
PROMPTS = {"query": "find the dog : ", "document": ""}


def model(family="bert", **options):
    return families.tiny_encoder(
        family, prompts=PROMPTS, default_prompt="query", include_prompt=False, **options
    )


@pytest.mark.parametrize("family", ["bert", "qwen3"])
@pytest.mark.parametrize("pooling", [*ST_POOLINGS, "mean+lasttoken"])
def test_vectors_are_those_of_sentence_transformers(pooling, family, tmp_path):
    if OLDER and pooling in ("cls", "weightedmean"):
        pytest.skip("sentence-transformers before 6 pools a prompt that is left out here")
    encoder = model(family, pooling=pooling)
    if family == "qwen3":
        families.tiny_tokenizer(family).save_pretrained(tmp_path / "t")
        encoder.tokenizer = AutoTokenizer.from_pretrained(tmp_path / "t", padding_side="left")
    encoder.save_pretrained(tmp_path / "saved")
    ours = encoder.encode(TEXTS, precision="float32")
    theirs = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(theirs.encode(TEXTS), ours, atol=1e-5)
    np.testing.assert_allclose(
        theirs.encode(TEXTS, prompt_name="document"),
        encoder.encode_document(TEXTS, precision="float32"),
        atol=1e-5,
    )
    if not (pooling == "cls" and family == "qwen3"):
        again = Encoder.from_pretrained(tmp_path / "saved")
        assert not again.include_prompt
        np.testing.assert_allclose(again.encode(TEXTS, precision="float32"), ours, atol=1e-6)
    encoder.include_prompt = True
    assert np.abs(encoder.encode(TEXTS) - ours).max() > 0.1 or pooling == "lasttoken"


@pytest.mark.parametrize("pooling", ["mean", "max", "cls", "lasttoken", "weightedmean"])
def test_rows_are_pooled_behind_their_own_beginning(pooling):
    lengths, left_out = torch.tensor([5, 0, 3, 2]), torch.tensor([2, 2, 0, 3])
    hidden = torch.randn(10, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = pool({-1: hidden}, lengths, pooling, left_out=left_out)
    weights = torch.tensor([3.0, 4.0, 5.0], dtype=torch.float64)
    rest = hidden[2:5]
    expected = {
        "mean": rest.mean(0),
        "max": rest.amax(0),
        "cls": rest[0],
        "lasttoken": rest[-1],
        "weightedmean": (weights[:, None] * rest).sum(0) / weights.sum(),
    }[pooling]
    torch.testing.assert_close(found[0], expected)
    assert (found[[1, 3]] == 0).all()
    torch.testing.assert_close(found[2:3], pool({-1: hidden[5:8]}, lengths[2:3], pooling))


def test_the_number_travels_with_its_rows():
    encoder = model()
    marked, plain = encoder.reader()(TEXTS), encoder.tokenize(TEXTS)
    assert marked.prompt.tolist() == [8] * 4  # [CLS], "find" in four letters, the dog :
    both = Tokens.concatenate([plain, marked])
    assert both.prompt.tolist() == [0] * 4 + marked.prompt.tolist()
    vectors = encoder(both)
    torch.testing.assert_close(vectors[:4], encoder(plain))
    torch.testing.assert_close(encoder(both.take(torch.tensor([7, 0]))), vectors[[7, 0]])
    torch.testing.assert_close(encoder(both.rows(3, 6)), vectors[3:6])


def test_training_leaves_them_out_too(tmp_path):
    model().save_pretrained(tmp_path / "start")
    rows = recipe_rows(recipes.find("unsup-simcse").roles)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    seen = []
    forward = Encoder.forward

    def watched(self, tokens):
        seen.append(tokens.prompt)
        return forward(self, tokens)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Encoder, "forward", watched)
        train(
            "unsup-simcse", model=str(tmp_path / "start"), data=str(tmp_path / "rows.jsonl"),
            dev="", output=tmp_path / "run", settings=["batch_size=8", "steps=3"],
        )  # fmt: skip
    left_out = model().reader().left_out
    assert left_out > 0
    assert all((prompt == left_out).all() for prompt in seen)
    assert not Encoder.from_pretrained(tmp_path / "run/best").include_prompt


def test_a_graph_refuses_them():
    with pytest.raises(UserError, match="leaves its prompts out of the pooling"):
        EncoderGraph(model())
