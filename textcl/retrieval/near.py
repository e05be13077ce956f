"""Texts that say the same in almost the same letters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_NO_LETTERS = re.compile(r"[\W_]+")
_ALIKE = 0.8
"""Times the share of trigrams: below this ratio of their lengths, two texts are not compared."""


class NearTexts:
    """Tells whether a text is almost one of some others: by the trigrams of letters that both share.

    Args:
        texts: The others.
        share: From which share of common trigrams (of those in either) on two texts are near; above 1, none are.
    """

    def __init__(self, texts: Iterable[str], share: float) -> None:
        self._share = share
        self._others = [(len(text), trigrams(text)) for text in texts] if share <= 1 else []

    def __contains__(self, text: str) -> bool:
        size = len(text)
        possible = [
            other
            for length, other in self._others
            if min(size, length) >= _ALIKE * self._share * max(size, length)
        ]
        if not possible:  # most texts: they need not be taken apart
            return False
        own = trigrams(text)
        return any(_common(own, other) >= self._share for other in possible)


def trigrams(text: str) -> frozenset[str]:
    """Runs of three letters, digits or gaps of a text, without case and punctuation."""
    plain = _NO_LETTERS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()
    padded = f" {plain} "
    return frozenset(padded[at : at + 3] for at in range(max(len(padded) - 2, 1)))


def _common(a: frozenset[str], b: frozenset[str]) -> float:
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)
