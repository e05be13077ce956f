"""Lengths of the texts of a data set against the maximum length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from textcl.data.rows import Rows
from textcl.terminal import counted


@dataclass(frozen=True)
class TruncationReport:
    """Numbers of texts that the maximum length cuts.

    Args:
        max_length: Tokens that a model reads of a text, special tokens included.
        texts: Texts that were looked at.
        truncated: How many of them are longer.
        percentiles: Tokens of a text at 50, 90, 99 and 100 percent.
        sampled: Whether there are more rows than were looked at.
    """

    max_length: int
    texts: int
    truncated: int
    percentiles: tuple[int, int, int, int]
    sampled: bool

    def describe(self) -> str:
        """One line for the terminal."""
        half, most, nearly, longest = self.percentiles
        of = counted(self.texts, "sampled text" if self.sampled else "text")
        return (
            f"{self.truncated:,} of {of} ({self.truncated / self.texts:.1%}) are cut at {self.max_length} tokens; "
            f"lengths: median {half:,}, 90 % {most:,}, 99 % {nearly:,}, longest {longest:,}"
        )


def truncation_report(
    token_lengths: Callable[[Sequence[str]], Sequence[int]],
    rows: Rows | Sequence[str],
    max_length: int,
    *,
    roles: Sequence[str] | None = None,
    sample: int = 10_000,
) -> TruncationReport:
    """Count what a maximal length cuts off.

    Args:
        token_lengths: Tokens of each text, special tokens included, not truncated.
        rows: Rows, all of whose texts count, or texts.
        max_length: Tokens that a model reads of a text.
        roles: Whose texts of `rows` count; all when None.
        sample: Rows to look at; drawn with a fixed seed where there are more.
    """
    indices = np.arange(len(rows))
    if len(rows) > sample:
        indices = np.sort(np.random.default_rng(0).choice(len(rows), sample, replace=False))
    lengths: list[int] = []
    for block in np.array_split(indices, max(1, len(indices) // 1000)):
        texts = _texts(rows, block.tolist(), roles)
        lengths.extend(int(length) for length in token_lengths(texts))
    half, most, nearly, longest = np.percentile(lengths, [50, 90, 99, 100], method="higher")
    truncated = sum(length > max_length for length in lengths)
    percentiles = (int(half), int(most), int(nearly), int(longest))
    return TruncationReport(max_length, len(lengths), truncated, percentiles, len(rows) > sample)


def _texts(
    rows: Rows | Sequence[str], indices: list[int], roles: Sequence[str] | None
) -> list[str]:
    if isinstance(rows, Rows):
        return rows.texts(indices, roles)
    return [rows[index] for index in indices]


def cut_note(cut: int, texts: int, longest: int) -> str:
    """A sentence on scored texts that are longer than the model reads; empty where none is.

    Args:
        cut: Their number.
        texts: Of so many distinct ones.
        longest: Most tokens that the model reads.
    """
    verb = "has" if cut == 1 else "have"
    return (
        f"{cut:,} of {counted(texts, 'text')} {verb} more than the {longest} tokens that the model reads: scored cut."
        if cut
        else ""
    )
