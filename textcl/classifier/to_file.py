"""Rows in, a file of predicted classes out: block by block, in the given order, in flat memory."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Unpack

import pyarrow

from textcl.classifier.answers import AnswerColumns, Classifies, Judged, bits_of
from textcl.classifier.columns import ColumnsClassifier
from textcl.data.lock import sole_writer_of
from textcl.data.records import Record, open_records
from textcl.data.stream import StreamedRow, row_blocks
from textcl.data.summary import WriteSummary
from textcl.encoder.peers import ReadingOptions
from textcl.errors import UserError


def predict_rows(
    classifier: Classifies | ColumnsClassifier,
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
    `rejected`, whether the text belongs to none of the classes (`label` stays the most probable one). Of several label
    columns each has these under its name: `topic`, `topic_probability`, `topic_entropy`, `topic_1`, …. A column of the
    input that has one of these names is kept under "input_" and its name; so is one that "input_" already begins.

    Args:
        classifier: A `Classifier`, or what answers as one, or a `ColumnsClassifier`.
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
    columns = _columns(classifier, top_k, reject)
    added = {name: kind for each in columns.values() for name, kind in each.types.items()}
    summary = WriteSummary(str(target), classifier.encoder.max_length)
    bits, rejected = dict.fromkeys(columns, 0.0), dict.fromkeys(columns, 0)
    reader = classifier.encoder.reader()
    start = time.perf_counter()
    with (
        sole_writer_of(target),
        open_records(target, schema=_with(schema, added), overwrite=overwrite) as write,
    ):
        for block in row_blocks(rows):
            texts = [row.text for row in block]
            answers: list[dict[str, object]] = [{} for _ in texts]
            for name, judged in _judge(classifier, texts, reject, options).items():
                probabilities, outside = judged
                entropies = bits_of(probabilities, columns[name].classifier.multi_label)
                for answer, more in zip(
                    answers, columns[name].rows(judged, entropies), strict=True
                ):
                    answer |= more
                bits[name] += sum(entropies)
                rejected[name] += 0 if outside is None else int(outside.sum())
            write([_joined(row.values, new) for row, new in zip(block, answers, strict=True)])
            summary.rows += len(texts)
            summary.blank += sum(not text.strip() for text in texts)
            summary.truncated += reader.count_cut(texts)
            progress(len(texts))
    means = [f"{name} {total / max(1, summary.rows):.2f}".strip() for name, total in bits.items()]
    summary.detail = f"; mean entropy {', '.join(means)} bits"
    if rejecting := [name for name, each in columns.items() if each.reject]:
        counts = [f"{name} {rejected[name]:,}".strip() for name in rejecting]
        summary.detail += f"; {', '.join(counts)} rejected"
    summary.seconds = time.perf_counter() - start
    return summary


def _columns(
    classifier: Classifies | ColumnsClassifier, top_k: int, reject: bool
) -> dict[str, AnswerColumns]:
    """The columns of the answers by label column, whose name is "" where there is one.

    Raises:
        UserError: If there are fewer classes than asked for, or two columns would have one name.
    """
    if isinstance(classifier, ColumnsClassifier):
        columns = {
            name: AnswerColumns(part, top_k, reject and part.rejection is not None, name)
            for name, part in classifier.parts.items()
        }
    else:
        columns = {"": AnswerColumns(classifier, top_k, reject)}
    most = max(len(each.classifier.classes) for each in columns.values())
    if not 1 <= top_k <= most:
        raise UserError(f"expected 1 to {most} classes, as many as the model has, got {top_k}")
    names = Counter(name for each in columns.values() for name in each.types)
    if twice := [name for name, count in names.items() if count > 1]:
        raise UserError(
            f"the answers for the label columns {', '.join(columns)} would have two columns {twice[0]!r}: train them "
            "under other names"
        )
    return columns


def _judge(
    classifier: Classifies | ColumnsClassifier,
    texts: Sequence[str],
    reject: bool,
    options: ReadingOptions,
) -> Mapping[str, Judged]:
    """Answers by label column."""
    if isinstance(classifier, ColumnsClassifier):
        if reject:
            return classifier.predict_or_reject(texts, **options)
        shares = classifier.predict_proba(texts, **options)
        return {name: (probabilities, None) for name, probabilities in shares.items()}
    if reject:
        return {"": classifier.predict_or_reject(texts, **options)}
    return {"": (classifier.predict_proba(texts, **options), None)}


def _with(
    schema: pyarrow.Schema | None, added: dict[str, pyarrow.DataType]
) -> pyarrow.Schema | None:
    if schema is None:
        return None
    fields = [field.with_name(_kept(field.name, added)) for field in schema]
    return pyarrow.schema([*fields, *added.items()])


def _joined(record: Record, added: dict[str, object]) -> dict[str, object]:
    return {_kept(name, added): value for name, value in record.items()} | added


def _kept(name: str, added: Mapping[str, object]) -> str:
    """The name under which a column of the input is kept: another for each, whatever the other columns are."""
    bare = re.sub("^(input_)+", "", name)
    return f"input_{name}" if name in added or bare in added else name
