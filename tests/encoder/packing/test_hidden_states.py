"""Packed rows must give what padded rows give, for every family."""

from __future__ import annotations

import logging
from dataclasses import replace
from itertools import pairwise
from typing import Any
from unittest.mock import Mock

import families
import pytest
import torch
from transformers import AutoModel

from textcl.encoder.packing import attention, card
from textcl.encoder.packing.attention import Packing
from textcl.encoder.packing.calling import is_packed
from textcl.encoder.packing.hidden_states import hidden_states
from textcl.encoder.packing.padded import _warn_padded, padded_hidden_states
from textcl.encoder.packing.reach import Reach
from textcl.errors import UserError
from textcl.types import Changes, Tokens
from textcl.views.cutoff import CutFeatures, CutSpan, CutTokens, ShufflePositions
from textcl.views.view import View

PACKED = {"albert", "bert", "roberta", "xlm-roberta", "electra", "distilbert", "modernbert"} | set(
    families.DECODERS
)
FAMILIES = (*families.FAMILIES, "albert", *families.DECODERS)
LAYERS = (0, 1, -1)


def exact(family: str, tolerance: float = 1e-9) -> dict[str, float]:
    """How close float64 comes: the norms of Gemma go through float32."""
    return dict.fromkeys(("atol", "rtol"), 1e-4 if family == "gemma3_text" else tolerance)


def random_tokens(family: str, seed: int = 0) -> Tokens:
    """Rows of random lengths, among them 0, 1 and the maximum, in no order."""
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, families.LENGTH, (12,), generator=generator)
    lengths[[2, 5, 7, 8]] = torch.tensor([1, families.LENGTH, 0, 1])
    vocabulary = len(families.tiny_tokenizer(family))
    return Tokens(torch.randint(5, vocabulary, (int(lengths.sum()),), generator=generator), lengths)


def padded(model: torch.nn.Module, tokens: Tokens) -> dict[int, torch.Tensor]:
    filled = tokens.take((tokens.lengths > 0).nonzero()[:, 0])
    states, mask = padded_hidden_states(model, filled, LAYERS)
    return {layer: state[mask] for layer, state in states.items()}


def gradients(model: torch.nn.Module, output: torch.Tensor) -> dict[str, torch.Tensor]:
    model.zero_grad()
    numbers = torch.linspace(-1, 1, output.numel(), dtype=output.dtype, device=output.device)
    upstream = numbers.view_as(output)
    (output * upstream).sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(ours: dict[str, Any], theirs: dict[str, Any], **tolerance: float) -> None:
    assert ours.keys() == theirs.keys()
    for key in ours:
        torch.testing.assert_close(ours[key], theirs[key], **tolerance)


def assert_near(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    """Gradients in bfloat16: those of single weights, which sums of both signs leave near 0, differ by more."""
    assert ours.keys() == theirs.keys()
    largest = max(float(x.float().norm()) for x in theirs.values())
    for key, other in theirs.items():
        difference = float((ours[key].float() - other.float()).norm())
        assert difference < 0.05 * float(other.float().norm()) + 0.01 * largest, key


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_hidden_states_equal_padded(family):
    model, tokens = families.tiny_model(family), random_tokens(family)
    assert is_packed(model) == (family in PACKED)
    assert_same(hidden_states(model, tokens, LAYERS), padded(model, tokens), atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_packed_gradients_equal_padded(family):
    # In float64 (where ModernBERT still rotates in float32), so that only a real difference shows.
    model, tokens = families.tiny_model(family).double(), random_tokens(family, seed=1)
    ours = gradients(model, hidden_states(model, tokens)[-1])
    theirs = gradients(model, padded(model, tokens)[-1])
    assert_same(ours, theirs, **exact(family))


def test_padding_token_inside_a_roberta_text_is_counted_as_padded_does():
    model, tokens = families.tiny_model("roberta"), random_tokens("roberta")
    tokens.ids[[3, 40]] = model.config.pad_token_id
    assert_same(hidden_states(model, tokens, LAYERS), padded(model, tokens), atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", ["bert", "modernbert", "qwen3", "gemma3_text"])
def test_attention_with_repadding_equals_attention_by_length(family, monkeypatch):
    # What runs on CUDA, here on the CPU.
    model, tokens = families.tiny_model(family).double(), random_tokens(family)
    by_length = hidden_states(model, tokens)[-1]
    expected = gradients(model, by_length)
    monkeypatch.setattr(attention, "_attend_by_length", card.attend_padded)
    repadded = hidden_states(model, tokens)[-1]
    torch.testing.assert_close(repadded, by_length, **exact(family))
    assert_same(gradients(model, repadded), expected, **exact(family))


def slow_varlen_attn(q, k, v, starts, starts_k, longest, longest_k, *, scale, window_size):
    """What `torch.nn.attention.varlen.varlen_attn` says it does, one row after another."""
    assert starts is starts_k
    assert starts.dtype == torch.int32
    assert longest == longest_k == int(starts.diff().max())
    left, right = window_size
    rows = []
    for start, stop in pairwise(starts.tolist()):
        scores = torch.einsum("ihd,jhd->hij", q[start:stop], k[start:stop]) * scale
        ahead = torch.arange(stop - start) - torch.arange(stop - start)[:, None]
        hidden = ((left >= 0) & (ahead < -left)) | ((right >= 0) & (ahead > right))
        scores = scores.masked_fill(hidden, float("-inf"))
        rows.append(torch.einsum("hij,jhd->ihd", scores.softmax(-1), v[start:stop]))
    return torch.cat(rows)


@pytest.mark.parametrize("family", ["bert", "modernbert", "qwen3", "gemma3_text"])
def test_attention_without_padding_on_cuda_is_called_as_it_asks(family, monkeypatch):
    model, tokens = families.tiny_model(family).double(), random_tokens(family)
    by_length = hidden_states(model, tokens)[-1]
    expected = gradients(model, by_length)
    monkeypatch.setattr(card, "varlen_attn", slow_varlen_attn)
    monkeypatch.setattr(attention, "_attend_by_length", card.attend_varlen)
    varlen = hidden_states(model, tokens)[-1]
    torch.testing.assert_close(varlen, by_length, **exact(family))
    assert_same(gradients(model, varlen), expected, **exact(family))


def slow_flash_forward(q, k, v, starts, starts_k, longest, longest_k, p, causal, debug, **options):
    """The operator behind flash attention, without the dropout that it is asked for."""
    assert p == 0.25
    assert not debug
    window = options["window_size_left"], options["window_size_right"]
    assert causal == (window[1] == 0)
    options = {"scale": options["scale"], "window_size": window}
    return slow_varlen_attn(q, k, v, starts, starts_k, longest, longest_k, **options), None


@pytest.mark.parametrize("family", ["bert", "modernbert", "qwen3", "gemma3_text"])
def test_attention_without_padding_but_with_dropout_is_called_as_it_asks(family, monkeypatch):
    model, tokens = families.tiny_model(family).double(), random_tokens(family)
    by_length = hidden_states(model, tokens)[-1]
    expected = gradients(model, by_length)
    monkeypatch.setattr(card, "flash_forward", slow_flash_forward)

    def attend(q, k, v, packing, scale, dropout, reach):
        return card.attend_flash(q, k, v, packing, scale, 0.25, reach)

    monkeypatch.setattr(attention, "_attend_by_length", attend)
    flash = hidden_states(model, tokens)[-1]
    torch.testing.assert_close(flash, by_length, **exact(family))
    assert_same(gradients(model, flash), expected, **exact(family))


@pytest.mark.parametrize(
    ("rows", "length", "dropout", "expected"),
    [
        (128, 16, 0.0, card.attend_varlen),
        (128, 16, 0.1, card.attend_flash),
        (128, 128, 0.1, card.attend_flash),
        (1024, 16, 0.1, card.attend_padded),
        (1024, 128, 0.1, card.attend_flash),
    ],
)
def test_the_kind_of_attention_on_a_card_is_the_faster_one(
    rows, length, dropout, expected, monkeypatch
):
    monkeypatch.setattr(card, "takes_packed", lambda value: True)
    packing = Packing(torch.full((rows,), length))
    assert card.attention_for(torch.zeros(1), packing, dropout) is expected
    hidden = Packing(packing.lengths, torch.ones(rows * length, dtype=torch.bool))
    assert card.attention_for(torch.zeros(1), hidden, dropout) is card.attend_padded


@pytest.mark.gpu
def test_dropout_without_padding_is_dropout_on_a_gpu():
    """Without dropout the padded contexts, and with it their mean over many masks."""
    generator = torch.Generator("cuda").manual_seed(0)
    lengths = torch.tensor([3, 3, 9, 40])
    shape = int(lengths.sum()), 2, 64
    inputs = [
        torch.randn(
            shape, generator=generator, device="cuda", dtype=torch.bfloat16
        ).requires_grad_()
        for _ in range(3)
    ]
    packing, scale = Packing(lengths), 0.125
    padded = card.attend_padded(*inputs, packing, scale, 0.0, Reach())
    flash = card.attend_flash(*inputs, packing, scale, 0.0, Reach())
    torch.testing.assert_close(flash.float(), padded.float(), atol=0.02, rtol=0.02)
    for ours, theirs in zip(
        torch.autograd.grad(flash.float().square().sum(), inputs),
        torch.autograd.grad(padded.float().square().sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(ours.float(), theirs.float(), atol=0.05, rtol=0.05)
    with torch.no_grad():
        draws = [card.attend_flash(*inputs, packing, scale, 0.2, Reach()) for _ in range(2000)]
    mean = torch.stack([draw.float() for draw in draws]).mean(0)
    assert not torch.equal(draws[0], draws[1])
    torch.testing.assert_close(mean, padded.detach().float(), atol=0.06, rtol=0.06)


def test_attention_without_padding_is_for_cuda_alone():
    assert card.varlen_attn is not None
    assert not card.takes_packed(torch.zeros(1, 2, 3, 64, dtype=torch.bfloat16))


@pytest.mark.gpu
@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert", "qwen3", "gemma3_text"])
def test_attention_without_padding_equals_repadding_on_a_gpu(family, monkeypatch):
    model, tokens = families.tiny_model(family).cuda().bfloat16(), random_tokens(family).to("cuda")
    monkeypatch.setattr(card, "varlen_attn", Mock(wraps=card.varlen_attn))
    varlen = hidden_states(model, tokens)[-1]
    assert card.varlen_attn.called
    monkeypatch.setattr(card, "takes_packed", lambda _: False)
    repadded = hidden_states(model, tokens)[-1]
    wide = (
        varlen.float(),
        repadded.float(),
    )  # a cosine that is itself computed in bfloat16 errs by a percent
    assert torch.nn.functional.cosine_similarity(*wide).min() > 0.999
    assert_near(gradients(model, varlen), gradients(model, repadded))


PACKED_KINDS = [_ for _ in FAMILIES if _ in PACKED]


@pytest.mark.parametrize("family", PACKED_KINDS)
def test_attention_in_buckets_equals_attention_by_length(family, monkeypatch):
    # What runs in training with dropout or in bfloat16, here without both.
    model, tokens = families.tiny_model(family).double(), random_tokens(family)
    by_length = hidden_states(model, tokens)[-1]
    expected = gradients(model, by_length)
    monkeypatch.setattr(attention, "_attend_by_length", attention._attend_in_buckets)
    in_buckets = hidden_states(model, tokens)[-1]
    torch.testing.assert_close(in_buckets, by_length, **exact(family))
    assert_same(gradients(model, in_buckets), expected, **exact(family))


@pytest.mark.parametrize("family", PACKED_KINDS)
def test_attention_in_buckets_equals_padded_in_float32(family, monkeypatch):
    monkeypatch.setattr(attention, "_attend_by_length", attention._attend_in_buckets)
    model, tokens = families.tiny_model(family), random_tokens(family, seed=2)
    ours, theirs = hidden_states(model, tokens, LAYERS), padded(model, tokens)
    assert_same(ours, theirs, atol=1e-5, rtol=0)
    scale = max(float(g.abs().max()) for g in gradients(model, theirs[-1]).values())
    ours, theirs = (
        gradients(model, hidden_states(model, tokens)[-1]),
        gradients(model, padded(model, tokens)[-1]),
    )
    assert_same(ours, theirs, atol=1e-5 * scale, rtol=1e-5)


@pytest.mark.parametrize("family", ["bert", "distilbert", "modernbert", "mpnet"])
def test_dropout_acts_only_in_training(family):
    model, tokens = families.tiny_model(family, dropout=0.3), random_tokens(family)
    assert torch.equal(hidden_states(model, tokens)[-1], hidden_states(model, tokens)[-1])
    model.train()
    torch.manual_seed(0)
    first = hidden_states(model, tokens)[-1]
    second = hidden_states(model, tokens)[-1]
    torch.manual_seed(0)
    assert not torch.equal(first, second)
    assert torch.equal(first, hidden_states(model, tokens)[-1])


def test_attention_dropout_reaches_the_packed_attention():
    model, tokens = families.tiny_model("bert", dropout=0.0), random_tokens("bert")
    for name, module in model.named_modules():
        if name.endswith("attention.self.dropout"):
            setattr(module, "p", 0.5)  # noqa: B010
    still = hidden_states(model, tokens)[-1]
    moved = hidden_states(model.train(), tokens)[-1]
    assert (moved - still).abs().max() > 0.1


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert", "qwen3", "gemma3_text"])
def test_packed_states_under_autocast_stay_close(family):
    model, tokens = families.tiny_model(family), random_tokens(family)
    with torch.autocast("cpu", torch.bfloat16):
        low = hidden_states(model, tokens)[-1]
    assert (
        torch.nn.functional.cosine_similarity(low.float(), hidden_states(model, tokens)[-1]).min()
        > 0.99
    )
    grads = gradients(model, low)
    assert all(torch.isfinite(gradient).all() for gradient in grads.values())


@pytest.mark.parametrize("family", families.FAMILIES)
def test_states_under_autocast_on_a_cpu_travel_in_bfloat16(family):
    model, tokens = families.tiny_model(family), random_tokens(family)
    with torch.autocast("cpu", torch.bfloat16):
        ours, theirs = hidden_states(model, tokens, LAYERS), padded(model, tokens)
    assert {state.dtype for state in ours.values()} == {torch.bfloat16}
    assert {state.dtype for state in theirs.values()} == {torch.bfloat16}
    exact = hidden_states(model, tokens, LAYERS)
    assert {state.dtype for state in exact.values()} == {torch.float32}
    close = torch.nn.functional.cosine_similarity(ours[-1].float(), exact[-1])
    assert close.min() > 0.99


def test_a_batch_longer_than_the_position_table_is_packed():
    model = families.tiny_model("roberta")
    ids = torch.randint(5, 90, (40 * 20,), generator=torch.Generator().manual_seed(0))
    tokens = Tokens(ids, torch.full((40,), 20))
    assert len(ids) > model.config.max_position_embeddings
    assert_same(hidden_states(model, tokens, LAYERS), padded(model, tokens), atol=1e-5, rtol=0)


def test_packed_batches_come_in_few_sizes_on_a_cpu():
    model, seen = families.tiny_model("bert"), set()
    model.embeddings.register_forward_hook(lambda _, __, output: seen.add(output.shape[1]))
    for count in (*range(1, 40), *range(600, 700)):
        row = Tokens(torch.full((count,), 7), torch.ones(count, dtype=torch.long))
        assert hidden_states(model, row)[-1].shape == (count, 32)
    assert seen == {16, 32, 48, 640, 704}


@pytest.mark.parametrize("family", ["bert", "mpnet"])
def test_rows_without_tokens_give_no_states(family):
    model = families.tiny_model(family)
    empty = Tokens(torch.zeros(0, dtype=torch.long), torch.tensor([0, 0]))
    assert hidden_states(model, empty)[-1].shape == (0, 32)


def test_fallback_says_once_that_it_pads(caplog):
    _warn_padded.cache_clear()
    model, tokens = families.tiny_model("mpnet"), random_tokens("mpnet")
    with caplog.at_level(logging.WARNING, "textcl"):
        hidden_states(model, tokens)
        hidden_states(model, tokens)
    assert [r.message for r in caplog.records if "mpnet models run with padding" in r.message] == [
        "mpnet models run with padding: their attention cannot be replaced, so short rows cost more"
    ]


def test_groups_hold_rows_of_one_length():
    assert Packing(torch.tensor([1, 1, 3, 7, 7])).groups == [(2, 1), (1, 3), (2, 7)]


def changed(model: torch.nn.Module, tokens: Tokens, rate: float = 0.1) -> Tokens:
    """The rows with tokens, spans and features cut and positions moved."""
    width = model.get_input_embeddings().embedding_dim
    changes = (CutTokens(rate), CutSpan(rate / 2), CutFeatures(rate, width), ShufflePositions())
    return View("text", changes=changes).change(tokens, 0, 0, range(len(tokens)), "anchor")


@pytest.mark.parametrize("family", families.T5)
def test_padded_groups_of_t5_equal_one_padded_batch(family):
    model, tokens = families.tiny_model(family), random_tokens(family)
    assert not is_packed(model)
    assert_same(hidden_states(model, tokens, LAYERS), padded(model, tokens), atol=1e-5, rtol=0)
    cut = replace(tokens, changes=Changes(embed=torch.arange(len(tokens.ids)) % 2 == 0))
    assert (hidden_states(model, cut, LAYERS)[0][1::2] == 0).all()
    with pytest.raises(UserError, match="take no positions of tokens"):
        hidden_states(model, replace(tokens, changes=Changes(positions=tokens.places)))


@pytest.mark.parametrize("family", FAMILIES)
def test_changed_tokens_give_packed_what_they_give_padded(family):
    model, plain = families.tiny_model(family).double(), random_tokens(family)
    tokens = changed(model, plain)
    ours, theirs = hidden_states(model, tokens, LAYERS), padded(model, tokens)
    assert_same(ours, theirs, **exact(family))
    assert (ours[-1] - hidden_states(model, plain)[-1]).abs().max() > 0.1
    assert_same(gradients(model, ours[-1]), gradients(model, theirs[-1]), **exact(family))


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_changed_tokens_give_with_repadding_what_they_give_by_length(family, monkeypatch):
    # So much is cut that some tokens see none in ModernBERT's window, and attend to themselves.
    model = families.tiny_model(family).double()
    tokens = changed(model, random_tokens(family), 0.5)
    by_length = hidden_states(model, tokens)[-1]
    for other in (card.attend_padded, attention._attend_in_buckets):
        monkeypatch.setattr(attention, "_attend_by_length", other)
        states = hidden_states(model, tokens)[-1]
        torch.testing.assert_close(states, by_length, atol=1e-9, rtol=1e-9)


def test_changed_rows_equal_the_model_taken_apart():
    model, plain = families.tiny_model("bert").double(), random_tokens("bert")
    tokens = changed(model, plain)
    changes, states = tokens.changes, hidden_states(model, tokens)[-1]
    for row, (start, stop) in enumerate(pairwise(tokens.offsets.tolist())):
        if start == stop:
            continue
        here = slice(start, stop)
        x = model.embeddings(tokens.ids[None, here], position_ids=changes.positions[None, here])
        x = x * changes.embed[here, None] * changes.features[row]
        hidden = torch.zeros(stop - start, dtype=x.dtype).masked_fill(~changes.attend[here], -1e300)
        alone = model.encoder(x, attention_mask=hidden[None, None, None]).last_hidden_state[0]
        torch.testing.assert_close(states[here], alone, atol=1e-9, rtol=1e-9)


def test_changes_travel_with_their_rows():
    model = families.tiny_model("bert")
    plain, tokens = random_tokens("bert"), changed(model, random_tokens("bert"))
    whole = hidden_states(model, tokens)[-1]
    parts = [tokens.rows(0, 5), tokens.rows(5, 12)]
    together = hidden_states(model, Tokens.concatenate(parts))[-1]
    torch.testing.assert_close(together, whole)
    backwards = torch.arange(11, -1, -1)
    there_and_back = tokens.take(backwards).take(backwards)
    assert torch.equal(hidden_states(model, there_and_back)[-1], whole)
    mixed = hidden_states(model, Tokens.concatenate([plain, tokens]))[-1]
    torch.testing.assert_close(mixed[: len(plain.ids)], hidden_states(model, plain)[-1])
    torch.testing.assert_close(mixed[len(plain.ids) :], whole)
    assert Tokens.concatenate([plain, plain]).changes is None


def test_a_token_whose_window_is_cut_out_attends_to_itself():
    model = families.tiny_model("modernbert").double()
    row = Tokens(torch.arange(5, 55), torch.tensor([50]))
    hidden = torch.ones(50, dtype=torch.bool)
    hidden[10:40] = False
    tokens = replace(row, changes=Changes(attend=hidden))
    assert torch.isfinite(hidden_states(model, tokens)[-1]).all()


def test_a_window_holds_for_many_equally_long_rows_in_bfloat16():
    model = families.tiny_model("modernbert")
    rows = Tokens(torch.arange(5, 90).repeat(12)[: 20 * 40], torch.full((20,), 40))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        low = hidden_states(model, rows)[-1].float()
    cosine = torch.nn.functional.cosine_similarity(low, hidden_states(model, rows)[-1])
    assert cosine.min() > 0.99


def decoder(family: str, *, bidirectional: bool = False) -> torch.nn.Module:
    model = families.tiny_model(family)
    if bidirectional:
        model.config.is_causal = False
    return model


@pytest.mark.parametrize("family", families.DECODERS)
def test_a_token_of_a_decoder_sees_the_ones_before_it_alone(family):
    model = decoder(family)
    longer = Tokens(torch.arange(5, 35), torch.tensor([10, 20]))
    shorter = Tokens(torch.cat([torch.arange(5, 13), torch.arange(15, 27)]), torch.tensor([8, 12]))
    whole, cut = hidden_states(model, longer)[-1], hidden_states(model, shorter)[-1]
    torch.testing.assert_close(torch.cat([whole[:8], whole[10:22]]), cut, atol=1e-5, rtol=0)


@pytest.mark.parametrize("family", families.DECODERS)
def test_a_decoder_without_causal_masks_sees_both_sides_packed_as_padded(family):
    causal, model = decoder(family), decoder(family, bidirectional=True)
    tokens = random_tokens(family)
    ours = hidden_states(model, tokens, LAYERS)
    assert_same(ours, padded(model, tokens), atol=1e-5, rtol=0)
    assert (ours[-1] - hidden_states(causal, tokens)[-1]).abs().max() > 0.1


def test_gemma_by_its_own_bidirectional_attention_is_packed_as_padded():
    config = families.tiny_config("gemma3_text").to_dict() | {"use_bidirectional_attention": True}
    model = AutoModel.from_config(type(families.tiny_config("gemma3_text"))(**config)).eval()
    assert model.config.sliding_window == 5
    tokens = random_tokens("gemma3_text")
    assert_same(hidden_states(model, tokens, LAYERS), padded(model, tokens), atol=1e-5, rtol=0)


def test_no_decoder_keeps_a_cache(monkeypatch):
    monkeypatch.setattr("transformers.cache_utils.DynamicCache.update", Mock(side_effect=OSError))
    hidden_states(families.tiny_model("llama"), random_tokens("llama"))
    padded(families.tiny_model("llama"), random_tokens("llama"))


@pytest.mark.parametrize("length", [3, 128, 129])
@pytest.mark.parametrize("rows", [2, 17])
@pytest.mark.parametrize(("masked", "causal"), [(False, False), (True, False), (False, True)])
def test_attention_in_bfloat16_is_that_of_float32(length, rows, masked, causal):
    generator = torch.Generator().manual_seed(length)
    q, k, v = (torch.randn(rows, 3, length, 16, generator=generator) for _ in range(3))
    mask = torch.rand(rows, 1, 1, length, generator=generator) < 0.7 if masked else None
    if mask is not None:
        mask[..., 0] = True
    scores = (q * 0.25) @ k.mT
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    if causal:
        scores = scores.masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf)
    expected = scores.softmax(-1) @ v
    low = (x.bfloat16() for x in (q, k, v))
    found = attention._attend(*low, mask, 0.25, causal)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, atol=0.03, rtol=0.03)
