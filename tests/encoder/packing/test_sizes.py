"""Rows of filling make batches of few sizes, and change no vector."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from families import tiny_encoder
from pretended_card import CARD, pretended_card
from torch.utils._python_dispatch import _disable_current_modes

import textcl
from textcl.encoder.packing.sizes import filled_up, with_filling
from textcl.types import Tokens


@pytest.mark.parametrize(
    ("longest", "round"), [(2, 16), (16, 16), (17, 32), (50, 64), (130, 160), (512, 512)]
)
@pytest.mark.parametrize("rows", [1, 8, 128, 1024])
def test_sizes_are_round(rows, longest, round):
    lengths = torch.from_numpy(np.random.default_rng(0).integers(1, longest + 1, rows))
    lengths[-1] = longest
    tokens = Tokens(torch.arange(int(lengths.sum())), lengths)
    filled, filling = with_filling(tokens, most=512)
    assert torch.equal(filled.lengths[:rows], lengths)
    assert len(filled) == rows + filling
    assert filled.lengths[-1] == filled.lengths.max() == round
    assert filled.lengths.min() > 0
    assert len(filled.ids) % 64 == 0
    extra = len(filled.ids) - len(tokens.ids) - int(filled.lengths[-1])
    assert extra <= max(64, len(tokens.ids) / 16) + filling


def test_no_row_grows_beyond_what_the_model_takes():
    tokens = Tokens(torch.arange(20), torch.tensor([7, 13]))
    assert with_filling(tokens, most=14)[0].lengths.max() == 14
    assert with_filling(tokens, most=3)[0].lengths.max() == 13


def test_batches_of_a_cpu_have_few_sizes():
    sizes = set()
    for count in range(1, 2049):
        lengths = torch.tensor([count // 3, count - count // 3])
        filled = filled_up(Tokens(torch.arange(count), lengths), 2048)
        assert torch.equal(filled.lengths[:2], lengths)
        filling = filled.lengths[2:]
        assert filling.sum() == len(filled.ids) - count
        assert ((filling > 0) & (filling <= 16)).all()
        assert len(filled.ids) < max(count + 16, 1.25 * count + 1)
        sizes.add(len(filled.ids))
    assert len(sizes) == 24


def test_a_budget_of_ones_own_is_a_size():
    def size(count):
        return len(filled_up(Tokens(torch.arange(count), torch.tensor([count])), 2500).ids)

    assert [size(n) for n in (2000, 2400, 2500, 2600)] == [2048, 2512, 2512, 3072]


def test_encoding_meets_few_sizes_and_gives_the_same_vectors(monkeypatch):
    encoder, sizes = tiny_encoder(pooling="cls+mean"), []
    texts = ["a dog runs", "", "two", "the man plays guitar in the street of the city"] * 9
    one_by_one = np.concatenate([encoder.encode([text], precision="float32") for text in texts])
    forward = encoder.backbone.forward

    def noted(input_ids, **inputs):
        sizes.append(input_ids.shape[1])
        return forward(input_ids=input_ids, **inputs)

    monkeypatch.setattr(encoder.backbone, "forward", noted)
    vectors = encoder.encode(texts, precision="float32", batch_tokens=100)
    assert set(sizes) == {16, 96}
    np.testing.assert_allclose(vectors, one_by_one, atol=1e-6)


@pytest.mark.parametrize("pooling", ["cls+mean+max+lasttoken", "first_last"])
def test_vectors_and_gradients_are_those_without_filling(pooling):
    encoder = tiny_encoder("roberta", pooling=pooling).eval()
    texts = ["a dog runs", "", "two", "the man plays guitar in the street of the city"] * 3
    tokens = encoder.tokenize(texts)

    def gradient(rounded):
        vectors = encoder(encoder.plan(tokens, rounded=rounded))
        (
            vectors
            * torch.arange(float(vectors.numel()))
            .cos()
            .to(vectors, non_blocking=True)
            .view_as(vectors)
        ).sum().backward()
        found, encoder_weight.grad = (vectors.detach().numbers, encoder_weight.grad.numbers), None
        return found

    with pretended_card(Path(textcl.__file__).parent):
        encoder.to(CARD)
        encoder_weight = encoder.backbone.encoder.layer[0].output.dense.weight
        assert encoder.plan(tokens, rounded=True).filling
        plain, rounded = gradient(False), gradient(True)
    with _disable_current_modes():
        for a, b in zip(plain, rounded, strict=True):
            torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-5)
