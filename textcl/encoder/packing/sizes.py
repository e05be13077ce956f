"""Few different sizes of batches: for steps that a card repeats as they were recorded, and for encoding on a CPU.

Rows of filling are put behind those of a batch, so that its tokens are a round number; for a card its longest row has a
round length, too. They see no other row, and their vectors are thrown away.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Int64

from textcl.types import Tokens

_FEWEST = 64  # tokens between two sizes of a small batch
_PARTS = 16  # a batch grows by at most one part in so many
_LENGTH = 16  # between two lengths of the longest row, up to 128
_STEP = 16  # tokens between two sizes of the smallest batches on a CPU, and most tokens of a row that fills one


def with_filling(tokens: Tokens, most: int) -> tuple[Tokens, int]:
    """The rows with rows of filling behind them, and how many these are.

    One row of filling is as long as the longest row, rounded up; the others share what is missing to a round number of
    tokens. So batches of about equal size become equal ones.

    Args:
        tokens: At least one, on the CPU.
        most: Tokens that a row may have.
    """
    longest = int(tokens.lengths.max())
    longest = min(_rounded(longest, _LENGTH), max(longest, most))
    lengths = _filling(len(tokens.ids), longest)
    ids = tokens.ids[:1].expand(int(lengths.sum()))
    filling = Tokens(ids, torch.from_numpy(lengths))
    return Tokens.concatenate([tokens, filling]), len(lengths)


def filled_up(tokens: Tokens, usual: int) -> Tokens:
    """The rows with short rows of filling behind them, so that all batches on a CPU have one of few numbers of tokens.

    oneDNN makes kernels of about 2 MiB for every number that it meets and keeps them: up to 2,048 tokens there are 24.

    Args:
        tokens: At least one.
        usual: Tokens of most batches, which is one of the numbers.
    """
    count, most = len(tokens.ids), -(-usual // _STEP) * _STEP
    full = _rounded(count, _STEP)
    missing = (min(full, most) if count <= most else full) - count
    if not missing:
        return tokens
    length = min(_STEP, missing, int(tokens.lengths.max()))
    lengths = torch.full((-(-missing // length),), length)
    lengths[-1] -= int(lengths.sum()) - missing
    return Tokens.concatenate([tokens, Tokens(tokens.ids[:1].expand(missing), lengths)])


def _rounded(count: int, step: int) -> int:
    """A count rounded up to one of four numbers between two powers of two, or to a multiple of `step` if it is more."""
    step = max(step, 1 << (count - 1).bit_length() >> 3)
    return -(-count // step) * step


def _filling(count: int, longest: int) -> Int64[np.ndarray, " R"]:
    """Lengths of the rows of filling behind `count` tokens, none 0."""
    step = max(_FEWEST, 1 << (count // _PARTS).bit_length() >> 1)
    others = 1 + step // max(1, longest - 1)  # so many rows take up to a whole step
    least = count + longest + others
    missing = -(-least // step) * step - count - longest
    return np.append(np.diff(np.arange(others + 1) * missing // others), longest)
