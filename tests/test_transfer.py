"""Tensors of a value go to a device in one copy, as views of one buffer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from pretended_card import CARD, pretended_card
from torch import Tensor

import textcl
from textcl.transfer import ON_HOST, in_one_buffer, tensors_of, to_device


@dataclass(frozen=True)
class Inner:
    flags: Tensor
    nothing: Tensor | None = None


@dataclass(frozen=True)
class Value:
    ids: Tensor
    lengths: Tensor = field(metadata=ON_HOST)
    parts: dict[str, tuple[Inner, ...]] = field(default_factory=dict)
    name: str = "value"


def made_up() -> Value:
    ids = torch.arange(7)
    transposed = torch.arange(6, dtype=torch.float64).view(2, 3).T
    inner = Inner(torch.tensor([True, False, True]), ids), Inner(transposed), Inner(torch.ones(0))
    return Value(ids, torch.tensor([3, 4]), {"a": inner})


def flat(value: Value) -> list[Tensor]:
    return list(tensors_of(value))


@pytest.mark.parametrize("packed_before", [False, True])
def test_everything_goes_in_one_copy(packed_before):
    value = in_one_buffer(made_up(), pin=False) if packed_before else made_up()
    with pretended_card(Path(textcl.__file__).parent) as card:
        moved = to_device(value, CARD)
        assert len(card.copies) == 1
        assert not card.launches
        assert not card.waits
        assert to_device(moved, CARD) is moved
        back = [x.cpu() for x in flat(moved)]
    assert moved.lengths is value.lengths
    assert moved.ids is moved.parts["a"][0].nothing  # one tensor stays one
    for got, want in zip(back, flat(made_up()), strict=True):
        assert got.dtype == want.dtype
        assert torch.equal(got, want)


def test_what_is_on_the_device_stays_the_object_that_it_is():
    value = made_up()
    assert to_device(value, "cpu") is value


def test_a_buffer_is_made_once():
    packed = in_one_buffer(made_up(), pin=False)
    assert len({x.untyped_storage().data_ptr() for x in flat(packed) if x.numel()}) == 1
    assert all(torch.equal(x, y) for x, y in zip(flat(packed), flat(made_up()), strict=True))


def test_a_part_of_a_buffer_is_packed_again():
    packed = in_one_buffer(made_up(), pin=False)
    with pretended_card(Path(textcl.__file__).parent):
        part = to_device(packed.parts["a"][1], CARD)
        assert torch.equal(part.flags.cpu(), made_up().parts["a"][1].flags)
