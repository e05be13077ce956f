"""Synonyms: the words of WordNet, and the augmentation that puts them in the place of others."""

from __future__ import annotations

import importlib
import os
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

from textcl.arithmetic import exact_floor
from textcl.errors import UserError

DETERMINERS = frozenset(
    {
        "a",
        "an",
        "the",
        "this",
        "that",
        "these",
        "those",
        "some",
        "any",
        "each",
        "every",
        "all",
        "both",
        "no",
        "another",
        "either",
        "neither",
    }
)
DEFAULT_LEXICON = "oewn:2024"
"""The Open English WordNet."""

# A word keeps its accents, and the apostrophes and hyphens within it.
_TOKEN = re.compile(r"[\w\u0300-\u036f]+(?:['’-][\w\u0300-\u036f]+)*|[^\w\s]")


@runtime_checkable
class Lexicon(Protocol):
    """Anything that knows synonyms."""

    def synonyms(self, word: str) -> Sequence[str]:
        """Synonyms of `word` in any order, in all its parts of speech; empty for an unknown word."""
        ...


def open_lexicon(name: str | None = None) -> Lexicon:
    """A lexicon of the `wn` library (extra `wordnet`), in whatever language it is.

    Args:
        name: Specifier of an installed lexicon, such as "oewn:2024" or "odenet:1.4". None means the one that the
            environment variable TEXTCL_WORDNET names, else `DEFAULT_LEXICON`.

    Raises:
        UserError: If the library or the lexicon is not installed; says how to install it.
    """
    lexicon = WnLexicon(name or os.environ.get("TEXTCL_WORDNET") or DEFAULT_LEXICON)
    _wordnet(lexicon.name)
    return lexicon


@dataclass(frozen=True)
class WnLexicon:
    """A lexicon of the `wn` library. Copies to other processes open it anew.

    Args:
        name: Specifier of an installed lexicon. English ones find inflected forms too.
    """

    name: str

    def synonyms(self, word: str) -> tuple[str, ...]:
        """Words that share a synset with `word`, sorted."""
        return _synonyms(self.name, word)


@dataclass(frozen=True)
class Synonyms:
    """Replace some words by synonyms.

    Args:
        lexicon: Where synonyms come from.
        rate: Share of the tokens, punctuation included, that is replaced.
        least: Replace at least so many words.
        most: Replace at most so many words.
        skip: Lower-case words that are never replaced.

    Note:
        Words are not tagged, so a synonym may belong to another part of speech, and it is not inflected.

    Source: Suresh and Ong 2021, https://arxiv.org/abs/2109.05427 (through nlpaug)
    """

    lexicon: Lexicon = field(default_factory=open_lexicon)
    rate: float = 0.3
    least: int = 1
    most: int = 10
    skip: frozenset[str] = DETERMINERS

    def __post_init__(self) -> None:
        if not (0 <= self.rate <= 1 and 0 <= self.least <= self.most):
            raise UserError(
                "Synonyms need 0 <= rate <= 1 and 0 <= least <= most, not "
                f"rate {self.rate}, least {self.least}, most {self.most}."
            )

    def __call__(self, text: str, rng: random.Random) -> str:
        """`text` with some words replaced; tried four times if nothing changes."""
        tokens = list(_TOKEN.finditer(text))
        words = [token for token in tokens if self._can_change(token[0])]
        count = min(max(exact_floor(self.rate, len(tokens)), self.least), self.most, len(words))
        for _ in range(4):
            drawn = {word.span(): self._draw(word[0], rng) for word in rng.sample(words, count)}
            changed = replace_spans(text, drawn)
            if changed != text:
                return changed
        return text

    def _can_change(self, token: str) -> bool:
        return token[0].isalnum() and token.lower() not in self.skip

    def _draw(self, word: str, rng: random.Random) -> str:
        """One synonym of `word`, uniformly, or `word` itself if it has none."""
        plain = (re.sub("[_-]", " ", other).lower() for other in self.lexicon.synonyms(word))
        others = [other for other in dict.fromkeys(plain) if other != word.lower()]
        return match_case(rng.choice(others), word) if others else word


def replace_spans(text: str, replacements: Mapping[tuple[int, int], str]) -> str:
    """`text` with other strings in the place of disjoint spans (start, end)."""
    parts, done = list[str](), 0
    for (start, end), replacement in sorted(replacements.items()):
        parts += [text[done:start], replacement]
        done = end
    return "".join([*parts, text[done:]])


def match_case(word: str, pattern: str) -> str:
    """`word`, which is lower case, capitalised as `pattern` is."""
    if len(pattern) > 1 and pattern.isupper():
        return word.upper()
    return word[:1].upper() + word[1:] if pattern[:1].isupper() else word


@lru_cache(maxsize=1 << 16)
def _synonyms(name: str, word: str) -> tuple[str, ...]:
    synsets = _wordnet(name).synsets(word)
    return tuple(sorted({str(lemma) for synset in synsets for lemma in synset.lemmas()}))


@lru_cache(maxsize=4)
def _wordnet(name: str) -> Any:
    try:
        wn, morphy = importlib.import_module("wn"), importlib.import_module("wn.morphy")
    except ImportError as error:
        raise UserError(
            'synonyms need the `wn` library: pip install "textcl-train[wordnet]", and then once '
            f"python -m wn download {name}"
        ) from error
    try:
        languages = {lexicon.language for lexicon in wn.lexicons(lexicon=name)}
        return wn.Wordnet(name, lemmatizer=morphy.Morphy() if "en" in languages else None)
    except wn.Error as error:
        installed = ", ".join(lexicon.specifier() for lexicon in wn.lexicons())
        raise UserError(
            f"the `wn` library has no lexicon {name!r}: run python -m wn download {name}, or let TEXTCL_WORDNET name "
            f"one that is installed ({installed or 'none is'})"
        ) from error
