"""Supervision by labels: the batches of a run, the line that it has to beat, and what selects its weights.

`textcl.ClassifierSettings` and `textcl.LabelledSettings` are loaded from here, so that whoever has such settings has
their supervision too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch import distributed, nn

from textcl.classifier.baseline import Baseline, measure_baseline
from textcl.classifier.batches import batch_that_fits, describe_classmates, describe_visits
from textcl.classifier.classifier import Classifier
from textcl.classifier.columns_supervision import LabelColumns, supervise_columns
from textcl.classifier.comparison import (
    FROZEN,
    TRAINED,
    Comparison,
    KeepShare,
    can_fold,
    compare_by_folds,
    too_small_classes,
)
from textcl.classifier.dev import DevTexts, held_out_share, hold_out, score_protocol
from textcl.classifier.fitted_head import FitHead
from textcl.classifier.head import ClassificationHead
from textcl.classifier.labels import (
    default_dev,
    describe_classes,
    dev_texts,
    load_dev_texts,
    targets_of_rows,
    with_classes,
)
from textcl.classifier.settings import ClassifierSettings as ClassifierSettings
from textcl.classifier.settings import LabelledSettings as LabelledSettings
from textcl.data.label_columns import label_columns
from textcl.data.roles import label_role
from textcl.data.rows import Rows
from textcl.errors import UserError
from textcl.method.hooks import Hook
from textcl.method.method import Method, online_of
from textcl.terminal import counted
from textcl.training.loader import Loader
from textcl.training.position import Position
from textcl.training.preview import describe_negatives
from textcl.training.request import RowRequest
from textcl.training.samplers import ClassBatches, Sampler, ShuffledBatches
from textcl.training.supervision import (
    LEFT_OUT,
    DevChoice,
    LeftOut,
    Supervision,
    supervise,
)


@dataclass(frozen=True)
class Labels:
    """Rows with labels, and what follows from them: see `Supervision`.

    Args:
        settings: Of the run, with the classes that were found.
        rows: To train on; what is held out for dev is no longer among them.
        dev: Labelled texts that select the weights.
        held_out: The rows that are held out for dev.
        baseline: The line to beat; None until `begin` has measured it.
        comparison: What rows left out in turn say of training; None where it is not asked.
    """

    settings: LabelledSettings
    rows: Rows
    dev: DevTexts | None
    held_out: Rows | None = None
    baseline: Baseline | None = None
    comparison: Comparison | None = None

    @property
    def classes(self) -> Mapping[str, Sequence[str]]:
        """Names in the order of their ids."""
        return {label_role(self.settings.multi_label): self.settings.classes}

    def sampler(self) -> Sampler:
        """Shuffled rows, or P × K batches."""
        return batches_of(self.settings, self.rows)

    def begin(self, method: Method) -> Labels:
        """Measure the line to beat, and let linear heads start there: logistic regression on the frozen encoder."""
        if self.baseline is not None:
            return self
        parts = [method.objective, *method.encoders.values(), *method.state.values()]
        heads = [
            module
            for part in parts
            for module in part.modules()
            if isinstance(module, ClassificationHead) and module.is_linear
        ]
        baseline = measure_baseline(
            online_of(method), self.settings, self.rows, self.dev, starts=bool(heads)
        )
        for head in heads:
            head.start_from(baseline.probe.weight, baseline.probe.bias)
        return replace(self, baseline=baseline)

    def compare(
        self,
        method: Method,
        rehearse: Callable[[Supervision], Method],
        log: Callable[[str], object],
    ) -> Labels:
        """Choose between the frozen and the trained encoder where no dev rows do it: see `compare_by_folds`."""
        settings, baseline = self.settings, self.baseline
        if (
            self.dev is not None
            or baseline is None
            or not (baseline.starts and _folds(settings, self.rows))
        ):
            return self
        log(
            f"first without each of {settings.compare_folds} parts of the rows in turn, to see whether training helps"
        )
        kept = baseline if settings.FITS_HEAD else None  # its head starts nowhere

        def train(rows: Rows) -> nn.Module:
            fewer = for_fewer_rows(settings, len(self.sampler()), len(self.rows), len(rows))
            part = with_classes(fewer, rows)
            return rehearse(replace(self, settings=part, rows=rows, baseline=kept)).trained

        comparison = compare_by_folds(settings, self.rows, online_of(method), train)
        return replace(self, comparison=comparison)

    @property
    def left_out(self) -> LeftOut | None:
        """What rows that were left out in turn say of the frozen and the trained encoder."""
        found = self.comparison
        if found is None:
            return None
        share, scores = found.share, found.scores
        protocol = score_protocol(
            f"{counted(found.rows, 'training row')} {LEFT_OUT}",
            self.settings.selection,
            self.settings.multi_label,
        )
        return LeftOut(protocol, scores[FROZEN], scores[TRAINED], scores[share], share == FROZEN)

    def describe(self, method: Method, loader: Loader) -> Mapping[str, str]:
        """The classes, what an anchor sees of its own class and of others, and the line to beat."""
        targets = targets_of_rows(self.settings, self.rows)
        classmates = describe_classmates(loader.sampler, targets)
        labels = loader.batch(0, 0).labels
        negatives = describe_negatives(method, self.settings, loader.world, labels)
        if labels is not None and "each anchor sees" in negatives:
            negatives = f"{negatives}; {classmates}"
        classes = describe_classes(self.settings)
        if isinstance(loader.sampler, ClassBatches):
            classes = f"{classes}; {describe_visits(loader.sampler, self.settings.classes)}"
        lines = {"classes": classes, "negatives": negatives}
        if self.baseline is None:
            return lines
        if self.dev is None and self.baseline.starts and _folds(self.settings, self.rows):
            parts = self.settings.compare_folds
            lines["dev"] = (
                f"none: each of {parts} parts of the rows is left out in turn to choose what is kept"
            )
        return lines | {"to beat": self.baseline.describe()}

    def hooks(self, method: Method) -> Sequence[Hook]:
        """Keeps what a comparison says; fits the head before it is needed, where it is not trained."""
        classifier, hooks = method.trained, list[Hook]()
        assert isinstance(classifier, Classifier)
        if self.comparison is not None and self.baseline is not None:
            hooks.append(KeepShare(classifier, self.comparison.share, self.baseline.probe))
        if self.settings.FITS_HEAD:
            hooks.append(FitHead(classifier, self.settings, self.rows, self.held_out))
        return hooks

    def verdict(self, position: Position) -> str:
        """Whether training beat the line."""
        if self.comparison is not None:
            return self.comparison.verdict()
        if self.baseline is None:
            return ""
        small = [] if self.dev or not self.settings.leaves_parts_out else self._too_small_classes()
        if not small:
            return self.baseline.verdict(position)
        reason = (
            f"class {small[0]!r} has fewer than {self.settings.compare_folds} different texts, so that no part of the "
            "rows can be left out"
        )
        return self.baseline.verdict(position, reason)

    def _too_small_classes(self) -> list[str]:
        return too_small_classes(self.settings, *_texts_and_labels(self.settings, self.rows))

    def next_steps(self, best: Path) -> str:
        """Evaluate and predict."""
        return f"textcl eval {best} --data TEST · textcl predict {best} FILE -o out.csv"


@supervise.register(LabelledSettings)
def _(
    settings: LabelledSettings,
    request: RowRequest,
    dev: DevChoice,
    log: Callable[[str], object],
) -> Labels | LabelColumns:
    if dev == "default" and request.task:  # its own dev split
        settings = replace(settings, dev=str(request.source))
    request = replace(
        request.with_label_columns(),
        drop_unlabelled=settings.drop_unlabelled,
        label_separator=settings.label_separator,
    )
    rows = request.rows()
    if label_columns(rows.roles):
        return supervise_columns(settings, rows, dev, request.columns)
    if settings.label_columns:
        raise UserError(
            "label_columns is found in the data: name several label columns with --column label=NAME,NAME"
        )
    settings = with_classes(settings, rows)
    if dev == "default" and not settings.dev and not _folds(settings, rows):
        settings = replace(settings, dev=default_dev(rows.column("text"), len(settings.classes)))
    if dev == "none" or not settings.dev:
        return Labels(settings, rows, None)
    share = held_out_share(settings.dev)
    if share is None:
        return Labels(settings, rows, load_dev_texts(settings, request.columns))
    rows, held_out, split = hold_out(rows, share, settings.seed)
    texts = dev_texts(held_out, settings, f"{split.describe()}, held out")
    return Labels(with_classes(settings, rows), rows, texts, held_out)


def _folds(settings: LabelledSettings, rows: Rows) -> bool:
    if distributed.is_initialized():
        return False  # a rehearsal is of one process
    return can_fold(settings, *_texts_and_labels(settings, rows))


def _texts_and_labels(
    settings: LabelledSettings, rows: Rows
) -> tuple[Sequence[str], Sequence[str | Sequence[str]]]:
    return rows.strings("text"), rows.column(label_role(settings.multi_label))


def for_fewer_rows(
    settings: LabelledSettings, batches: int, rows: int, kept: int
) -> LabelledSettings:
    """Settings by which each of fewer rows is seen as often as each of all, or a share of that: see `REHEARSED`.

    Args:
        settings: Of the run.
        batches: Of an epoch of all rows.
        rows: All of them.
        kept: Those that are trained on.
    """
    size, block = batch_that_fits(settings.batch_size, settings.block, kept)
    seen = settings.REHEARSED * settings.total_steps(batches) * settings.batch_size / rows
    steps = max(1, round(seen * kept / size))
    warmup = settings.warmup_steps and min(settings.warmup_steps, steps - 1)
    return replace(
        settings,
        batch_size=size,
        rows_per_class=block,
        steps=steps,
        warmup_steps=warmup,
        learning_rate=settings.learning_rate / settings.REHEARSED,
    )


def batches_of(settings: LabelledSettings, rows: Rows) -> Sampler:
    """Sampler of the batches.

    Raises:
        UserError: If P × K batches are asked for and do not fit the data.
    """
    if not settings.block:
        return ShuffledBatches(len(rows), settings.batch_size, settings.seed)
    if settings.multi_label:
        raise UserError(
            "rows_per_class needs rows with one label each, and these have several: leave it at 0"
        )
    ids = targets_of_rows(settings, rows)
    return ClassBatches(ids, settings.batch_size, settings.block, settings.seed)
