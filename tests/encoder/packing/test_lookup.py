"""Embedding tables with a kept gradient buffer: torch's values, and one buffer however often it is added to."""

from __future__ import annotations

import copy

import families
import pytest
import torch
from torch import nn

from textcl.encoder.packing.lookup import Embedding, clear_gradients, use_kept_gradients


def pair(padding: int | None = None) -> tuple[nn.Embedding, Embedding]:
    plain = nn.Embedding(30, 4, padding_idx=padding)
    model = nn.Sequential(copy.deepcopy(plain))
    use_kept_gradients(model)
    (kept,) = model
    assert isinstance(kept, Embedding)
    return plain, kept


def ids_of(seed: int) -> torch.Tensor:
    return torch.randint(0, 30, (3, 7), generator=torch.Generator().manual_seed(seed))


def back(table: nn.Embedding, ids: torch.Tensor) -> torch.Tensor:
    out = table(ids)
    (out * torch.arange(out.numel()).view(out.shape).sin()).sum().backward()
    return out


@pytest.mark.parametrize("padding", [None, 0, 5])
def test_values_and_gradients_are_those_of_torch_over_several_passes(padding):
    plain, kept = pair(padding)
    for seed in range(3):  # gradients of the passes add up
        ids = ids_of(seed)
        ids[0, :2] = 5
        assert torch.equal(back(kept, ids), back(plain, ids))
        torch.testing.assert_close(kept.weight.grad, plain.weight.grad, rtol=1e-6, atol=1e-6)
    if padding is not None:
        assert not kept.weight.grad[padding].any()


def test_the_buffer_stays_and_nothing_of_the_last_update_is_left_in_it():
    plain, kept = pair()
    other = nn.Linear(2, 2)
    model = nn.ModuleList([kept, other])
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    back(kept, ids_of(0))
    other(torch.ones(2)).sum().backward()
    buffer = kept.weight.grad.data_ptr()
    clear_gradients(model, optimizer.zero_grad)
    assert other.weight.grad is None
    assert not kept.weight.grad.any()
    back(kept, ids_of(1))
    back(plain, ids_of(1))
    assert kept.weight.grad.data_ptr() == buffer
    torch.testing.assert_close(kept.weight.grad, plain.weight.grad)


def test_the_first_update_rounds_as_all_others_when_a_table_is_looked_up_twice():
    # Exact resume: the first update after it starts with fresh gradients.
    _, kept = pair()
    ids = torch.randint(0, 3, (2, 500), generator=torch.Generator().manual_seed(0))
    found = []
    for _ in range(2):
        clear_gradients(nn.ModuleList([kept]), lambda: None)
        (kept(ids[0]).sin().sum() + kept(ids[1]).cos().sum()).backward()
        found.append(kept.weight.grad.clone())
    assert torch.equal(*found)


def test_a_table_that_is_tied_to_a_projection_gets_both_gradients():
    plain, kept = pair()
    for seed in range(2):
        for table in (plain, kept):
            hidden = table(ids_of(seed))
            (hidden @ table.weight.T).logsumexp(-1).sum().backward()
        torch.testing.assert_close(kept.weight.grad, plain.weight.grad, rtol=1e-5, atol=1e-5)


def test_a_frozen_table_has_no_gradient():
    _, kept = pair()
    kept.weight.requires_grad_(False)
    assert not kept(ids_of(0)).requires_grad


@pytest.mark.parametrize("family", families.FAMILIES)
def test_encoders_keep_the_gradients_of_all_their_tables(family):
    names = set(families.tiny_model(family).state_dict())
    encoder = families.tiny_encoder(family)
    assert set(encoder.backbone.state_dict()) == names
    assert not [m for m in encoder.modules() if type(m) is nn.Embedding]


def test_tables_that_need_more_than_a_sum_stay_as_they_are():
    model = nn.Sequential(
        nn.Embedding(3, 2, max_norm=1.0),
        nn.Embedding(3, 2, sparse=True),
        nn.Embedding(3, 2, scale_grad_by_freq=True),
    )
    use_kept_gradients(model)
    assert {type(m) for m in model} == {nn.Embedding}
