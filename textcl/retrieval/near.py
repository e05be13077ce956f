"""Texts that say the same in almost the same letters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

_NO_LETTERS = re.compile(r"[\W_]+")
_ASCII = {code: " " for code in range(128) if not chr(code).isalnum()}
_ALIKE = 0.8
"""Times the share of trigrams: below this ratio of their lengths, two texts are not compared."""


class NearTexts:
    """Recognises texts that are almost one of some others, by the trigrams of letters that both share.

    Args:
        texts: The others.
        share: From which share of common trigrams (of those in either) on two texts are near; above 1, none are.
    """

    def __init__(self, texts: Iterable[str], share: float) -> None:
        self._share = share
        self._others = [_Other(len(text), _plain(text)) for text in texts] if share <= 1 else []

    def __contains__(self, text: str) -> bool:
        size = len(text)
        possible = [
            other
            for other in self._others
            if min(size, other.size) >= _ALIKE * self._share * max(size, other.size)
        ]
        if not possible:  # most texts: they need not be read
            return False
        plain = _plain(text)
        return any(other.near(plain, self._share) for other in possible)


@dataclass(frozen=True)
class _Other:
    """A text that others are compared with.

    Args:
        size: Its length.
        plain: The text without case and punctuation.
    """

    size: int
    plain: str

    @cached_property
    def trigrams(self) -> frozenset[str]:
        """Of the text."""
        return _cut(self.plain)

    def near(self, plain: str, share: float) -> bool:
        """Whether a text without case and punctuation is near.

        Most are not, which shows after a few trigrams: of those in either, the ones that it lacks are too many.
        """
        count = max(len(self.plain) - 2, 1)
        spare = int((1 - share) * count) + 1
        lacking: set[str] = set()
        for at in range(count):
            each = self.plain[at : at + 3]
            if each not in plain:
                lacking.add(each)
                if len(lacking) > spare:
                    return False
        return _common(_cut(plain), self.trigrams) >= share


def trigrams(text: str) -> frozenset[str]:
    """Runs of three letters, digits or gaps of a text, without case and punctuation."""
    return _cut(_plain(text))


def _plain(text: str) -> str:
    if text.isascii():
        words = " ".join(text.translate(_ASCII).lower().split())
    else:
        words = _NO_LETTERS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()
    return f" {words} "


def _cut(plain: str) -> frozenset[str]:
    return frozenset(plain[at : at + 3] for at in range(max(len(plain) - 2, 1)))


def _common(a: frozenset[str], b: frozenset[str]) -> float:
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)
