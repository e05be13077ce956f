"""Synonyms: the words of WordNet, and the augmentation that puts them in the place of others."""

from __future__ import annotations

import importlib
import mmap
import os
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
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
_DATABASE = Path("/usr/share/wordnet")  # where Debian's package puts it
_HOW_TO_GET = (
    "install Debian's package wordnet-base, or point TEXTCL_WORDNET to a folder with data.noun, "
    "index.noun and the other files of the WordNet database, or name a lexicon of the `wn` library"
)
# A word keeps its accents, and the apostrophes and hyphens within it.
_TOKEN = re.compile(r"[\w\u0300-\u036f]+(?:['’-][\w\u0300-\u036f]+)*|[^\w\s]")
# Endings that inflection adds and what stood there before: morphy(7) of WordNet. Adverbs have none.
_ENDINGS = {
    "noun": "s: ses:s ves:f xes:x zes:z ches:ch shes:sh men:man ies:y",
    "verb": "s: ies:y es:e es: ed:e ed: ing:e ing:",
    "adj": "er: est: er:e est:e",
    "adv": "",
}


@runtime_checkable
class Lexicon(Protocol):
    """Anything that knows synonyms."""

    def synonyms(self, word: str) -> Sequence[str]:
        """Synonyms of `word` in any order, in all its parts of speech; empty for an unknown word."""
        ...


def open_lexicon(source: str | Path | None = None) -> Lexicon:
    """Find a lexicon.

    Args:
        source: A folder with a WordNet database, or the name of a lexicon of the `wn` library such as "oewn:2024".
            None means the folder named by TEXTCL_WORDNET, else that of Debian's package.

    Returns:
        The lexicon, ready to use.

    Raises:
        UserError: If there is no lexicon; says how to get one.
    """
    if source is None:
        source = Path(os.environ.get("TEXTCL_WORDNET") or _DATABASE)
    if isinstance(source, Path) or Path(source).is_dir():
        lexicon = WordNet(Path(source))
        _database(lexicon.directory)
        return lexicon
    lexicon = WnLexicon(source)
    _wn_lexicon(source)
    return lexicon


@dataclass(frozen=True)
class WordNet:
    """A WordNet database folder, read as it lies there. Copies to other processes read it anew.

    Args:
        directory: Holds index and data files for noun, verb, adj and adv, and .exc files where there are any.
    """

    directory: Path

    def synonyms(self, word: str) -> tuple[str, ...]:
        """Words that share a meaning with `word` or with a word it is an inflection of, best-known meaning first."""
        return _synonyms(self.directory, word.lower().replace(" ", "_"))


@dataclass(frozen=True)
class WnLexicon:
    """A lexicon of the `wn` library, in whatever language it is.

    Args:
        name: Specifier of an installed lexicon, such as "oewn:2024". English ones find inflected forms too.
    """

    name: str

    def synonyms(self, word: str) -> tuple[str, ...]:
        """Words that share a synset with `word`."""
        synsets = _wn_lexicon(self.name).synsets(word)
        return tuple(dict.fromkeys(str(lemma) for synset in synsets for lemma in synset.lemmas()))


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


@dataclass(frozen=True)
class _Part:
    """One part of speech of a database: index lines and exceptions by word, and the synsets."""

    index: dict[str, str]
    exceptions: dict[str, list[str]]
    data: mmap.mmap

    def base_forms(self, word: str, endings: str) -> Iterator[str]:
        """Words of the index that `word` is, or may be an inflection of."""
        forms = [word, *self.exceptions.get(word, ())]
        for ending, before in (pair.split(":") for pair in endings.split()):
            if word.endswith(ending) and word not in self.exceptions:
                forms.append(word.removesuffix(ending) + before)
        return (form for form in dict.fromkeys(forms) if form in self.index)

    def synset(self, offset: int) -> list[str]:
        """The words at a place of the data file: `offset file type count word id word id …`."""
        line = self.data[offset : self.data.find(b"\n", offset)].decode("utf-8", "replace").split()
        if int(line[0]) != offset:
            raise ValueError
        count = int(line[3], 16)
        return [word.partition("(")[0] for word in line[4 : 4 + 2 * count : 2]]


@lru_cache(maxsize=4)
def _database(directory: Path) -> dict[str, _Part]:
    names = [f"{kind}.{part}" for kind in ("index", "data") for part in _ENDINGS]
    paths = [directory / name for name in names]
    missing = [path.name for path in paths if not path.is_file() or not path.stat().st_size]
    if missing:
        raise UserError(
            f"{directory} is no WordNet database, it lacks {', '.join(missing)}: {_HOW_TO_GET}."
        )
    return {part: _read_part(directory, part) for part in _ENDINGS}


def _read_part(directory: Path, part: str) -> _Part:
    def lines(name: str) -> Iterator[tuple[str, str]]:
        path = directory / name
        content = path.read_text("utf-8", "replace") if path.exists() else ""
        # The licence stands above the words, in lines that begin with a space.
        return (
            (first, rest)
            for first, _, rest in (line.partition(" ") for line in content.splitlines())
            if first
        )

    with (directory / f"data.{part}").open("rb") as data:
        synsets = mmap.mmap(data.fileno(), 0, access=mmap.ACCESS_READ)
    exceptions = {word: bases.split() for word, bases in lines(f"{part}.exc")}
    return _Part(dict(lines(f"index.{part}")), exceptions, synsets)


@lru_cache(maxsize=1 << 16)
def _synonyms(directory: Path, word: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for name, part in _database(directory).items():
        for form in part.base_forms(word, _ENDINGS[name]):
            fields = part.index[form].split()
            try:
                for offset in fields[-int(fields[1]) :]:
                    found.update(dict.fromkeys(part.synset(int(offset))))
            except (ValueError, IndexError) as error:
                raise UserError(
                    f"{directory / f'index.{name}'} and data.{name} do not fit together at {form!r}: "
                    "take both from the same WordNet release."
                ) from error
    return tuple(other for other in found if other.lower() != word)


@lru_cache(maxsize=4)
def _wn_lexicon(name: str) -> Any:
    try:
        wn, morphy = importlib.import_module("wn"), importlib.import_module("wn.morphy")
    except ImportError as error:
        raise UserError(
            f"{name!r} is no folder, so it must be a lexicon of the `wn` library, which is not "
            f"installed: pip install wn, or {_HOW_TO_GET}."
        ) from error
    try:
        languages = {lexicon.language for lexicon in wn.lexicons(lexicon=name)}
        return wn.Wordnet(name, lemmatizer=morphy.Morphy() if "en" in languages else None)
    except wn.Error as error:
        installed = ", ".join(lexicon.specifier() for lexicon in wn.lexicons())
        raise UserError(
            f"The `wn` library has no lexicon {name!r}: run python -m wn download {name}, or give one "
            f"that is installed ({installed or 'none is'})."
        ) from error
