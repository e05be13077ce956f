"""Facts of a run: what was asked (settings.json), what was measured (scores.json), and what was logged (metrics.jsonl).

All three are read without the recipe's code: a recipe may be a file of the user, and a folder that came from elsewhere
must not run one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeGuard

from textcl.data.cache import DataReport
from textcl.data.json_files import JsonDict, decode, parse
from textcl.errors import UserError

QUANTILES = 7
"""Values of every list of quantiles in the log."""


@dataclass(frozen=True)
class CommonSettings:
    """The settings of a run that mean the same whatever its recipe.

    Args:
        model: The model it started from.
        data: The training data, as the user named it; "" for rows in memory.
        dev: What selects the weights; "" for nothing.
        batch_size: Rows of an update, before accumulation.
        seed: Seed of everything.
        max_length: Longest row of training in tokens; the model's own when None.
        reading_length: Longest row in tokens that the saved model reads; that of the start model when None.
        prompt: Name of the prompt in front of every text; the model's default when None, none for "".
        num_layers: Layers that were kept; all when None.
        pooling: Pooling of the encoder; the model's own when None.
        steps: Updates that were asked for; counted in epochs when None.
        multi_label: Whether a text may have several classes.
        classes: Classes of a classifier; None for an encoder.
        label_columns: Names of its label columns, where it has several.
    """

    model: str
    data: str = ""
    dev: str = ""
    batch_size: int = 1
    seed: int = 0
    max_length: int | None = None
    reading_length: int | None = None
    prompt: str | None = ""
    num_layers: int | None = None
    pooling: str | None = None
    steps: int | None = None
    multi_label: bool = False
    classes: Sequence[str] | None = None
    label_columns: Sequence[str] = ()


@dataclass(frozen=True)
class RunFacts:
    """The request of a run, and the machine that it ran on: the content of settings.json.

    Args:
        recipe: Name of the recipe, or the file it came from.
        settings: All of its settings as plain values.
        data: What was read.
        recipe_sha256: SHA-256 of the recipe's file; None in folders of earlier versions.
        summary: First line of its method section.
        roles: Columns that it trains on; None in folders of earlier versions.
        columns: Role to column name, where the user gave one.
        split: Split of a hub data set or folder.
        limit: Most rows that were read.
        deduplicate: Whether exact duplicates were left out.
        drop_unlabelled: Whether rows without a label were left out.
        dev: Protocol of the dev scores; None without a dev set.
        seed: Seed of everything.
        command: Command line that started it.
        processes: Processes that trained together.
        device: Device of the first process.
        threads: Threads of torch.
        precision: Autocast, as accelerate names it.
        versions: Versions of the libraries that decide a number.
    """

    recipe: str
    settings: JsonDict
    data: DataReport
    recipe_sha256: str | None = None
    summary: str = ""
    roles: tuple[str, ...] | None = None
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    split: str | None = None
    limit: int | None = None
    deduplicate: bool = False
    drop_unlabelled: bool = False
    dev: str | None = None
    seed: int = 0
    command: str = ""
    processes: int = 1
    device: str = ""
    threads: int = 0
    precision: str = ""
    versions: Mapping[str, str] = field(default_factory=dict[str, str])

    @classmethod
    def from_json(cls, value: object, place: str) -> RunFacts:
        """Facts from the content of settings.json.

        Args:
            value: What the file holds; keys that are new since then take their defaults.
            place: The file, for messages.

        Raises:
            UserError: If a key is missing or of another type.
        """
        facts = decode(value, cls, place)
        decode(facts.settings, CommonSettings, f"{place}: settings")
        return facts

    def to_json(self) -> dict[str, object]:
        """The content of settings.json."""
        return asdict(self)

    @cached_property
    def common(self) -> CommonSettings:
        """The settings that mean the same whatever the recipe."""
        return decode(self.settings, CommonSettings, "settings")

    @property
    def recipe_name(self) -> str:
        """Name of the recipe; of a file, its last part."""
        return Path(self.recipe).name

    @property
    def classifies(self) -> bool:
        """Whether the run trains a classifier."""
        return self.common.classes is not None


@dataclass(frozen=True)
class Scores:
    """The scores of a run: the content of scores.json, written when it ends.

    Args:
        finished: Whether the run came to its end.
        protocol: Protocol of the dev scores; None without a dev set.
        seed: Seed of the run.
        before: Dev score before training.
        best: Best dev score after some update.
        best_step: That update.
        last: Dev score after the last update.
        steps: Updates done.
        train_seconds: Training time, evaluation left out.
        columns: The best score of each label column, where there are several: `best` is their mean.
    """

    finished: bool = False
    protocol: str | None = None
    seed: int | None = None
    before: float | None = None
    best: float | None = None
    best_step: int | None = None
    last: float | None = None
    steps: int | None = None
    train_seconds: float | None = None
    columns: Mapping[str, float] = field(default_factory=dict[str, float])

    def to_json(self) -> dict[str, object]:
        """The content of scores.json; without columns where there is one label, or none."""
        content = asdict(self)
        return content if self.columns else {k: v for k, v in content.items() if k != "columns"}


@dataclass(frozen=True)
class LogLine:
    """A line of metrics.jsonl.

    Args:
        step: Updates done.
        numbers: What is a number, such as "loss", "dev" or "grad_norm". One that is not finite is written as null and
            left out; lines of earlier versions may hold it.
        lists: What is a list of numbers, all of them finite: histograms (counts in equal bins) and quantiles.
    """

    step: int
    numbers: Mapping[str, float]
    lists: Mapping[str, Sequence[float]]


def log_lines(content: bytes, place: str) -> list[LogLine]:
    """The lines of a log; one that a killed run left half-written at the end does not count.

    Args:
        content: Bytes of metrics.jsonl.
        place: The file, for messages.

    Raises:
        UserError: If another line is not one of a log; names the line.
    """
    whole, _, rest = content.rpartition(b"\n")
    parts = [*(whole.split(b"\n") if whole else []), rest]
    lines: list[LogLine] = []
    for number, part in enumerate(parts, 1):
        last = number == len(parts)
        if not part.strip():
            continue
        try:
            lines.append(_log_line(part, f"{place}, line {number}"))
        except UserError:
            if not last:
                raise
    return lines


def _log_line(part: bytes, place: str) -> LogLine:
    try:
        text = part.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{place}: expected JSON in UTF-8, found the byte 0x{part[error.start]:02x}; was the file edited by hand?"
        ) from error
    values = decode(parse(text, place), dict[str, object], place)
    step = decode(values.pop("step", None), int, f"{place}: step")
    numbers: dict[str, float] = {}
    lists: dict[str, Sequence[float]] = {}
    for key, value in values.items():
        where = f"{place}: {key}"
        if isinstance(value, list) and value and not all(isinstance(v, str) for v in value):
            known = [v for v in value if v is not None and not _is_undefined(v)]
            finite = decode(known, list[float], where)
            if len(known) == len(value):
                _check_list(key, finite, where)
                lists[key] = finite
        elif _is_undefined(value):
            numbers[key] = value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            numbers[key] = decode(value, float, where)
        elif value is not None and key in ("loss", "dev"):
            raise UserError(
                f"{where}: expected a number, not {value!r}; was the file edited by hand?"
            )
    return LogLine(step, numbers, lists)


def _is_undefined(value: object) -> TypeGuard[float]:
    """Whether it is a number that JSON has not, which earlier versions wrote as NaN or Infinity instead of null."""
    return isinstance(value, float) and not math.isfinite(value)


def _check_list(key: str, values: Sequence[float], place: str) -> None:
    if key.endswith("histogram") and min(values) < 0:
        raise UserError(f"{place}: expected counts of at least 0, not {min(values):g}")
    if key.endswith("quantiles") and len(values) != QUANTILES:
        raise UserError(f"{place}: expected {QUANTILES} numbers, not {len(values)}")
