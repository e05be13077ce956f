"""Batches of `encode`: what is run again when memory is short, and how vectors leave a card."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from families import tiny_encoder
from pretended_card import CARD, OnCard, pretended_card

from textcl.encoder import batches, blocks
from textcl.errors import RunError

TEXTS = ["a dog runs", "", "two", "the man plays guitar in the street of the city"] * 5


def short_of_memory(encoder, monkeypatch, most):
    """The encoder fails for batches of more tokens; returns the sizes that it was asked for."""
    asked, embed = [], encoder.embed_filled

    def embed_few(tokens, usual):
        asked.append(len(tokens.ids))
        if len(tokens.ids) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return embed(tokens, usual)

    monkeypatch.setattr(encoder, "embed_filled", embed_few)
    return asked


def test_a_batch_that_does_not_fit_is_halved(monkeypatch, caplog):
    encoder = tiny_encoder()
    expected = encoder.encode(TEXTS, precision="float32")
    asked = short_of_memory(encoder, monkeypatch, 40)
    vectors = encoder.encode(TEXTS, precision="float32")
    np.testing.assert_allclose(vectors, expected, atol=1e-6)
    assert asked[0] > 40
    assert "out of memory: going on with batches of" in caplog.text


def test_a_text_that_does_not_fit_is_one_sentence(monkeypatch):
    encoder = tiny_encoder()
    short_of_memory(encoder, monkeypatch, 5)
    with pytest.raises(RunError, match="a single text of 12 positions does not fit into memory"):
        encoder.encode(TEXTS, precision="float32")


def test_a_batch_fits_into_the_memory_that_is_free():
    assert batches.fitting_tokens(80 * 2**30, 768, 65536) == 65536
    assert batches.fitting_tokens(2**30, 768, 65536) == 2**29 // (13 * 4 * 768)
    assert batches.fitting_tokens(1000, 768, 65536) == 1
    assert batches.usual_budget(torch.device("cpu"), 768) == 2048


def test_vectors_leave_a_card_without_a_wait_until_they_are_asked_for():
    numbers = torch.arange(6.0).view(2, 3)
    with pretended_card() as card:
        fetch = blocks.to_host(OnCard(numbers))
        assert not card.waits
        there = fetch()
        assert card.waits == ["? synchronize"]
    np.testing.assert_array_equal(there, blocks.to_host(numbers)())
    assert CARD.type == "cuda"
