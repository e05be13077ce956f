"""Plans of a batch: all that encoders compute from the lengths of rows alone, ahead of their call."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import nn

from textcl.types import Tokens


@runtime_checkable
class Plans(Protocol):
    """An encoder that can make ready, in any thread, what it computes from the lengths of its rows."""

    def plan(self, tokens: Tokens, *, rounded: bool = False) -> Tokens:
        """The tokens with what was made ready.

        Args:
            tokens: On the CPU.
            rounded: Whether batches shall come in few different sizes, where the encoder can.
        """
        ...


def plan_tokens(encoder: nn.Module, tokens: Tokens, *, rounded: bool = False) -> Tokens:
    """The tokens with what an encoder makes ready of them; as they are where it makes nothing ready.

    Args:
        encoder: From tokens to one row each.
        tokens: On the CPU.
        rounded: As of `Plans.plan`.
    """
    return encoder.plan(tokens, rounded=rounded) if isinstance(encoder, Plans) else tokens
