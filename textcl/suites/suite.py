"""Tasks of a suite, and one run of a model over several: each text encoded once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from textcl.data.json_files import JsonDict
from textcl.errors import UserError
from textcl.evaluation.benchmarks import Encodes, EncodeWith, encoded
from textcl.evaluation.resampling import Statistic


class Role(StrEnum):
    """The role of a text, by which the model chooses its prompt."""

    plain = "plain"
    query = "query"
    document = "document"


@dataclass(frozen=True, eq=False)
class TaskResult:
    """Scores of one system on one task, with everything a reader needs to compare them.

    Args:
        name: The task.
        label: Short name for the head of a table.
        protocol: Key of what may be compared.
        description: One line that says how the numbers came about.
        measures: By name, times 100; None where one is undefined.
        headline: The measures that a table shows, the most telling one first.
        unit: What a resample draws: "queries", "pairs", "rows", "words" or "mentions".
        statistics: The same measures of resamples, for comparisons; some measures have none.
        source: The copy of the data that was read.
        note: What a reader should know about the data.
        counts: Numbers of texts and of what was left out, by name.
        seed: Seed of every draw; None where nothing is drawn.
    """

    name: str
    label: str
    protocol: str
    description: str
    measures: Mapping[str, float | None]
    headline: Sequence[str]
    unit: str
    statistics: Mapping[str, Statistic]
    source: str
    note: str = ""
    counts: Mapping[str, int] = field(default_factory=dict[str, int])
    seed: int | None = None

    @property
    def units(self) -> int:
        """The number of queries, pairs or rows."""
        return next(iter(self.statistics.values())).units

    def to_dict(self) -> JsonDict:
        """A plain mapping; measures times 100."""
        return {
            "protocol": self.protocol,
            "description": self.description,
            "measures": dict(self.measures),
            self.unit: self.units,
            "counts": dict(self.counts),
            "seed": self.seed,
            "source": self.source,
            "note": self.note,
        }


class Vectors:
    """The rows of texts that were encoded once.

    Args:
        places: Row of every text by role.
        rows: One table for each role.
        similarity: Measure that the model compares by, such as "cosine".
    """

    def __init__(
        self,
        places: Mapping[Role, Mapping[str, int]],
        rows: Mapping[Role, Float32[np.ndarray, "N D"]],
        similarity: str = "cosine",
    ) -> None:
        self.similarity = similarity
        self._places, self._rows = places, rows

    def __call__(self, texts: Sequence[str], role: Role = Role.plain) -> Float32[np.ndarray, "N D"]:
        """Rows of these texts, in their order."""
        places = self._places[role]
        return self._rows[role][[places[text] for text in texts]]


@runtime_checkable
class Task(Protocol):
    """Something that vectors of texts are scored on."""

    @property
    def name(self) -> str:
        """Name in the scores."""
        ...

    def texts(self) -> Mapping[Role, Sequence[str]]:
        """The texts to encode, by what they are to the model; repeated ones are encoded once."""
        ...

    def score(self, vectors: Vectors) -> TaskResult:
        """The scores of the vectors of these texts."""
        ...


@dataclass(frozen=True, eq=False)
class SuiteResult:
    """The scores of a model.

    Args:
        tasks: By name, in the order asked for.
        texts: Distinct texts that were encoded.
        encode_seconds: Time spent encoding them.
        score_seconds: Time spent on everything else.
    """

    tasks: Mapping[str, TaskResult]
    texts: int
    encode_seconds: float
    score_seconds: float


def run_suite(model: Encodes, tasks: Sequence[Task]) -> SuiteResult:
    """Score a model on tasks; each distinct text is encoded once, in one call for each role.

    Args:
        model: Anything with `encode(texts)`; queries and documents go to `encode_query` and `encode_document` where it
            has them.
        tasks: As of `textcl.suites.load_tasks`, or your own.

    Raises:
        UserError: If two tasks have one name, or there is none.
        RunError: If the model gives other than one finite row a text.
    """
    names = [task.name for task in tasks]
    if not names or len(set(names)) < len(names):
        raise UserError(f"a suite is at least one task, each with a name of its own; got {names}")
    places: dict[Role, dict[str, int]] = {}
    for task in tasks:
        for role, texts in task.texts().items():
            known = places.setdefault(role, {})
            for text in texts:
                known.setdefault(text, len(known))
    by_role = model if isinstance(model, EncodeWith) else EncodeWith(model)
    ways = _ways(by_role)
    started = time.perf_counter()
    rows = {
        role: encoded(ways[role], list(known)).astype(np.float32, copy=False)
        for role, known in places.items()
    }
    done = time.perf_counter()
    vectors = Vectors(places, rows, by_role.similarity_name)
    results = {task.name: task.score(vectors) for task in tasks}
    count = sum(map(len, places.values()))
    return SuiteResult(results, count, done - started, time.perf_counter() - done)


def _ways(model: EncodeWith) -> Mapping[Role, Callable[[Sequence[str]], np.ndarray]]:
    return {
        Role.plain: model.encode,
        Role.query: model.encode_query,
        Role.document: model.encode_document,
    }
