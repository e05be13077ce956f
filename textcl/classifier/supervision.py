"""Supervision by labels: the classes of a run, its settings and batches, and the texts that select its weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeVar

from torch import nn

from textcl.classifier.batches import describe_classmates, describe_visits
from textcl.classifier.classifier import left_out, vectors_of
from textcl.classifier.dev import DevTexts, SelectBy, held_out_share, hold_out
from textcl.classifier.head import ClassificationHead, HeadKind, make_head
from textcl.classifier.linear_probe import fit_linear_probe, probe_places
from textcl.classifier.targets import Targets, targets_of
from textcl.data.rows import Rows, load_rows
from textcl.encoder.encoder import Encoder
from textcl.errors import UserError
from textcl.evaluation.labelled import load_labelled, named_task
from textcl.method.method import Method, online_of
from textcl.training.dev import Dev
from textcl.training.domains import Domain
from textcl.training.loader import Loader
from textcl.training.preview import describe_negatives
from textcl.training.request import RowRequest
from textcl.training.samplers import ClassBatches, Sampler, ShuffledBatches
from textcl.training.settings import TrainSettings
from textcl.training.supervision import DevChoice, supervise

_EPOCHS, _UPDATES, _HEAD_RATE = 5, 60, 1e-3


@dataclass(frozen=True)
class ClassifierSettings(TrainSettings):
    """How a classifier is trained: what all recipes for labelled rows share.

    Args:
        dev: File of labelled texts that selects the weights, or the share of the training rows that is held out for
            it, such as 0.1; "" for none.
        select_by: What is highest for the weights that are kept; accuracy when empty, or macro-F1 where rows have
            several labels.
        rows_per_class: K of P × K batches, of which P is batch_size / K; 0 shuffles all rows.
        class_weights: "balanced" lets rows of rare classes count more in the cross-entropy, by rows / (classes × rows
            of the class); where rows have several labels, each label by rows without it / rows with it.
        drop_unlabelled: Whether rows without a label are left out instead of refused.
        epochs: Passes over the data; 0 makes five, and on small data as many as make 60 updates.
        head: "linear" is one layer that starts as logistic regression on the vectors of the frozen encoder, of a
            strength chosen by cross-validation, so that training begins at the line to beat. "lcl" is the head of
            LCL's code, "own" the one that transformers has for the architecture, with which (and cls pooling) the saved
            folder loads there too; both have a hidden layer and start at random.
        head_dropout: Dropout inside the heads.
        head_learning_rate: Highest learning rate of the heads; when empty 0.001 for linear ones, and `learning_rate`
            for the others, as published.
        classes: Names of the classes in the order of their ids; found in the training data when empty.
        class_rows: Training rows of each class; found in the data.
        row_count: Training rows; found in the data.
        multi_label: Whether rows have several labels; found in the data, which then has the role `labels`.
    """

    dev: str = ""
    evaluate_every: int = 0
    save_every: int = 500
    select_by: SelectBy | None = None
    rows_per_class: Annotated[int, Domain(at_least=0)] = 0
    class_weights: Literal["none", "balanced"] = "none"
    drop_unlabelled: bool = False
    epochs: Annotated[float, Domain(at_least=0)] = 0.0
    head: HeadKind = "linear"
    head_dropout: Annotated[float, Domain(at_least=0, below=1)] = 0.1
    head_learning_rate: Annotated[float, Domain(at_least=0)] | None = None
    classes: tuple[str, ...] = ()
    class_rows: tuple[Annotated[int, Domain(at_least=0)], ...] = ()
    row_count: Annotated[int, Domain(at_least=0)] = 0
    multi_label: bool = False

    START_MAY_BE_BEST: ClassVar[bool] = True

    def total_steps(self, batches: int) -> int:
        """Updates of the run, given the batches of an epoch."""
        if self.steps is not None or self.epochs:
            return super().total_steps(batches)
        return max(_UPDATES, _EPOCHS * batches // self.accumulation)

    @property
    def weights(self) -> tuple[float, ...] | None:
        """What `CrossEntropy` takes as class weights; None where all count alike, or rows have several labels."""
        if self.class_weights == "none" or self.multi_label:
            return None
        total = sum(self.class_rows)
        return tuple(total / (len(self.classes) * max(1, rows)) for rows in self.class_rows)

    @property
    def positive_weights(self) -> tuple[float, ...] | None:
        """What `CrossEntropy` takes as positive weights; None where all count alike, or rows have one label each."""
        if self.class_weights == "none" or not self.multi_label:
            return None
        return tuple((self.row_count - rows) / rows if rows else 1.0 for rows in self.class_rows)

    def rates_of(self, *heads: nn.Module | None) -> list[tuple[nn.Module, float]]:
        """The learning rate of each head, as `Method` takes them."""
        rate = self.head_learning_rate
        if rate is None:
            rate = _HEAD_RATE if self.head == "linear" else self.learning_rate
        return [(head, rate) for head in heads if head is not None]

    @property
    def weighing_head(self) -> HeadKind:
        """The head of a network beside the classifier: the architecture's own where heads have a hidden layer."""
        return "linear" if self.head == "linear" else "own"

    def head_for(self, encoder: Encoder, kind: HeadKind, dropout: float) -> ClassificationHead:
        """A fresh head with these classes behind an encoder; see `make_head`."""
        return make_head(
            kind,
            encoder.backbone.config.model_type,
            encoder.dimension,
            len(self.classes),
            dropout=dropout,
            multi_label=self.multi_label,
        )


S = TypeVar("S", bound=ClassifierSettings)


@dataclass(frozen=True)
class Labels:
    """Rows with labels, and what follows from them: see `Supervision`.

    Args:
        settings: Of the run, with the classes that were found.
        rows: To train on; what is held out for dev is no longer among them.
        dev: Labelled texts that select the weights.
    """

    settings: ClassifierSettings
    rows: Rows
    dev: Dev | None

    @property
    def classes(self) -> Sequence[str]:
        """Names in the order of their ids."""
        return self.settings.classes

    def sampler(self) -> Sampler:
        """Shuffled rows, or P × K batches."""
        return batches_of(self.settings, self.rows)

    def describe(self, method: Method, loader: Loader) -> Mapping[str, str]:
        """The classes, and what an anchor sees of its own class and of others."""
        targets = targets_of_rows(self.settings, self.rows)
        classmates = describe_classmates(loader.sampler, targets)
        labels = loader.batch(0, 0).labels
        negatives = describe_negatives(method, self.settings, loader.world, labels)
        if labels is not None and "each anchor sees" in negatives:
            negatives = f"{negatives}; {classmates}"
        classes = describe_classes(self.settings)
        if isinstance(loader.sampler, ClassBatches):
            classes = f"{classes}; {describe_visits(loader.sampler, self.settings.classes)}"
        return {"classes": classes, "negatives": negatives}

    def begin(self, method: Method, tell: Callable[[str], object]) -> None:
        """Let linear heads start as logistic regression on the vectors of the frozen encoder."""
        parts = [method.objective, *method.encoders.values()]
        heads = [
            module
            for part in parts
            for module in part.modules()
            if isinstance(module, ClassificationHead) and module.is_linear
        ]
        if not heads:
            return
        settings, places = self.settings, probe_places(len(self.rows), self.settings.seed)
        rows = self.rows if len(places) == len(self.rows) else self.rows.take(places)
        vectors = vectors_of(online_of(method), rows.column("text"), precision="float32")
        probe = fit_linear_probe(
            vectors,
            targets_of_rows(settings, rows),
            len(settings.classes),
            class_weights=settings.weights or settings.positive_weights,
            seed=settings.seed,
        )
        for head in heads:
            head.start_from(probe.weight, probe.bias)
        line = f"update 0 is {probe.describe()}"
        if self.dev is not None:
            line += f", which scores {self.dev(method.trained):.2f} on dev: the line to beat"
        tell(line)

    def next_steps(self, best: Path) -> str:
        """Evaluate and predict."""
        return f"textcl eval {best} --data TEST · textcl predict {best} FILE -o out.csv"


@supervise.register(ClassifierSettings)
def _(
    settings: ClassifierSettings,
    request: RowRequest,
    dev: DevChoice,
    tell: Callable[[str], object],
) -> Labels:
    if dev == "default" and request.task:  # its own dev split
        settings = replace(settings, dev=str(request.source))
    rows = replace(request, drop_unlabelled=settings.drop_unlabelled).rows()
    settings = with_classes(settings, rows)
    if dev == "none" or not settings.dev:
        return Labels(settings, rows, None)
    share = held_out_share(settings.dev)
    if share is None:
        return Labels(settings, rows, load_dev_texts(settings, request.columns))
    rows, held_out, split = hold_out(rows, share, settings.seed)
    texts = dev_texts(held_out, settings, f"{split.describe()}, held out")
    return Labels(with_classes(settings, rows), rows, texts)


def with_classes(settings: S, rows: Rows) -> S:
    """The settings with the classes of the training rows.

    Classes are sorted by name where the settings do not name them.

    Raises:
        UserError: If a label is none of the classes that the settings name, or all rows have the same.
    """
    multi_label = "labels" in rows.roles
    labels = rows.column("labels" if multi_label else "label")
    found = Counter(
        name for label in labels for name in (dict.fromkeys(label) if multi_label else [label])
    )
    classes = settings.classes or tuple(sorted(found))
    targets_of(labels, classes, multi_label, rows.report.source)
    if len({tuple(sorted(set(label))) if multi_label else label for label in labels}) < 2:
        raise UserError(
            f"all {len(labels):,} rows of {rows.report.source} have the same label "
            f"({', '.join(found) or 'none'}): a classifier needs rows of at least 2 classes"
        )
    counts = tuple(found[name] for name in classes)
    return replace(
        settings,
        classes=classes,
        class_rows=counts,
        row_count=len(labels),
        multi_label=multi_label,
    )


def batches_of(settings: ClassifierSettings, rows: Rows) -> Sampler:
    """Which rows make which batch.

    Raises:
        UserError: If P × K batches are asked for and do not fit the data.
    """
    if not settings.rows_per_class:
        return ShuffledBatches(len(rows), settings.batch_size, settings.seed)
    if settings.multi_label:
        raise UserError(
            "rows_per_class needs rows with one label each, and these have several: leave it at 0"
        )
    ids = targets_of_rows(settings, rows)
    return ClassBatches(ids, settings.batch_size, settings.rows_per_class, settings.seed)


def targets_of_rows(settings: ClassifierSettings, rows: Rows) -> Targets:
    """Class ids of the rows, or which classes each has.

    Raises:
        UserError: If a label is none of the classes.
    """
    labels = rows.column("labels" if settings.multi_label else "label")
    return targets_of(labels, settings.classes, settings.multi_label, rows.report.source)


def describe_classes(settings: ClassifierSettings) -> str:
    """One line for the terminal: how many classes, and their smallest and largest."""
    counts = sorted(zip(settings.class_rows, settings.classes, strict=True))
    (least, rare), (most, common) = counts[0], counts[-1]
    several = ", several a row" if settings.multi_label else ""
    return (
        f"{len(counts)}{several}; smallest {rare} with {least:,} row{'s' * (least != 1)}, "
        f"largest {common} with {most:,}"
    )


def load_dev_texts(
    settings: ClassifierSettings, columns: Mapping[str, str] | None = None
) -> DevTexts:
    """The labelled texts that `settings.dev` names: a file, or a task of `eval/tasks`, whose dev split is meant.

    Raises:
        UserError: If there is no such file, something is wrong in it, or a label is no class of the training data.
    """
    role = "labels" if settings.multi_label else "label"
    if task := named_task(settings.dev):
        there = load_labelled(task[0], "dev", lcl_preparation=task[1])
        return dev_texts(
            load_rows(there.rows(), roles=("text", role)), settings, f"{settings.dev}, dev"
        )
    if not Path(settings.dev).exists():
        raise UserError(
            f"--dev {settings.dev}: there is no such file; name one with the columns text and {role}, or the share of "
            "the training rows to hold out, such as 0.1"
        )
    rows = load_rows(
        settings.dev,
        roles=("text", role),
        columns=columns,
        drop_unlabelled=settings.drop_unlabelled,
    )
    return dev_texts(rows, settings, Path(settings.dev).name, left_out(rows.report.blank))


def dev_texts(rows: Rows, settings: ClassifierSettings, name: str, note: str = "") -> DevTexts:
    """Labelled rows as what selects weights."""
    targets = targets_of_rows(settings, rows)
    chosen = settings.select_by or ("macro-f1" if settings.multi_label else "accuracy")
    return DevTexts(name, rows.column("text"), targets, chosen, note)
