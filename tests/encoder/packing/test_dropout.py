"""The fast dropout must be torch's dropout in everything but its random numbers."""

from __future__ import annotations

import math

import families
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from textcl.encoder.packing.dropout import Dropout, draw_mask, dropout, use_fast_dropout
from textcl.method.generators import Generators

COUNT = 200_000


def z_score(kept: torch.Tensor, rate: float) -> float:
    """Deviations of a share of ones from its expectation, in standard errors."""
    return (kept.double().mean() - rate).item() / math.sqrt(rate * (1 - rate) / kept.numel())


@pytest.mark.parametrize("p", [0.01, 0.1, 0.3, 0.5, 0.9])
def test_elements_are_dropped_at_the_rate_and_keep_the_mean(p):
    torch.manual_seed(0)
    kept = dropout(torch.ones(COUNT, dtype=torch.float64), p)
    assert abs(z_score(kept > 0, 1 - p)) < 4
    steps = round(p * 2**16)
    torch.testing.assert_close(
        kept[kept > 0], torch.full_like(kept[kept > 0], 2**16 / (2**16 - steps)), rtol=1e-15, atol=0
    )
    assert abs(1 / kept.max().item() - (1 - p)) < 2**-16


@pytest.mark.parametrize("lag", [1, 2, 3, 4, 8, 384])
def test_elements_are_dropped_independently(lag):
    # At distance 1 to 3 the bits of two elements mostly come from one word of the generator.
    torch.manual_seed(0)
    kept = draw_mask(COUNT, round(0.3 * 2**16)).bool()
    assert abs(z_score(kept[lag:] & kept[:-lag], 0.49)) < 4


def test_calls_draw_independent_masks():
    torch.manual_seed(0)
    first, second = (draw_mask(COUNT, round(0.3 * 2**16)).bool() for _ in range(2))
    assert abs(z_score(first & second, 0.49)) < 4


def test_every_step_of_the_probability_is_met():
    # A comparison that is off by one would show here, where a single one of 2^16 values is dropped.
    torch.manual_seed(0)
    dropped = sum(int((draw_mask(2**20, 1) == 0).sum()) for _ in range(20))
    assert abs(dropped - 320) < 4 * math.sqrt(320)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(3, 5, 7), (1,), (2, 3, 0), ()])
def test_gradient_is_the_mask_and_the_scale(dtype, shape):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=dtype, requires_grad=True)
    y = dropout(x, 0.4)
    assert (y.dtype, y.shape) == (x.dtype, x.shape)
    upstream = torch.randn(shape).to(dtype)
    (gradient,) = torch.autograd.grad(y, x, upstream)
    scale = 2**16 / (2**16 - round(0.4 * 2**16))
    kept = (y != 0).double()
    exact = {"rtol": torch.finfo(dtype).eps, "atol": 0}
    torch.testing.assert_close(y.double(), x.double() * kept * scale, **exact)
    torch.testing.assert_close(gradient.double(), upstream.double() * kept * scale, **exact)


def test_gradients_agree_with_finite_differences_twice():
    x = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)

    def same_mask(x: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(3)
        return dropout(x, 0.5) ** 2

    assert torch.autograd.gradcheck(same_mask, x)
    assert torch.autograd.gradgradcheck(same_mask, x)


def test_bfloat16_keeps_the_mean():
    # 1 / 0.9 rounded to bfloat16 is 0.16 % too small; the products are rounded to both sides.
    torch.manual_seed(0)
    x = torch.rand(COUNT).bfloat16() + 1
    kept = dropout(x, 0.1)
    ratio = kept.double()[kept > 0].mean() / x.double()[kept > 0].mean()
    assert abs(ratio.item() - 1 / 0.9) < 2e-4


def test_masks_are_repeated_by_the_seed_and_by_a_saved_state():
    x = torch.ones(1000)
    torch.manual_seed(5)
    first, state = dropout(x, 0.5), Generators.now(x.device)
    second, third = dropout(x, 0.5), dropout(x, 0.5)
    with state.replayed():
        assert torch.equal(dropout(x, 0.5), second)
        assert torch.equal(dropout(x, 0.5), third)
    torch.manual_seed(5)
    assert torch.equal(dropout(x, 0.5), first)
    assert torch.equal(dropout(x, 0.5), second)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)


@pytest.mark.parametrize("p", [0.0, 1e-9])
def test_nothing_is_dropped_or_drawn_without_a_probability(p):
    x, before = torch.ones(10), torch.get_rng_state()
    assert dropout(x, p) is x
    assert dropout(x, 0.5, training=False) is x
    assert torch.equal(torch.get_rng_state(), before)


def test_extreme_probabilities_stay_finite():
    x = torch.ones(COUNT, requires_grad=True)
    nothing = dropout(x, 1.0)
    assert not nothing.any()
    assert not torch.autograd.grad(nothing.sum(), x)[0].any()
    assert torch.isfinite(dropout(x, 1 - 1e-9)).all()


@pytest.mark.parametrize("p", [-0.1, 1.1, math.nan])
def test_what_is_no_probability_is_refused(p):
    with pytest.raises(ValueError, match="between 0 and 1"):
        dropout(torch.ones(3), p)


@pytest.mark.parametrize("family", families.FAMILIES)
def test_encoders_draw_all_dropout_fast_and_are_otherwise_unchanged(family, monkeypatch):
    model = families.tiny_model(family, dropout=0.3)
    names = set(model.state_dict())
    encoder = families.tiny_encoder(family, dropout=0.3)
    assert set(encoder.backbone.state_dict()) == names
    assert not [m for m in encoder.modules() if type(m) is nn.Dropout]
    if family in {"mpnet", "deberta-v2"}:  # their attention draws its own
        return

    def slow(*args: object, **kwargs: object) -> torch.Tensor:
        raise AssertionError("torch's dropout was called")

    monkeypatch.setattr(F, "dropout", slow)
    encoder.train()
    assert not torch.equal(*encoder(encoder.tokenize(["a dog", "a dog"])))


def test_only_plain_dropout_is_replaced():
    class Own(nn.Dropout):
        """Somebody's own."""

    model = nn.Sequential(
        nn.Dropout(0.2), nn.Dropout(0.2, inplace=True), Own(0.2), nn.Dropout1d(0.2)
    )
    use_fast_dropout(model)
    assert [type(m) for m in model] == [Dropout, nn.Dropout, Own, nn.Dropout1d]
    assert not model.eval()(torch.ones(2, 3)).sub(1).any()


def test_traced_code_falls_back_to_torch(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    x = torch.ones(50)
    torch.manual_seed(0)
    expected = F.dropout(x, 0.5)
    torch.manual_seed(0)
    assert torch.equal(dropout(x, 0.5), expected)
