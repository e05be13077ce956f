"""Texts that say the same in almost the same letters."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import filterfalse, islice

_NO_LETTERS = re.compile(r"[\W_]+")
_ASCII = bytes(
    ord(chr(code).lower()) if chr(code).isalnum() else ord(" ") for code in range(128)
).ljust(256)
_LOOKED = 3
"""Times the trigrams that a near text may lack: so many show of most texts that they are not near."""
_ALIKE = 0.8
"""Times the share of trigrams: below this ratio of their lengths, two texts are not compared."""


class NearTexts:
    """Recognises texts that are almost one of some others, by the trigrams of letters that both share.

    Args:
        texts: The others.
        share: From which share of common trigrams (of those in either) on two texts are near; above 1, none are.
    """

    def __init__(self, texts: Iterable[str], share: float) -> None:
        near = texts if share <= 1 else ()
        self._others = [_Other(len(text), _plain(text), share) for text in near]

    def __contains__(self, text: str) -> bool:
        size = len(text)
        plain = None  # of most texts it is not needed
        for other in self._others:
            least = _ALIKE * other.share
            if size >= least * other.size and other.size >= least * size:
                plain = plain or _plain(text)
                if other.near(plain):
                    return True
        return False


@dataclass(frozen=True)
class _Other:
    """A text that others are compared with.

    Args:
        size: Its length.
        plain: The text without case and punctuation.
        share: Of common trigrams, from which on a text is near.
    """

    size: int
    plain: str
    share: float

    @cached_property
    def trigrams(self) -> frozenset[str]:
        """Of the text."""
        return _cut(self.plain)

    def near(self, plain: str) -> bool:
        """Whether a text without case and punctuation is near.

        Most are not, which shows by some trigrams: of those in either, the ones that it lacks are too many.
        """
        spare = int((1 - self.share) * len(self.trigrams)) + 1
        lacking = [*filterfalse(plain.__contains__, islice(self.trigrams, _LOOKED * spare))]
        return len(lacking) <= spare and _common(_cut(plain), self.trigrams) >= self.share


def trigrams(text: str) -> frozenset[str]:
    """Runs of three letters, digits or gaps of a text, without case and punctuation."""
    return _cut(_plain(text))


def _plain(text: str) -> str:
    if text.isascii():
        words = b" ".join(text.encode().translate(_ASCII).split()).decode()
    else:
        words = _NO_LETTERS.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()
    return f" {words} "


def _cut(plain: str) -> frozenset[str]:
    return frozenset(plain[at : at + 3] for at in range(max(len(plain) - 2, 1)))


def _common(a: frozenset[str], b: frozenset[str]) -> float:
    shared = len(a & b)
    return shared / (len(a) + len(b) - shared)
