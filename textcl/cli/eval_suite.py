"""`textcl eval` of suites, of folders and files of one's own, and of one model against another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from textcl.cli.consoles import result_table
from textcl.errors import UserError

if TYPE_CHECKING:
    from textcl.data.json_files import JsonDict
    from textcl.evaluation.benchmarks import EncodeWith
    from textcl.evaluation.published import PublishedRow
    from textcl.suites.compare import Difference
    from textcl.suites.suite import SuiteResult, Task, TaskResult

BM25 = "bm25"
"""Value of --against that stands for BM25 in place of a model."""

Load = Callable[[str], "EncodeWith"]
Results = Mapping[str, "TaskResult"]


@dataclass(frozen=True)
class Systems:
    """Everything that stands in the tables.

    Args:
        model: Name of the model, and its results.
        beside: BM25's results, where there are any.
        against: Name of the other system, and its results.
        differences: Of both.
        published: Rows of the same protocol.
        speed: Line on texts and time.
    """

    model: tuple[str, Results]
    beside: Results = field(default_factory=dict[str, "TaskResult"])
    against: tuple[str, Results] | None = None
    differences: Sequence[Difference] = ()
    published: Mapping[str, Sequence[PublishedRow]] = field(
        default_factory=dict[str, "Sequence[PublishedRow]"]
    )
    speed: str = ""

    def content(self, precision: str) -> JsonDict:
        """Content of --json."""
        name, results = self.model
        content: JsonDict = {
            "model": name,
            "precision": precision,
            "scale": 100,
            "tasks": _plain(results),
        }
        if self.beside:
            content["bm25"] = _plain(self.beside)
        if self.against:
            content["against"] = {"model": self.against[0], "tasks": _plain(self.against[1])}
            content["differences"] = [asdict(row) for row in self.differences]
        if rows := [row for rows in self.published.values() for row in rows]:
            content["published"] = [asdict(row) for row in rows]
        return content

    def show(self, console: Console) -> None:
        """Tables of scores, one a protocol; or the table of differences."""
        if self.against:
            _show_differences(console, self.model[0], self.against[0], self.differences)
        else:
            _show_scores(console, self)
        results = self.model[1].values()
        lines = dict.fromkeys(each.description for each in results)
        notes = dict.fromkeys(f"{each.label}: {each.note}" for each in results if each.note)
        sources = ["the sources of the published rows are in --json"]
        for line in (*lines, *notes, *(sources if any(self.published.values()) else ())):
            console.print(line, soft_wrap=True, highlight=False, markup=False)


def own_tasks(
    data: str, train: str | None, columns: Mapping[str, str], aggregation: str = "all"
) -> list[Task]:
    """A folder in the layout of BEIR, a file of graded pairs or a labelled file, as the only task.

    Raises:
        UserError: If it is none of them, or something is wrong in it.
    """
    from textcl.evaluation.own_pairs import holds_pairs, own_pairs
    from textcl.suites.graded import GradedPairs
    from textcl.suites.probe import LabelledRows
    from textcl.suites.ranking import Ranking

    if Path(data).is_dir():
        if train or columns:
            raise UserError(
                "--train and --column go with a labelled file, not with a folder of a corpus"
            )
        return [Ranking.of_folder(data)]
    if holds_pairs(data, columns):
        if train:
            raise UserError(
                "--train goes with labelled rows, and graded pairs need none to be fitted on"
            )
        return [GradedPairs(own_pairs(data, columns), aggregation)]
    return [LabelledRows.of_files(data, train, columns)]


def eval_tasks(
    model: str, tasks: Sequence[Task], against: str | None, beside: Sequence[str], load: Load
) -> Systems:
    """Score a model on tasks, with BM25 and published rows beside it, or against another system.

    Args:
        model: A run, a folder, an export or a name on the hub.
        tasks: What it is scored on.
        against: Another model, or `BM25`; None for none.
        beside: Words that published rows match.
        load: From the name of a model to the model.
    """
    from textcl.suites.compare import compare
    from textcl.suites.suite import run_suite

    ours = run_suite(load(model), tasks)
    if against is None:
        bm25 = _bm25(tasks)
        return Systems(
            (model, ours.tasks), bm25, published=_published(ours, beside), speed=_speed(ours)
        )
    theirs = _all_bm25(tasks) if against == BM25 else run_suite(load(against), tasks).tasks
    differences = compare(ours.tasks, theirs)
    return Systems((model, ours.tasks), {}, (against, theirs), differences, speed=_speed(ours))


def _bm25(tasks: Sequence[Task]) -> dict[str, TaskResult]:
    from textcl.suites.bm25 import bm25_installed
    from textcl.suites.ranking import Ranking

    ranked = [task for task in tasks if isinstance(task, Ranking)]
    return {task.name: task.score_bm25() for task in ranked} if bm25_installed() else {}


def _all_bm25(tasks: Sequence[Task]) -> dict[str, TaskResult]:
    from textcl.suites.ranking import Ranking

    others = [task.name for task in tasks if not isinstance(task, Ranking)]
    if others:
        raise UserError(f"{BM25} ranks documents: it has no score on {', '.join(others)}")
    return {task.name: task.score_bm25() for task in tasks if isinstance(task, Ranking)}


def _published(result: SuiteResult, beside: Sequence[str]) -> dict[str, list[PublishedRow]]:
    """Rows that match any of `beside`, by protocol."""
    from textcl.evaluation.published import published_rows

    rows: dict[str, dict[str, PublishedRow]] = {}
    for protocol, names in _by_protocol(result.tasks).items():
        metric = result.tasks[names[0]].headline[0]
        for words in beside:
            for row in published_rows(protocol=protocol, match=words, tasks=names, metric=metric):
                rows.setdefault(protocol, {})[row.id] = row
    return {protocol: list(each.values()) for protocol, each in rows.items()}


def _speed(result: SuiteResult) -> str:
    speed = result.texts / max(result.encode_seconds, 1e-9)
    return (
        f"{result.texts:,} texts in {result.encode_seconds:.1f} s ({speed:,.0f} texts/s), "
        f"scored in {result.score_seconds:.1f} s"
    )


def _by_protocol(results: Results) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for name, result in results.items():
        names.setdefault(result.protocol, []).append(name)
    return names


def _show_scores(console: Console, systems: Systems) -> None:
    """Tasks as columns where each shows one number, else one table a task."""
    results = systems.model[1]
    for protocol, names in _by_protocol(results).items():
        if all(len(results[name].headline) == 1 for name in names):
            _show_row(console, systems, names, systems.published.get(protocol, ()))
        else:
            for name in names:
                _show_measures(console, systems, name)


def _show_row(
    console: Console, systems: Systems, names: Sequence[str], published: Sequence[PublishedRow]
) -> None:
    model, results = systems.model
    averaged = len(names) > 1
    table = result_table("model")
    for label in [*(results[name].label for name in names), *(["avg"] if averaged else [])]:
        table.add_column(label, justify="right", no_wrap=True)
    first = results[names[0]]
    table.add_row(f"[dim]{first.unit}", *(f"[dim]{results[name].units:,}" for name in names))
    ours = [results[name].measures[results[name].headline[0]] for name in names]
    table.add_row(
        f"[bold]{escape(model)}", *map(_number, ours), *([_number(_mean(ours))] if averaged else []),
        end_section=True,
    )  # fmt: skip
    for row in published:
        values = [row.scores.get(name) for name in names]
        average = [_number(row.average)] if averaged else []
        table.add_row(escape(f"{row.model}, {row.supervision}"), *map(_number, values), *average)
    console.print(table)


def _show_measures(console: Console, systems: Systems, name: str) -> None:
    model, results = systems.model
    result = results[name]
    counts = [
        f"{result.units:,} {result.unit}",
        *(f"{n:,} {what}" for what, n in result.counts.items()),
    ]
    table = result_table(f"{result.label}: {', '.join(counts)}", *result.headline)
    table.add_row(
        f"[bold]{escape(model)}", *(_number(result.measures[key]) for key in result.headline)
    )
    if other := systems.beside.get(name):
        table.add_row("BM25", *(_number(other.measures[key]) for key in result.headline))
    console.print(table)
    if other:
        console.print(other.description, soft_wrap=True, highlight=False, markup=False)


def _show_differences(console: Console, a: str, b: str, differences: Sequence[Difference]) -> None:
    first, second = _short_names(a, b)
    table = result_table(
        "task", "measure", first, second, "difference", "95 % interval", "p", "drawn"
    )
    for row in differences:
        interval = (
            "–" if row.interval is None else f"{row.interval[0]:+.2f} to {row.interval[1]:+.2f}"
        )
        p = "–" if row.p is None else f"{row.p:.2g}"
        difference = "–" if row.difference is None else f"{row.difference:+.2f}"
        table.add_row(
            escape(row.label), row.measure, _number(row.a), _number(row.b), difference, interval, p,
            f"{row.units:,} {row.unit}",
        )  # fmt: skip
    console.print(table)
    if differences:
        one = differences[0]
        line = (
            f"paired bootstrap: {one.resamples:,} resamples of the {one.unit} of each task, the same for both (seed "
            f"{one.seed}); p two-sided, not corrected for the number of rows; other seeds of a training are not in it"
        )
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _short_names(a: str, b: str) -> tuple[str, str]:
    """The last parts of both names, where these differ."""
    short = Path(a).name or a, Path(b).name or b
    return short if short[0] != short[1] else (a, b)


def _plain(results: Results) -> JsonDict:
    return {name: result.to_dict() for name, result in results.items()}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
