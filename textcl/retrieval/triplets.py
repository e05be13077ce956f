"""Mining of triplets from pairs and a corpus, as `textcl mine` does it, with its vectors in a cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from textcl.data.arguments import checked_arguments
from textcl.data.cache import cache_folder
from textcl.data.files import atomic_write
from textcl.data.records import Record, open_records
from textcl.data.roles import text_group
from textcl.data.rows import Rows
from textcl.data.stream import stream_rows
from textcl.data.texts import normal_text
from textcl.errors import UserError
from textcl.progress import progress
from textcl.retrieval.build import (
    Source,
    Tools,
    build_folder,
    new_manifest,
    require_means,
)
from textcl.retrieval.choices import Tally, triplet
from textcl.retrieval.documents import Document, Documents, survey
from textcl.retrieval.hard_negatives import Miner, MiningOptions, Reranks, read_vectors
from textcl.retrieval.index import Index
from textcl.retrieval.models import Embeds, embed
from textcl.retrieval.store import Kind, Manifest
from textcl.terminal import counted

_LAYOUT = 2
_BLOCK_ROWS = 1000
MARKS = ("relevant", "irrelevant")
"""Marks of a negative: it answers the anchor, or it does not."""


@dataclass(frozen=True)
class Anchors:
    """Distinct anchors with their distinct positives, in the order of the pairs."""

    texts: list[str]
    positives: list[list[str]]

    @classmethod
    def of(cls, pairs: Iterable[Mapping[str, str]]) -> Anchors:
        """Group pairs by equal anchors."""
        texts: dict[int, str] = {}
        positives: dict[int, dict[int, str]] = {}
        for pair in pairs:
            group = text_group(pair["anchor"])
            texts.setdefault(group, pair["anchor"])
            positive = pair["positive"].strip()
            positives.setdefault(group, {}).setdefault(text_group(positive), positive)
        return cls([*texts.values()], [[*own.values()] for own in positives.values()])


@dataclass(frozen=True)
class Marks:
    """Judgements of mined negatives.

    Args:
        relevant: Identities of documents that answer the anchor, by its identity (see `text_group`).
        irrelevant: How many were judged not to.
    """

    relevant: Mapping[int, frozenset[int]]
    irrelevant: int = 0

    @classmethod
    def read(cls, source: str | Path) -> Marks:
        """The marks in a file with the columns anchor, negative and mark, as the audit page saves them.

        Raises:
            UserError: If a mark is none of `MARKS` or empty, or the file has no mark.
        """
        relevant: dict[int, set[int]] = {}
        irrelevant = 0
        for number, row in enumerate(stream_rows(source, role="negative"), 1):
            mark, anchor = row.values.get("mark") or "", row.values.get("anchor")
            if mark not in ("", *MARKS) or not isinstance(anchor, str):
                raise UserError(
                    f"{source}, row {number:,}: expected an anchor, a negative and a mark that is "
                    f"{' or '.join(MARKS)} or empty, got the mark {mark!r:.40}"
                )
            irrelevant += mark == "irrelevant"
            if mark == "relevant":
                relevant.setdefault(text_group(anchor), set()).add(text_group(row.text))
        if not relevant and not irrelevant:
            raise UserError(
                f"{source} has no mark: write {' or '.join(MARKS)} into its column mark"
            )
        return cls({group: frozenset(own) for group, own in relevant.items()}, irrelevant)

    def describe(self) -> str:
        """One line for the terminal."""
        count = sum(map(len, self.relevant.values()))
        share = 100 * count / (count + self.irrelevant)
        return f"of {count + self.irrelevant:,} marked negatives {count:,} are relevant ({share:.0f} %): left out"


@checked_arguments
def mine_pairs(
    model: Embeds,
    pairs: Rows,
    corpus: Documents | None,
    output: str | Path,
    options: MiningOptions,
    *,
    kind: Kind = "exact",
    reranker: Reranks | None = None,
    marks: Marks | None = None,
    overwrite: bool = False,
    tools: Tools | None = None,
) -> Tally:
    """Write a row of anchor, positive and hard negatives for every pair whose anchor has enough of them, or for all.

    Vectors of the corpus and of the anchors are kept in the cache, by a hash of model, prompts and texts; the corpus is
    never in memory as a whole.

    Args:
        model: Encodes anchors as queries and the corpus as documents.
        pairs: With the roles anchor and positive.
        corpus: Documents, to which positives that it lacks are added; the positives alone when None.
        output: A file ending in .csv, .jsonl or .parquet.
        options: Which documents become negatives.
        kind: How the corpus is searched.
        reranker: Scores the candidates again.
        marks: Negatives that are known to be relevant.
        overwrite: Whether the output may be replaced.
        tools: How texts are encoded and progress is shown.

    Returns:
        What happened, with a sample for the audit.

    Raises:
        UserError: If the corpus is too small, or no anchor gets negatives.
        RunError: If a vector or a score is not finite.
    """
    tools = tools or Tools()
    anchors = Anchors.of(row for block in pairs.blocks(_BLOCK_ROWS) for row in block)
    documents = _with_positives(corpus, anchors.positives)
    index = _cached_index(model, documents, kind, tools)
    miner = Miner(index, options, reranker, marks.relevant if marks else None)
    vectors = read_vectors(_cached_vectors(model, anchors.texts, index.manifest, tools))
    tally = Tally(options.negatives, options.keep_short, seed=options.seed)
    choices = miner.mine(anchors.texts, vectors, anchors.positives)
    with (
        open_records(output, overwrite=overwrite) as write,
        progress(
            "mining", "anchors", total=len(vectors), show=tools.show, console=tools.console
        ) as advance,
    ):
        rows: list[Record] = []
        for choice in choices:
            if tally.count(choice):
                rows += [
                    triplet(choice, p, options.negatives, reranked=reranker is not None)
                    for p in choice.positives
                ]
            if len(rows) >= _BLOCK_ROWS:
                write(rows)
                rows = []
            advance(1)
        write(rows)
        if not tally.scores["kept"]:
            raise UserError(
                f"none of {tally.anchors:,} anchors has {counted(options.negatives, 'negative')} by the rules: ask for "
                "fewer, widen the ranks or the margins, or add documents"
            )
    return tally


def _with_positives(corpus: Documents | None, positives: Sequence[Sequence[str]]) -> Documents:
    """The corpus and, after it, the positives that it lacks."""

    def read() -> Iterator[Document]:
        missing = {normal_text(text): text for own in positives for text in own}
        row = 0
        documents = iter(corpus() if corpus is not None else ())
        for document in documents:
            missing.pop(normal_text(document.text), None)
            row = document.row
            yield document
            if not missing:
                yield from documents
        for number, text in enumerate(missing.values(), 1):
            yield Document(f"positive {number}", text, row + number)

    return read


def _cached_index(model: Embeds, documents: Documents, kind: Kind, tools: Tools) -> Index:
    require_means(cache_folder() / "index", kind)
    about = survey(documents, "the corpus")
    begun = new_manifest(model, "", "float32", kind)
    folder = cache_folder() / f"index-{_key(asdict(begun), about.digest, tools.precision)}"
    with suppress(UserError):  # missing, or damaged: made anew
        kept = Index.load(folder)
        kept.rows.check()
        if kept.manifest.as_begun() == begun and kept.manifest.rows == about.rows:
            return kept
    build_folder(folder, Source(documents, about), model, begun, tools)
    return Index.load(folder)


def _cached_vectors(
    model: Embeds, texts: list[str], manifest: Manifest, tools: Tools
) -> Float32[np.ndarray, "Q D"]:
    about = [manifest.model_sha256, manifest.query_prompt, manifest.similarity, tools.precision]
    path = cache_folder() / f"anchors-{_key(about, texts)}.npy"
    with suppress(ValueError, OSError, EOFError):  # missing, or damaged: made anew
        if len(kept := np.load(path, allow_pickle=False)) == len(texts):
            return kept
    vectors = embed(model, texts, "query", manifest.similarity, tools.batch_tokens, tools.precision)
    with atomic_write(path) as file:
        np.save(file, vectors, allow_pickle=False)
    return vectors


def _key(*facts: object) -> str:
    text = json.dumps([_LAYOUT, *facts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
