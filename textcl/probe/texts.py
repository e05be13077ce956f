"""Texts that a model is probed on, with what is known of them: gold scores of pairs, labels, or nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from textcl.data.json_files import JsonDict
from textcl.data.roles import SYNONYMS
from textcl.data.rows import Rows, load_rows
from textcl.data.sources import open_source
from textcl.errors import UserError
from textcl.evaluation.labelled import LabelledManifest, load_labelled, named_task
from textcl.evaluation.tasks import StsTask, load_task, manifests

SAMPLE = 10_000
"""Texts that are probed; of more, so many are drawn."""

POSITIVE = 0.8
"""A pair is positive above this share of the range of gold scores: above 4 of 5, as SimCSE has it."""


@dataclass(frozen=True)
class TextFacts:
    """Facts about the texts of a probe that its numbers depend on.

    Args:
        source: As the user named it.
        kind: What is known of the texts.
        rows: Rows of the source.
        texts: Texts that were probed.
        pairs: Pairs among them; None where there are none.
        labels: Classes; None where there are none.
        class_prior: Share of the pairs of two texts that are of one class.
        sampled: Whether the texts are a sample of the rows.
        seed: What drew the sample.
        positives: Which pairs are positive; None where there are none.
    """

    source: str
    kind: Literal["pairs", "labelled", "texts"]
    rows: int
    texts: int
    pairs: int | None
    labels: int | None
    class_prior: float | None
    sampled: bool
    seed: int
    positives: str | None


@dataclass(frozen=True)
class ProbeData:
    """Texts, in the order of their rows, both columns one after another for pairs.

    Args:
        source: As the user named it.
        kind: What is known of the texts.
        texts: The texts, repeated ones included.
        pairs: Places of the two texts of every pair; None where there are no pairs.
        gold: Gold score of every pair; None where all pairs are positive, or there are none.
        gold_range: Lowest and highest gold score.
        labels: Class of every text.
        rows: Rows of the source, of which `texts` may be a sample.
        seed: What drew the sample.
    """

    source: str
    kind: Literal["pairs", "labelled", "texts"]
    texts: Sequence[str]
    pairs: Int[np.ndarray, "P 2"] | None = None
    gold: Float[np.ndarray, " P"] | None = None
    gold_range: tuple[float, float] = (0.0, 5.0)
    labels: Sequence[str] | None = None
    rows: int = 0
    seed: int = 0

    @property
    def threshold(self) -> float | None:
        """Gold score above which a pair is positive; None without gold scores."""
        low, high = self.gold_range
        return None if self.gold is None else low + POSITIVE * (high - low)

    @property
    def positives(self) -> Int[np.ndarray, "P 2"] | None:
        """The pairs that are positive; None where there are no pairs."""
        if self.pairs is None or self.gold is None:
            return self.pairs
        return self.pairs[self.gold > self.threshold]

    def facts(self) -> TextFacts:
        """Facts about the texts that the numbers depend on."""
        positives = "all pairs" if self.kind == "pairs" else None
        if self.threshold is not None:
            positives = (
                f"gold > {self.threshold:g} of {self.gold_range[0]:g}..{self.gold_range[1]:g}"
            )
        if self.kind == "labelled":
            positives = "pairs of one class"
        return TextFacts(
            source=self.source,
            kind=self.kind,
            rows=self.rows,
            texts=len(self.texts),
            pairs=None if self.pairs is None else len(self.pairs),
            labels=None if self.labels is None else len(set(self.labels)),
            class_prior=None if self.labels is None else class_prior(self.labels),
            sampled=self.rows > len(self.texts) // (2 if self.kind == "pairs" else 1),
            seed=self.seed,
            positives=positives,
        )

    def to_dict(self) -> JsonDict:
        """`facts` as a plain mapping."""
        return asdict(self.facts())


def class_prior(labels: Sequence[str]) -> float | None:
    """Share of the pairs of two texts that are of one class; None for fewer than two texts."""
    _, counts = np.unique(labels, return_counts=True)
    total = len(labels) * (len(labels) - 1)
    return float((counts * (counts - 1)).sum() / total) if total else None


def load_probe_data(
    source: str,
    *,
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
    scale: tuple[float, float] | None = None,
    sample: int = SAMPLE,
    seed: int = 0,
) -> ProbeData:
    """Texts to probe a model on.

    Args:
        source: An STS task such as STSBenchmark-dev; a task of labelled texts such as ISEAR; or a file, folder or hub
            data set with sentence1, sentence2 and maybe score; anchor and positive; text and label; or text alone.
        columns: Role to column name.
        split: Split of a hub data set, folder or task of labelled texts (its test split when None).
        scale: Lowest and highest gold score that can be; 0 to 1 or 0 to 5 when None, whichever holds all scores.
        sample: Most texts; of more, so many are drawn, pairs together.
        seed: Draws them.

    Raises:
        UserError: If there is no such data, it has none of these columns, or fewer than two texts.
    """
    labelled = named_task(source)
    if labelled is not None:
        data = _of_labelled(*labelled, split or "test")
    elif not Path(source).exists() and source in manifests():
        data = _of_task(load_task(source))
    else:
        data = _of_rows(source, columns or {}, split, scale)
    if len(data.texts) < 2:
        raise UserError(f"{source} has {len(data.texts)} text: a probe compares at least two")
    return _sampled(replace(data, seed=seed), sample)


def _of_task(task: StsTask) -> ProbeData:
    scored = np.flatnonzero(~np.isnan(task.scores))
    low, high = task.manifest.score_range if task.manifest else (0.0, 5.0)
    first, second = (_take(column, scored) for column in (task.sentences1, task.sentences2))
    return _of_pairs(task.name, first, second, task.scores[scored], (float(low), float(high)))


def _of_labelled(manifest: LabelledManifest, prepared: bool, split: str) -> ProbeData:
    if manifest.multi_label:
        raise UserError(
            f"{manifest.name} has several labels a text: a probe wants one class each, or texts alone"
        )
    task = load_labelled(manifest, split, lcl_preparation=prepared)
    name = f"{task.name} {split}" + (f", {task.preparation}" if task.preparation else "")
    labels = [str(label) for label in task.labels]
    return ProbeData(name, "labelled", list(task.texts), labels=labels, rows=len(labels))


def _of_pairs(
    source: str,
    first: Sequence[str],
    second: Sequence[str],
    gold: np.ndarray | None,
    gold_range: tuple[float, float],
) -> ProbeData:
    count = len(first)
    pairs = np.stack([np.arange(count), count + np.arange(count)], 1)
    return ProbeData(source, "pairs", [*first, *second], pairs, gold, gold_range, rows=count)


def _of_rows(
    source: str,
    columns: Mapping[str, str],
    split: str | None,
    scale: tuple[float, float] | None,
) -> ProbeData:
    names = _column_names(source, split)

    def has(*roles: str) -> bool:
        return all(r in columns or {r, *SYNONYMS.get(r, ())} & set(names) for r in roles)

    def read(*roles: str) -> Rows:
        return load_rows(source, roles=roles, columns=columns, split=split)

    if has("sentence1", "sentence2", "score"):
        rows = read("sentence1", "sentence2", "score")
        gold = np.array(rows.column("score"), np.float64)
        first, second = rows.strings("sentence1"), rows.strings("sentence2")
        return _of_pairs(source, first, second, gold, scale or _usual_scale(source, gold))
    for roles in (("sentence1", "sentence2"), ("anchor", "positive")):
        if has(*roles):
            first, second = map(read(*roles).strings, roles)
            return _of_pairs(source, first, second, None, (0.0, 1.0))
    if has("text", "label"):
        rows = read("text", "label")
        texts, labels = rows.strings("text"), rows.strings("label")
        return ProbeData(source, "labelled", texts, labels=labels, rows=len(texts))
    if has("text"):
        texts = read("text").strings("text")
        return ProbeData(source, "texts", texts, rows=len(texts))
    raise UserError(
        f"{source} has the columns {', '.join(names)}; a probe wants sentence1 and sentence2 (and score), anchor and "
        "positive, or text (and label): say which is which with --column role=NAME"
    )


def parse_scale(text: str) -> tuple[float, float]:
    """The ends of a scale from a text such as "0..5".

    Raises:
        UserError: If it is not two numbers that rise.
    """
    low, _, high = text.partition("..")
    try:
        ends = (float(low), float(high))
    except ValueError:
        ends = (0.0, 0.0)
    if not ends[0] < ends[1]:
        raise UserError(f"a scale is two numbers that rise, such as 0..5, not {text!r}")
    return ends


def _usual_scale(source: str, gold: np.ndarray) -> tuple[float, float]:
    """The scale of gold scores where none is given: 0 to 1, or 0 to 5 as in STS.

    Raises:
        UserError: If scores lie outside of both.
    """
    low, high = float(gold.min()), float(gold.max())
    if low < 0 or high > 5:
        raise UserError(
            f"{source} has gold scores from {low:g} to {high:g}, and a positive pair is one above "
            f"{POSITIVE:g} of the scale: name its ends with --scale LOW..HIGH"
        )
    return (0.0, 1.0) if high <= 1 else (0.0, 5.0)


def _column_names(source: str, split: str | None) -> list[str]:
    for part in open_source(source, split=split).parts:
        if part.columns:
            return list(part.columns)
        for _, values in part.read(None):
            if values is not None:
                return list(values)
    raise UserError(f"{source} has no usable row")


def _sampled(data: ProbeData, sample: int) -> ProbeData:
    if len(data.texts) <= sample:
        return data
    draw = np.random.default_rng(data.seed)
    if data.pairs is None:
        kept = np.sort(draw.choice(len(data.texts), sample, replace=False))
        labels = None if data.labels is None else _take(data.labels, kept)
        return replace(data, texts=_take(data.texts, kept), labels=labels)
    kept = np.sort(draw.choice(len(data.pairs), sample // 2, replace=False))
    first, second = (_take(data.texts, data.pairs[kept, side]) for side in (0, 1))
    gold = None if data.gold is None else data.gold[kept]
    drawn = _of_pairs(data.source, first, second, gold, data.gold_range)
    return replace(drawn, rows=data.rows, seed=data.seed)


def _take(values: Sequence[str], places: Int[np.ndarray, " n"]) -> list[str]:
    return [values[int(place)] for place in places]
