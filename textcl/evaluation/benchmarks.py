"""Scores of a model on tasks: every sentence encoded once, every number with its protocol."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, cast, runtime_checkable

import numpy as np
from jaxtyping import Float, Shaped

from textcl.data.arguments import checked_arguments
from textcl.data.json_files import JsonDict
from textcl.data.json_text import to_json
from textcl.data.lengths import cut_note
from textcl.errors import RunError, UserError
from textcl.evaluation.correlation import Correlation, StsResult, pair_scores, sts_aggregate
from textcl.evaluation.tasks import StsTask, load_task, task_names
from textcl.evaluation.whitening import Whitening


@runtime_checkable
class Encodes(Protocol):
    """Anything that turns texts into rows: an `Encoder`, a SentenceTransformer, a stub."""

    def encode(self, texts: Sequence[str], /) -> object:
        """Embeddings (N, D) of N texts, in the order given: an array, a tensor on the CPU, or a list of rows."""
        ...


Whiten = Callable[[Float[np.ndarray, "N D"]], Whitening]
"""A whitening for some vectors: fitted on them, or one that was fitted before."""

AGGREGATIONS: Mapping[str, str] = {
    "all": "over the concatenated subsets",
    "mean": "plain mean over subsets",
    "wmean": "mean over subsets weighted by their pairs",
}


@dataclass(frozen=True)
class TaskScore:
    """Coefficients of one task, with everything a reader needs to compare them.

    `cut` counts its sentences that are longer than the model reads, where the model tells.
    """

    name: str
    label: str
    protocol: str
    pairs: int
    result: StsResult
    source: str
    note: str
    cut: int | None = None

    def to_dict(self) -> JsonDict:
        """A plain mapping with coefficients times 100."""
        parts = {name: self.result.aggregate(name) for name in AGGREGATIONS}
        return {
            "protocol": self.protocol,
            "pairs": self.pairs,
            "spearman": {name: _hundred(part.spearman) for name, part in parts.items()},
            "pearson": {name: _hundred(part.pearson) for name, part in parts.items()},
            "subsets": {name: _part(part) for name, part in self.result.subsets.items()},
            "source": self.source,
            "note": self.note,
            "cut": self.cut,
        }


@dataclass(frozen=True)
class Scores:
    """Scores of a model on one task.

    Args:
        tasks: Scores by task, in the order asked for.
        aggregation: Which aggregation over subsets `scores[task]` and `average` report.
        round_before_average: Whether the average is taken over values rounded to two decimals.
        sentences: Distinct sentences that were encoded.
        seconds: Time spent encoding.
    """

    tasks: Mapping[str, TaskScore]
    aggregation: str
    round_before_average: bool
    sentences: int
    seconds: float

    def __getitem__(self, task: str) -> float | None:
        """Spearman times 100 of a task; None where it is undefined."""
        return _hundred(self.tasks[task].result.aggregate(self.aggregation).spearman)

    def by_protocol(self) -> dict[str, list[str]]:
        """Tasks that follow the same protocol: only their scores may be averaged or stand side by side."""
        names_by_protocol: dict[str, list[str]] = {}
        for name, score in self.tasks.items():
            names_by_protocol.setdefault(score.protocol, []).append(name)
        return names_by_protocol

    def mean(self, tasks: Sequence[str]) -> float | None:
        """Average over `tasks`; None where one of them is undefined."""
        values = [self[task] for task in tasks]
        known = [value for value in values if value is not None]
        if not known or len(known) < len(values):
            return None
        return float(np.mean(np.round(known, 2) if self.round_before_average else known))

    @property
    def average(self) -> float | None:
        """Mean over all tasks; None where one is undefined or they follow several protocols."""
        return self.mean(list(self.tasks)) if len(self.by_protocol()) == 1 else None

    def to_dict(self) -> JsonDict:
        """A plain mapping, as in `scores.json`."""
        return {
            "metric": "spearman",
            "scale": 100,
            "aggregation": self.aggregation,
            "protocols": {
                name: protocol_line(name, self.aggregation) for name in self.by_protocol()
            },
            "average": self.average,
            "round_before_average": self.round_before_average,
            "sentences": self.sentences,
            "tasks": {name: score.to_dict() for name, score in self.tasks.items()},
        }

    def to_json(self) -> str:
        """`to_dict` as JSON, undefined coefficients as null."""
        return to_json(self.to_dict())


@runtime_checkable
class CountsTokens(Protocol):
    """Tells which texts are longer than it reads, as the reader of an `Encoder` does."""

    max_length: int

    def count_cut(self, texts: Sequence[str]) -> int:
        """Number of texts that are cut."""
        ...


class EncodeWith:
    """An encoder whose `encode` is called with these options, such as precision="float32" for exact scores.

    Args:
        encoder: Has `encode(texts, **options)`.
        options: Passed along.
    """

    def __init__(self, encoder: Encodes, **options: object) -> None:
        self.encoder, self.options = encoder, options

    @property
    def similarity_name(self) -> str:
        """Measure by which the encoder compares, as sentence-transformers calls it; "cosine" where it names none."""
        names = ("similarity_name", "similarity_fn_name")
        said = (getattr(self.encoder, name, None) for name in names)
        return next((str(measure) for measure in said if measure), "cosine")

    def encode(self, texts: Sequence[str], /) -> np.ndarray:
        """Vectors of the texts."""
        return self._called(self.encoder.encode, texts)

    def encode_query(self, texts: Sequence[str], /) -> np.ndarray:
        """Vectors of texts as queries, where the encoder tells queries from documents."""
        return self._called(getattr(self.encoder, "encode_query", self.encoder.encode), texts)

    def encode_document(self, texts: Sequence[str], /) -> np.ndarray:
        """Vectors of texts as documents, where the encoder tells queries from documents."""
        return self._called(getattr(self.encoder, "encode_document", self.encoder.encode), texts)

    def _called(self, encode: Callable[..., object], texts: Sequence[str]) -> np.ndarray:
        return np.asarray(encode(texts, **self.options))

    def reader(self) -> CountsTokens | None:
        """The encoder's reader of tokens, where it has one."""
        return _reader(self.encoder)


def protocol_line(protocol: str, aggregation: str) -> str:
    """One line that says how a number came about."""
    split = not protocol.endswith(f"-{aggregation}")
    pairs = "over all pairs of the split" if split else AGGREGATIONS[aggregation]
    return f"{protocol}: Spearman x100 {pairs}, cosine, no regression"


def _hundred(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _part(part: Correlation) -> dict[str, float | int | None]:
    return {
        "spearman": _hundred(part.spearman),
        "pearson": _hundred(part.pearson),
        "pairs": part.pairs,
    }


@checked_arguments
def evaluate(
    model: Encodes,
    tasks: str | StsTask | Sequence[str | StsTask] = "sts",
    *,
    aggregation: str = "all",
    round_before_average: bool = False,
    whiten: Whiten | None = None,
) -> Scores:
    """Score anything that encodes texts.

    Every distinct sentence over all tasks is encoded once, in one call.

    Args:
        model: An object with `encode(texts)` giving one row a text; rows need not be normalised.
        tasks: Names of tasks or suites, or tasks already loaded.
        aggregation: "all", "mean" or "wmean" over the subsets of a task.
        round_before_average: Average values rounded to two decimals, as the official script does.
        whiten: The whitening for a task, given the vectors of its pairs, both columns.

    Raises:
        UserError: If a task is unknown or its data missing or wrong.
        RunError: If the model gives other than one finite row for every sentence.

    Source: SentEval as SimCSE uses it, Gao et al. 2021, appendix B, https://arxiv.org/abs/2104.08821
    """
    if aggregation not in AGGREGATIONS:
        raise UserError(f"aggregation is one of {', '.join(AGGREGATIONS)}; got {aggregation!r}")
    loaded = _load([tasks] if isinstance(tasks, (str, StsTask)) else tasks, aggregation)
    sentences = [text for task in loaded for text in (*task.sentences1, *task.sentences2)]
    places = {text: place for place, text in enumerate(dict.fromkeys(sentences))}
    started = time.perf_counter()
    embeddings = encoded(model.encode, list(places))
    seconds = time.perf_counter() - started
    scores: dict[str, TaskScore] = {}
    reader = _reader(model)
    for task in loaded:
        first, second = (
            embeddings[[places[text] for text in column]]
            for column in (task.sentences1, task.sentences2)
        )
        if whiten is not None:
            fitted = whiten(np.concatenate([first, second]))
            if not isinstance(cast("object", fitted), Whitening):
                raise UserError(f"whiten must give a Whitening, not a {type(fitted).__name__}")
            first, second = fitted.apply(first), fitted.apply(second)
        score = _score(task, pair_scores(first, second), aggregation)
        scores[task.name] = _with_cut(score, task, reader)
    return Scores(scores, aggregation, round_before_average, len(places), seconds)


def _load(chosen: Sequence[str | StsTask], aggregation: str) -> list[StsTask]:
    """Every task once, before the costly encoding starts."""
    tasks: dict[str, StsTask] = {}
    for item in chosen:
        named = [item] if isinstance(item, StsTask) else map(load_task, task_names([item]))
        tasks.update({task.name: task for task in named})
    for task in tasks.values():
        task.check_aggregation(aggregation)
    return list(tasks.values())


def _reader(model: object) -> CountsTokens | None:
    made = model.reader() if hasattr(model, "reader") else None  # pyright: ignore[reportAttributeAccessIssue]
    return made if isinstance(made, CountsTokens) else None


def _with_cut(score: TaskScore, task: StsTask, reader: CountsTokens | None) -> TaskScore:
    """The score with how many sentences of the task the model did not read to their end."""
    if reader is None:
        return score
    texts = task.distinct()
    cut = reader.count_cut(texts)
    note = cut_note(cut, len(texts), reader.max_length)
    return replace(score, cut=cut, note="; ".join(filter(None, (score.note, note))))


def encoded(encode: Callable[[list[str]], object], texts: list[str]) -> Shaped[np.ndarray, "N D"]:
    """One finite row a text.

    Args:
        encode: A model's way from texts to rows.
        texts: The texts.

    Raises:
        RunError: If it gives anything else.
    """
    embeddings = np.asarray(encode(texts))
    if embeddings.ndim != 2 or len(embeddings) != len(texts):
        raise RunError(
            f"encode gave an array {embeddings.shape} for {len(texts):,} texts; one row a text was expected"
        )
    broken = np.flatnonzero(~np.isfinite(embeddings).all(1))
    if len(broken):
        raise RunError(
            f"{len(broken):,} of {len(texts):,} embeddings are not finite, first that of {texts[broken[0]][:80]!r}; "
            "the model's weights or its precision are broken"
        )
    return embeddings


def _score(task: StsTask, similarities: Float[np.ndarray, " N"], aggregation: str) -> TaskScore:
    result = sts_aggregate(similarities, task.scores, task.subsets)
    if not task.has_subsets:
        unknown = Correlation(None, None, result.all.pairs)
        result = replace(result, subsets={}, mean=unknown, wmean=unknown)
    manifest = task.manifest
    return TaskScore(
        task.name,
        manifest.label if manifest else task.name,
        task.protocol(aggregation),
        result.all.pairs,
        result,
        task.source,
        manifest.note if manifest else "",
    )
