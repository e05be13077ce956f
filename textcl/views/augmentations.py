"""Changes of a text. Each is a pure function of (text, draws); words are what whitespace separates.

A text that a change would leave empty stays as it was. A script without spaces counts as one word, which the
changes of words mostly leave alone; mask spans there.
"""

from __future__ import annotations

import random
import string
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from textcl.arithmetic import exact_floor
from textcl.errors import UserError
from textcl.views.view import draw_generator

Item = TypeVar("Item")


def mask_span(
    text: str,
    start: int,
    length: int,
    mask_token: str = "[MASK]",
    variant: Literal["corrected", "official"] = "corrected",
) -> str:
    """`text` with `length` characters replaced by the mask token between two spaces.

    Args:
        text: A text; characters are code points.
        start: First character of the span.
        length: Characters of the span; 0 leaves the text alone.
        mask_token: What stands for the span.
        variant: "official" masks the first place where the drawn span occurs, "corrected" the drawn place.

    Returns:
        The masked text. A space beside the span stays, so that two can follow each other.

    Source: Liu et al. 2021, https://arxiv.org/abs/2104.08027
    """
    if length == 0:
        return text
    if variant == "official":
        start = text.index(text[start : start + length])
    return f"{text[:start]} {mask_token} {text[start + length :]}"


@dataclass(frozen=True)
class SpanMask:
    """Mask one random span of characters (Mirror-BERT).

    Args:
        length: Characters of the span; 0 masks nothing.
        mask_token: What stands for the span: the tokenizer's own mask token.
        variant: "corrected", or "official" for the authors' code: its first occurrence is masked and the last
            character never is. The authors also write "[MASK]" whatever the model.
        min_characters: Shorter texts, and texts not longer than the span, stay as they are.

    Source: Liu et al. 2021, https://arxiv.org/abs/2104.08027
    """

    length: int = 5
    mask_token: str = "[MASK]"
    variant: Literal["corrected", "official"] = "corrected"
    min_characters: int = 30

    def __post_init__(self) -> None:
        if self.length < 0:
            raise UserError(f"The length of a masked span must be 0 or more, not {self.length}.")
        _check_variant(self.variant, ("corrected", "official"))

    def starts(self, text: str) -> int:
        """The number of starts to draw from; 0 if the text stays as it is."""
        if self.length == 0 or len(text) <= self.length or len(text) < self.min_characters:
            return 0
        return len(text) - self.length + (self.variant == "corrected")

    def __call__(self, text: str, rng: random.Random) -> str:
        """`text` with one span masked."""
        starts = self.starts(text)
        if not starts:
            return text
        return mask_span(text, rng.randrange(starts), self.length, self.mask_token, self.variant)


def repeat_items(items: Sequence[Item], positions: Collection[int]) -> list[Item]:
    """`items` with those at `positions` doubled in place."""
    chosen = set(positions)
    return [item for i, item in enumerate(items) for _ in range(2 if i in chosen else 1)]


@dataclass(frozen=True)
class RepeatWords:
    """Double some words in place (ESimCSE), which changes the length and hardly the meaning.

    Args:
        rate: Share of words that bounds the number of repetitions, itself drawn uniformly from 0 up.
        variant: "paper", where the bound is at least 2 and every word can be chosen; "official_word" for the
            word variant of the authors' code, where the bound is at most 10 and never reached, and the last word
            is never chosen.

    Note:
        The authors draw once for all epochs: `View(column, (RepeatWords(),), once=True)`.

    Source: Wu et al. 2022, https://arxiv.org/abs/2109.04380
    """

    rate: float = 0.32
    variant: Literal["paper", "official_word"] = "paper"

    def __post_init__(self) -> None:
        _check_rate(self.rate)
        _check_variant(self.variant, ("paper", "official_word"))

    def __call__(self, text: str, rng: random.Random) -> str:
        """`text` with some words doubled."""
        words = text.split()
        limit = min(len(words), max(2, exact_floor(self.rate, len(words))))
        places = range(len(words))
        if self.variant == "official_word":
            limit, places = min(10, limit) - 1, places[:-1]
        repeats = rng.randint(0, max(0, limit))
        if repeats == 0:
            return text
        return " ".join(repeat_items(words, rng.sample(places, repeats)))


@dataclass(frozen=True)
class Crop:
    """Keep a window of consecutive words.

    Args:
        rate: Share of the words that is cut off, rounded down.

    Source: Gao et al. 2021, table 1, https://arxiv.org/abs/2104.08821
    """

    rate: float

    def __post_init__(self) -> None:
        _check_rate(self.rate)

    def __call__(self, text: str, rng: random.Random) -> str:
        """The words of the window, one space between them."""
        words = text.split()
        cut = exact_floor(self.rate, len(words))
        if cut == 0:
            return text
        start = rng.randint(0, cut)
        return " ".join(words[start : start + len(words) - cut])


def delete_items(items: Sequence[Item], positions: Collection[int]) -> list[Item]:
    """`items` without those at `positions`."""
    gone = set(positions)
    return [item for i, item in enumerate(items) if i not in gone]


@dataclass(frozen=True)
class DeleteWords:
    """Delete words at random places.

    Args:
        rate: Share of the words that goes, rounded down.

    Source: Gao et al. 2021, table 1, https://arxiv.org/abs/2104.08821
    """

    rate: float

    def __post_init__(self) -> None:
        _check_rate(self.rate)

    def __call__(self, text: str, rng: random.Random) -> str:
        """`text` without the drawn words."""
        words = text.split()
        return _without(text, words, exact_floor(self.rate, len(words)), rng)


@dataclass(frozen=True)
class DeleteOneWord:
    """Delete one word at a random place; a single word stays.

    Source: Gao et al. 2021, table 1, https://arxiv.org/abs/2104.08821
    """

    def __call__(self, text: str, rng: random.Random) -> str:
        """`text` without the drawn word."""
        words = text.split()
        return _without(text, words, min(1, len(words) - 1), rng)


@dataclass(frozen=True)
class RandomString:
    """Put a meaningless string of as many characters in the place of a text.

    What it draws depends on the text and the seed alone, so that all views of a row show the same string in every
    epoch, equal texts get equal strings, and the corpus keeps its lengths.

    Args:
        seed: Another seed gives other strings.
        alphabet: Characters, drawn uniformly.

    Source: Liu et al. 2021, https://arxiv.org/abs/2104.08027
    """

    seed: int = 0
    alphabet: str = string.ascii_lowercase + string.digits

    def __call__(self, text: str, rng: random.Random) -> str:
        """The string that stands for `text`; `rng` is not used."""
        own = draw_generator(self.seed, 0, 0, text)
        return "".join(own.choices(self.alphabet, k=len(text)))


def _without(text: str, words: list[str], count: int, rng: random.Random) -> str:
    if count < 1:
        return text
    return " ".join(delete_items(words, rng.sample(range(len(words)), count)))


def _check_rate(rate: float) -> None:
    if not 0 <= rate < 1:
        raise UserError(f"The rate of an augmentation must be at least 0 and below 1, not {rate}.")


def _check_variant(variant: str, known: tuple[str, ...]) -> None:
    if variant not in known:
        raise UserError(f"Unknown variant {variant!r}: choose one of {', '.join(known)}.")
