"""Bilingual lexicon induction: which word of another language is the translation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from textcl.arithmetic import unit_rows
from textcl.errors import UserError

CSLS_NEIGHBOURS = 10
_TABLE = 2**24  # similarities held at once


@dataclass(frozen=True)
class Lexicon:
    """Pairs of a dictionary as places in both vocabularies.

    Args:
        pairs: Source and target place of every line whose words are both known, in the order of the dictionary.
        unknown: Lines left out because a vocabulary lacks a word.
    """

    pairs: Int[np.ndarray, "P 2"]
    unknown: int

    @property
    def sources(self) -> list[int]:
        """Distinct source words, in the order of their first line."""
        return list(dict.fromkeys(self.pairs[:, 0].tolist()))

    @property
    def rows(self) -> Int[np.ndarray, " P"]:
        """Place of the source word of every line among `sources`."""
        place = {source: row for row, source in enumerate(self.sources)}
        return np.array([place[source] for source in self.pairs[:, 0].tolist()], np.int64)


def lexicon(
    lines: Iterable[tuple[str, str]], source_words: Sequence[str], target_words: Sequence[str]
) -> Lexicon:
    """Lines of a dictionary, looked up in both vocabularies.

    Args:
        lines: Source word and one of its translations.
        source_words: Words of the source rows; a repeated word has its first row.
        target_words: Words of the target rows, likewise.

    Raises:
        UserError: If no line has both words.
    """
    known, missing = [], 0
    first, second = _places(source_words), _places(target_words)
    for source, target in lines:
        if source in first and target in second:
            known.append((first[source], second[target]))
        else:
            missing += 1
    if not known:
        raise UserError(
            f"none of the {missing} dictionary lines has both words in the vocabularies: compare spelling and case"
        )
    return Lexicon(np.array(known, np.int64), missing)


@dataclass(frozen=True)
class Translations:
    """What the scores of all target words say of the lines of a lexicon.

    Args:
        lexicon: The lexicon.
        positions: Rank of the translation of every line on its own, from 1; of equal ones the lower place is first.
        best: Best target place of each of the lexicon's source words.

    Source: Glavaš et al. 2019, https://aclanthology.org/P19-1070, for the positions (xling-eval)
    """

    lexicon: Lexicon
    positions: Int[np.ndarray, " P"]
    best: Int[np.ndarray, " s"]

    def hits(self, k: int) -> Float[np.ndarray, " s"]:
        """1 for each source word with ANY of its translations among the k best, else 0 (MUSE).

        Source: Conneau et al. 2018, https://arxiv.org/abs/1710.04087
        """
        hits = np.zeros(len(self.best))
        np.maximum.at(hits, self.lexicon.rows, self.positions <= k)
        return hits

    def precision(self, k: int) -> float:
        """Share of source words that `hits` has."""
        return float(self.hits(k).mean())


def translations(
    source: Float[np.ndarray, "S D"],
    target: Float[np.ndarray, "T D"],
    lexicon: Lexicon,
    csls_neighbours: int | None = CSLS_NEIGHBOURS,
) -> Translations:
    """The translations of a lexicon ranked among all target words.

    CSLS is 2·cos(x, y) − r(x) − r(y), where r is the mean of the largest cosines over the WHOLE other vocabulary: a
    word that is near to everything loses.

    Args:
        source: Raw rows of the source vocabulary.
        target: Raw rows of the target vocabulary.
        lexicon: Whose source words are translated.
        csls_neighbours: Words that r is the mean of, all where there are fewer; None for the plain cosine.

    Source: Conneau et al. 2018, section 2.3, https://arxiv.org/abs/1710.04087
    """
    x, y = unit_rows(source), unit_rows(target)
    wanted = lexicon.sources
    hubness = np.zeros(len(y), y.dtype)
    if csls_neighbours is not None:
        hubness = _nearest_mean(y, x, csls_neighbours)
    rows, positions = lexicon.rows, np.zeros(len(lexicon.pairs), np.int64)
    best: list[Int[np.ndarray, " b"]] = []
    for block in _blocks(len(wanted), len(y)):
        # r(x) is the same for all targets of a row and does not move their order
        table = 2 * (x[wanted[block]] @ y.T) - hubness
        best.append(table.argmax(axis=1))
        lines = np.flatnonzero((rows >= block.start) & (rows < block.stop))
        positions[lines] = _positions(table, rows[lines] - block.start, lexicon.pairs[lines, 1])
    return Translations(lexicon, positions, np.concatenate(best))


def orthogonal_map(
    source: Float[np.ndarray, "P D"], target: Float[np.ndarray, "Q E"]
) -> Float[np.ndarray, "D D"]:
    """The rotation W that brings the source rows nearest to their translations: min ‖XW − Y‖, WᵀW = I.

    Args:
        source: Rows of the training pairs, out of a vocabulary that went through `prepared`.
        target: Rows of their translations, in the same order.

    Raises:
        UserError: If the numbers of rows or dimensions differ.

    Source: Schönemann 1966, https://doi.org/10.1007/BF02289451; Artetxe et al. 2018, https://aclanthology.org/P18-1073
    """
    if source.shape != target.shape or not len(source):
        raise UserError(
            f"a map is fitted on pairs of rows of one dimension, got {source.shape} and {target.shape}"
        )
    left, _, right = np.linalg.svd(source.T @ target)
    return left @ right


def prepared(vectors: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N D"]:
    """Unit rows, centred, and unit again: the rule of VecMap before a map is fitted or used."""
    rows = unit_rows(vectors)
    return unit_rows(rows - rows.mean(axis=0))


def mean_reciprocal_rank(positions: Sequence[int] | Int[np.ndarray, " M"]) -> float:
    """Mean of one over the rank."""
    return float(np.mean(1.0 / np.asarray(positions)))


def _places(words: Sequence[str]) -> Mapping[str, int]:
    places: dict[str, int] = {}
    for place, word in enumerate(words):
        places.setdefault(word, place)
    return places


def _nearest_mean(
    rows: Float[np.ndarray, "N D"], others: Float[np.ndarray, "M D"], k: int
) -> Float[np.ndarray, " N"]:
    k = min(k, len(others))
    means = []
    for block in _blocks(len(rows), len(others)):
        table = rows[block] @ others.T
        means.append(np.partition(table, len(others) - k, axis=1)[:, -k:].mean(axis=1))
    return np.concatenate(means)


def _positions(
    table: Float[np.ndarray, "b T"], rows: Int[np.ndarray, " n"], places: Int[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """Ranks from 1 of places in rows of a table; of equal scores the lower place is first."""
    positions = np.zeros(len(rows), np.int64)
    for line, (row, place) in enumerate(zip(rows, places, strict=True)):
        scores, own = table[row], table[row, place]
        ahead = np.count_nonzero(scores > own) + np.count_nonzero(scores[:place] == own)
        positions[line] = 1 + ahead
    return positions


def _blocks(rows: int, columns: int) -> list[slice]:
    size = max(1, _TABLE // max(1, columns))
    return [slice(start, start + size) for start in range(0, rows, size)]
