"""Encoders that do not learn: a copy that follows the online encoder, and one that stays as it is."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from textcl.encoder.planning import plan_tokens
from textcl.schedule import FollowsProgress
from textcl.types import Tokens


class CosineMomentum(FollowsProgress):
    """A momentum that rises from `start` to 1: m = 1 - (1 - start)·(cos(π·progress) + 1)/2.

    Args:
        start: Momentum at progress 0, in [0, 1].

    Source: Grill et al. 2020, https://arxiv.org/abs/2006.07733
    """

    def __init__(self, start: float = 0.996) -> None:
        super().__init__()
        self.start = _momentum(start)

    def forward(self) -> float:
        """The momentum now."""
        return 1 - (1 - self.start) * (math.cos(math.pi * self.done) + 1) / 2


class MomentumEncoder(nn.Module):
    """A copy of an encoder whose weights are a moving average of the online ones; it never has a gradient.

    Args:
        online: The encoder to copy: a module from tokens to one row each.
        momentum: What is kept of the average at each move, in [0, 1], or a schedule of it.
        shared: Names of parts that are always the online ones (ESimCSE's code sends its keys through the online
            projector). They are copied at every move, which for keys without gradient is the same as sharing them.
        dropout: Whether the copy has dropout when the online encoder has; without it keys repeat (ESimCSE).

    Source: He et al. 2020, https://arxiv.org/abs/1911.05722

    Note:
        Buffers (statistics of a BatchNorm) are copied, not averaged.
    """

    def __init__(
        self,
        online: nn.Module,
        momentum: float | CosineMomentum,
        *,
        shared: Sequence[str] = (),
        dropout: bool = True,
    ) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(online).requires_grad_(False)
        self.momentum = momentum if isinstance(momentum, nn.Module) else _momentum(momentum)
        self.shared, self.dropout = tuple(shared), dropout
        names = [name for name, _ in online.named_modules()] + [
            n for n, _ in online.named_parameters()
        ]
        for part in self.shared:
            if part not in names:
                raise ValueError(f'the encoder has no part "{part}" to share')
        self.train(self.training)

    @property
    def dimension(self) -> int:
        """Width of a key."""
        return self.encoder.dimension  # pyright: ignore[reportReturnType]

    def train(self, mode: bool = True) -> MomentumEncoder:
        """Training mode, with the encoder in evaluation mode where `dropout` is off."""
        super().train(mode)
        if not self.dropout:
            self.encoder.eval()
        return self

    @torch.no_grad()
    def follow(self, online: nn.Module) -> None:
        """Take a step towards the online weights: mine ← m·mine + (1 - m)·online."""
        kept = self.momentum() if isinstance(self.momentum, nn.Module) else self.momentum
        named = zip(self.encoder.named_parameters(), online.parameters(), strict=True)
        for (name, mine), theirs in named:
            mine.lerp_(theirs, 1.0 if self._is_shared(name) else 1 - kept)
        for mine, theirs in zip(self.encoder.buffers(), online.buffers(), strict=True):
            mine.copy_(theirs)

    def plan(self, tokens: Tokens, *, rounded: bool = False) -> Tokens:
        """The tokens with what the encoder makes ready of them, where it does."""
        return plan_tokens(self.encoder, tokens, rounded=rounded)

    @torch.no_grad()
    def forward(self, tokens: Tokens) -> Float[Tensor, "B D"]:
        """Keys of the rows, without a graph."""
        return self.encoder(tokens)

    def _is_shared(self, name: str) -> bool:
        return any(name == part or name.startswith(f"{part}.") for part in self.shared)


class FrozenEncoder(nn.Module):
    """An encoder that never learns, in evaluation mode: the teacher of a distillation.

    Args:
        encoder: A module from tokens to one row each. Its parameters lose their gradient.
        finish: What becomes of its rows, such as `Encoder.finish`, which makes of them what `encode` gives.
    """

    def __init__(
        self, encoder: nn.Module, finish: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(False)
        self._finish = finish
        self.eval()

    @property
    def dimension(self) -> int:
        """Width of a row of the encoder."""
        return self.encoder.dimension  # pyright: ignore[reportReturnType]

    def train(self, mode: bool = True) -> FrozenEncoder:
        """Stay in evaluation mode."""
        return super().train(False)

    def plan(self, tokens: Tokens, *, rounded: bool = False) -> Tokens:
        """The tokens with what the encoder makes ready of them, where it does."""
        return plan_tokens(self.encoder, tokens, rounded=rounded)

    @torch.no_grad()
    def forward(self, tokens: Tokens) -> Float[Tensor, "B D"]:
        """Rows of the encoder, without a graph."""
        rows = self.encoder(tokens)
        return rows if self._finish is None else self._finish(rows)


def _momentum(value: float) -> float:
    if not 0 <= value <= 1:
        raise ValueError(f"momentum must be in [0, 1], not {value}")
    return value
