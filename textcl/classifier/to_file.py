"""Rows in, a file of predicted classes out: block by block, in the given order, in flat memory."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, Unpack, runtime_checkable

import numpy as np
import pyarrow
import torch
from jaxtyping import Bool, Float32

from textcl.classifier.targets import Targets
from textcl.data.lock import sole_writer_of
from textcl.data.records import Record, open_records
from textcl.data.stream import StreamedRow, row_blocks
from textcl.data.summary import WriteSummary
from textcl.encoder.peers import ReadingOptions
from textcl.encoder.to_file import CountsCut
from textcl.errors import UserError
from textcl.evaluation.geometry import entropy


@runtime_checkable
class ReadsTexts(Protocol):
    """The encoder of a classifier."""

    max_length: int

    def reader(self) -> CountsCut:
        """Texts to tokens as the classifier makes them."""
        ...


@runtime_checkable
class Classifies(Protocol):
    """Gives texts their classes, as `Classifier` does."""

    @property
    def classes(self) -> Sequence[str]:
        """Names of the classes, in the order of the probabilities."""
        ...

    @property
    def multi_label(self) -> bool:
        """Whether a text has any number of the classes instead of exactly one."""
        ...

    @property
    def encoder(self) -> ReadsTexts:
        """Encoder that reads the texts."""
        ...

    def predict_proba(
        self, texts: Iterable[str], **options: Unpack[ReadingOptions]
    ) -> Float32[np.ndarray, "N C"]:
        """Probability of each class."""
        ...

    def predict_or_reject(
        self, texts: Iterable[str], **options: Unpack[ReadingOptions]
    ) -> tuple[Float32[np.ndarray, "N C"], Bool[np.ndarray, " N"]]:
        """Probability of each class, and whether the text is rejected."""
        ...

    def decide(self, probabilities: Float32[np.ndarray, "N C"]) -> Targets:
        """The classes that the probabilities stand for."""
        ...

    def names(self, decisions: Targets) -> list[str] | list[list[str]]:
        """Decisions as names of classes."""
        ...


def predict_rows(
    classifier: Classifies,
    rows: Iterable[StreamedRow],
    target: str | Path,
    *,
    top_k: int = 1,
    reject: bool = False,
    schema: pyarrow.Schema | None = None,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda rows: None,
    **options: Unpack[ReadingOptions],
) -> WriteSummary:
    """Write the predicted class of every row; row i of the output belongs to row i of the input.

    A row keeps its columns and gets `label`, `probability` and `entropy` (bits); where the classifier gives texts
    several labels, `labels`, `probabilities` (of those) and `entropy` (of a yes or no, the mean over classes). For
    `top_k` > 1 the most probable classes follow as `label_1`, `probability_1`, `label_2`, …; with `reject` comes
    `rejected`, whether the text belongs to none of the classes (`label` stays the most probable one). A column of the
    input that has one of these names is kept under "input_" and its name; so is one that "input_" already begins.

    Args:
        classifier: A `Classifier`, or what answers as one.
        rows: What `stream_rows` gives.
        target: A file ending in .csv, .jsonl or .parquet, or "-" for JSON lines on standard output.
        top_k: How many classes to tell.
        reject: Whether to tell which texts the classifier rejects.
        schema: Types of the input's columns, for parquet.
        overwrite: Whether the file may be there already.
        progress: Called after every block with its number of rows.
        options: Further arguments of `classifier.predict_proba`.

    Raises:
        UserError: If a row is wrong, or the output cannot be made.
        RunError: If the disk fills up.
    """
    if not 1 <= top_k <= len(classifier.classes):
        raise UserError(
            f"expected 1 to {len(classifier.classes)} classes, as many as the model has, got {top_k}"
        )
    added = _added(classifier, top_k, reject)
    summary = WriteSummary(str(target), classifier.encoder.max_length)
    bits, rejected, reader = 0.0, 0, classifier.encoder.reader()
    start = time.perf_counter()
    with (
        sole_writer_of(target),
        open_records(target, schema=_with(schema, added), overwrite=overwrite) as write,
    ):
        for block in row_blocks(rows):
            texts = [row.text for row in block]
            if reject:
                probabilities, outside = classifier.predict_or_reject(texts, **options)
            else:
                probabilities, outside = classifier.predict_proba(texts, **options), None
            entropies = _bits(probabilities, classifier.multi_label)
            answers = _answers(classifier, probabilities, entropies, top_k, outside)
            write([_joined(row.values, new) for row, new in zip(block, answers, strict=True)])
            summary.rows += len(texts)
            bits += sum(entropies)
            rejected += 0 if outside is None else int(outside.sum())
            summary.blank += sum(not text.strip() for text in texts)
            summary.truncated += reader.count_cut(texts)
            progress(len(texts))
    summary.detail = f"; mean entropy {bits / max(1, summary.rows):.2f} bits"
    if reject:
        summary.detail += f"; {rejected:,} rejected"
    summary.seconds = time.perf_counter() - start
    return summary


def _added(classifier: Classifies, top_k: int, reject: bool) -> dict[str, pyarrow.DataType]:
    """Names and types of the columns that are added."""
    text, number = pyarrow.string(), pyarrow.float32()
    if classifier.multi_label:
        first = {"labels": pyarrow.list_(text), "probabilities": pyarrow.list_(number)}
    else:
        first = {"label": text, "probability": number}
    ranks = range(1, top_k + 1) if top_k > 1 else ()
    ranked = [(f"label_{k}", text) for k in ranks], [(f"probability_{k}", number) for k in ranks]
    pairs = [column for both in zip(*ranked, strict=True) for column in both]
    last = {"rejected": pyarrow.bool_()} if reject else {}
    return {**first, "entropy": number, **dict(pairs), **last}


def _with(
    schema: pyarrow.Schema | None, added: dict[str, pyarrow.DataType]
) -> pyarrow.Schema | None:
    if schema is None:
        return None
    fields = [field.with_name(_kept(field.name, added)) for field in schema]
    return pyarrow.schema([*fields, *added.items()])


def _answers(
    classifier: Classifies,
    probabilities: Float32[np.ndarray, "N C"],
    entropies: Sequence[float],
    top_k: int,
    rejected: Bool[np.ndarray, " N"] | None,
) -> list[dict[str, object]]:
    """Fields that are added to each row."""
    decisions = classifier.decide(probabilities)
    names, shares = classifier.names(decisions), probabilities.tolist()
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k].tolist()
    rows = list[dict[str, object]]()
    for index, (name, share, ranked) in enumerate(zip(names, shares, order, strict=True)):
        if classifier.multi_label:
            chosen = [share[place] for place in np.flatnonzero(decisions[index])]
            row: dict[str, object] = {"labels": name, "probabilities": chosen}
        else:
            row = {"label": name, "probability": share[decisions[index]]}
        row["entropy"] = entropies[index]
        for rank, place in enumerate(ranked if top_k > 1 else (), 1):
            row[f"label_{rank}"] = classifier.classes[place]
            row[f"probability_{rank}"] = share[place]
        if rejected is not None:
            row["rejected"] = bool(rejected[index])
        rows.append(row)
    return rows


def _bits(probabilities: Float32[np.ndarray, "N C"], multi_label: bool) -> Sequence[float]:
    shares = torch.from_numpy(probabilities)
    if not multi_label:
        return entropy(shares, "bits").tolist()
    return entropy(torch.stack([shares, 1 - shares], dim=2), "bits").mean(1).tolist()


def _joined(record: Record, added: dict[str, object]) -> dict[str, object]:
    return {_kept(name, added): value for name, value in record.items()} | added


def _kept(name: str, added: Mapping[str, object]) -> str:
    """The name under which a column of the input is kept: another for each, whatever the other columns are."""
    bare = re.sub("^(input_)+", "", name)
    return f"input_{name}" if name in added or bare in added else name
