"""Supervision by several label columns: each has a head, a loss and a line to beat, and the mean over them selects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from textcl.classifier.columns import ColumnsClassifier
from textcl.classifier.columns_baseline import ColumnBaselines, measure_baselines
from textcl.classifier.columns_dev import DevColumns, dev_columns
from textcl.classifier.dev import held_out_share, hold_out
from textcl.classifier.labels import default_dev, describe_classes, read_dev, with_columns
from textcl.classifier.settings import LabelledSettings
from textcl.data.label_columns import column_role
from textcl.data.rows import Rows
from textcl.data.summary import blank_note
from textcl.method.hooks import Hook
from textcl.method.method import Method, online_of
from textcl.terminal import counted
from textcl.training.loader import Loader
from textcl.training.position import Position
from textcl.training.preview import describe_negatives
from textcl.training.samplers import Sampler, ShuffledBatches
from textcl.training.supervision import DevChoice, Supervision


@dataclass(frozen=True)
class LabelColumns:
    """Rows with labels in several columns, and what follows from them: see `Supervision`.

    Args:
        settings: Of the run, with the columns and the classes that were found.
        rows: To train on; what is held out for dev is no longer among them.
        dev: Labelled texts that select the weights.
        baselines: The lines to beat; None until `begin` has measured them.
    """

    settings: LabelledSettings
    rows: Rows
    dev: DevColumns | None
    baselines: ColumnBaselines | None = None

    @property
    def classes(self) -> Mapping[str, Sequence[str]]:
        """Names of each column's classes in the order of their ids."""
        return {column_role(name): each.classes for name, each in self._columns}

    @property
    def _columns(self) -> list[tuple[str, LabelledSettings]]:
        """Name and settings of each column."""
        return list(zip(self.settings.label_columns, self.settings.by_column, strict=True))

    def sampler(self) -> Sampler:
        """Shuffled rows."""
        settings = self.settings
        return ShuffledBatches(len(self.rows), settings.batch_size, settings.seed)

    def begin(self, method: Method) -> LabelColumns:
        """Measure the lines to beat, and let linear heads start there."""
        if self.baselines is not None:
            return self
        classifier = method.trained
        assert isinstance(classifier, ColumnsClassifier)
        heads = {name: part.head for name, part in classifier.parts.items()}
        starts = {name: head.is_linear for name, head in heads.items()}
        baselines = measure_baselines(online_of(method), self.settings, self.rows, self.dev, starts)
        for name, head in heads.items():
            if starts[name]:
                probe = baselines.parts[name].probe
                head.start_from(probe.weight, probe.bias)
        return replace(self, baselines=baselines)

    def compare(
        self,
        method: Method,
        rehearse: Callable[[Supervision], Method],
        log: Callable[[str], object],
    ) -> LabelColumns:
        """Nothing: frozen and trained encoder are compared on dev alone."""
        return self

    @property
    def left_out(self) -> None:
        """Nothing: dev decides."""

    def describe(self, method: Method, loader: Loader) -> Mapping[str, str]:
        """The classes of each column, and the lines to beat."""
        labels = loader.batch(0, 0).labels
        lines = {
            "classes": "; ".join(self._describe(name, each) for name, each in self._columns),
            "negatives": describe_negatives(method, self.settings, loader.world, labels),
        }
        return lines if self.baselines is None else lines | {"to beat": self.baselines.describe()}

    def _describe(self, name: str, column: LabelledSettings) -> str:
        missing = len(self.rows) - column.row_count
        note = f", {counted(missing, 'row')} without" if missing else ""
        return f"{name}: {describe_classes(column)}{note}"

    def hooks(self, method: Method) -> Sequence[Hook]:
        """None."""
        return ()

    def verdict(self, position: Position) -> str:
        """Whether training beat the mean of the lines."""
        return "" if self.baselines is None else self.baselines.verdict(position)

    def next_steps(self, best: Path) -> str:
        """Evaluate and predict."""
        return f"textcl eval {best} --data TEST · textcl predict {best} FILE -o out.csv"


def supervise_columns(
    settings: LabelledSettings,
    rows: Rows,
    dev: DevChoice,
    columns: Mapping[str, str],
) -> LabelColumns:
    """Supervision by several label columns.

    Args:
        settings: Of the recipe.
        rows: All of them, each label column with a role of its own.
        dev: Where the dev set comes from.
        columns: Role to column name, of a dev file, too.

    Raises:
        UserError: If the recipe does not train on several columns, or something is wrong in the labels.
    """
    settings = with_columns(settings, rows)
    if dev == "default" and not settings.dev:
        settings = replace(
            settings, dev=default_dev(rows.column("text"), max(settings.column_classes))
        )
    if dev == "none" or not settings.dev:
        return LabelColumns(settings, rows, None)
    share = held_out_share(settings.dev)
    if share is None:
        given = read_dev(settings, rows.roles, columns)
        note = blank_note(given.report.blank)
        return LabelColumns(
            settings, rows, dev_columns(given, settings, Path(settings.dev).name, note)
        )
    rows, held_out, split = hold_out(rows, share, settings.seed)
    name = f"{split.describe()}, held out"
    return LabelColumns(with_columns(settings, rows), rows, dev_columns(held_out, settings, name))
