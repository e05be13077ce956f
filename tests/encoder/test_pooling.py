"""Pooling against plain loops, and against sentence-transformers where it knows the same one."""

from __future__ import annotations

import pytest
import torch
from padded_pooling import pool_padded
from sentence_transformers.sentence_transformer.modules import Pooling

from textcl.encoder.pooling import POOLINGS, layers_of, pool
from textcl.errors import UserError

LENGTHS = torch.tensor([3, 1, 0, 5, 2])


def states(layers: int = 4, width: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(layers, int(LENGTHS.sum()), width, generator=generator, dtype=torch.float64)


def by_layer(hidden: torch.Tensor, pooling: str) -> dict[int, torch.Tensor]:
    return {layer: hidden[layer] for layer in layers_of(pooling)}


def padded(hidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.arange(int(LENGTHS.max())) < LENGTHS[:, None]
    full = torch.full((len(hidden), *mask.shape, hidden.shape[-1]), 7.0, dtype=hidden.dtype)
    full[:, mask] = hidden
    return full, mask


def naive(hidden: torch.Tensor, pooling: str) -> list[torch.Tensor]:
    rows = []
    start = 0
    for length in LENGTHS.tolist():
        first, second, before, last = (hidden[i, start : start + length] for i in (0, 1, -2, -1))
        start += length
        if not length:
            rows.append(torch.zeros(hidden.shape[-1], dtype=hidden.dtype))
            continue
        counted = [(place + 1) * token for place, token in enumerate(last)]
        rows.append(
            {
                "cls": lambda last=last: last[0],
                "cls_pooler": lambda last=last: last[0],
                "mean": lambda last=last: sum(last) / len(last),
                "max": lambda last=last: last.max(0).values,
                "first_last": lambda a=second, b=last: (a + b).mean(0) / 2,
                "first_last_embedding": lambda a=first, b=last: (a + b).mean(0) / 2,
                "top2": lambda a=before, b=last: (a + b).mean(0) / 2,
                "first_token": lambda last=last: last[min(1, len(last) - 1)],
                "lasttoken": lambda last=last: last[-1],
                "weightedmean": lambda c=counted: sum(c) / sum(range(1, len(c) + 1)),
                "mean_sqrt_len_tokens": lambda last=last: sum(last) / len(last) ** 0.5,
            }[pooling]()
        )
    return rows


PACKED_POOLINGS = [pooling for pooling in POOLINGS if pooling != "mean_all"]


@pytest.mark.parametrize("pooling", PACKED_POOLINGS)
def test_pooling_equals_a_plain_loop(pooling):
    hidden = states()
    expected = torch.stack(naive(hidden, pooling))
    torch.testing.assert_close(pool(by_layer(hidden, pooling), LENGTHS, pooling), expected)
    torch.testing.assert_close(pool_padded(*padded(hidden), pooling), expected)


@pytest.mark.parametrize("pooling", PACKED_POOLINGS)
def test_pooling_gradient_is_exact(pooling):
    hidden = states(width=2).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: pool(by_layer(x, pooling), LENGTHS, pooling), (hidden,)
    )


@pytest.mark.parametrize("mode", Pooling.POOLING_MODES)
def test_pooling_equals_sentence_transformers(mode):
    full, mask = padded(states())
    kept = LENGTHS > 0
    features = {"token_embeddings": full[-1][kept], "attention_mask": mask[kept].long()}
    theirs = Pooling(6, mode)(features)["sentence_embedding"]
    torch.testing.assert_close(pool_padded(full, mask, mode)[kept], theirs)


def test_mean_all_counts_the_padding():
    full, mask = padded(states())
    expected = full[-1].mean(1)
    expected[2] = 0  # the row without tokens
    torch.testing.assert_close(pool_padded(full, mask, "mean_all"), expected)


def test_joined_poolings_are_concatenated_in_order():
    hidden = states()
    both = pool(by_layer(hidden, "max+mean"), LENGTHS, "max+mean")
    alone = [pool(by_layer(hidden, one), LENGTHS, one) for one in ("max", "mean")]
    assert torch.equal(both, torch.cat(alone, -1))


@pytest.mark.parametrize("pooling", PACKED_POOLINGS)
def test_pooling_of_no_tokens_is_zero(pooling):
    nothing = dict.fromkeys(layers_of(pooling), torch.ones(0, 6))
    result = pool(nothing, torch.tensor([0, 0]), pooling)
    assert torch.equal(result, torch.zeros(2, 6))


@pytest.mark.parametrize("pooling", ["mean", "cls", "top2"])
def test_half_precision_is_summed_in_float32(pooling):
    hidden = states().bfloat16()
    result = pool(by_layer(hidden, pooling), LENGTHS, pooling)
    assert result.dtype == torch.float32
    wide = pool(by_layer(hidden.float(), pooling), LENGTHS, pooling)
    torch.testing.assert_close(result, wide)


def test_unknown_pooling_names_the_known_ones():
    with pytest.raises(UserError, match="unknown pooling 'avg': choose one of cls, mean"):
        pool({-1: states()[-1]}, LENGTHS, "avg")
    with pytest.raises(UserError, match="use pool_all_positions"):
        pool({-1: states()[-1]}, LENGTHS, "mean_all")
