"""Settings that recipes for labelled rows share, and what of them follows from the rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Annotated, ClassVar, Literal, Self

from torch import nn

from textcl.classifier.classifier import Classifier
from textcl.classifier.columns import ColumnsClassifier
from textcl.classifier.dev import SelectBy
from textcl.classifier.head import ClassificationHead, HeadKind, make_head
from textcl.encoder.encoder import Encoder
from textcl.training.domains import Domain
from textcl.training.settings import TrainSettings

_EPOCHS, _UPDATES, _EVALUATIONS, _HEAD_RATE = 5, 60, 10, 1e-3


@dataclass(frozen=True)
class LabelledSettings(TrainSettings):
    """Settings of every training on labelled rows.

    Args:
        dev: File of labelled texts that selects the weights, or the share of the training rows that is held out for
            it, such as 0.1; "" for none. Where it is not named, a tenth of the rows (1,000 at most) is held out if
            there are 1,000 rows, and 20 a class.
        select_by: What is highest for the weights that are kept; accuracy when empty, or macro-F1 where rows have
            several labels.
        keep_frozen: Whether the frozen encoder with its logistic regression is saved where no update scores as high
            on dev.
        compare_folds: Parts of the rows that are left out of a training in turn, to choose between the frozen and the
            trained encoder where no dev set is named and there are fewer than 1,000 rows, or 20 a class; 0 keeps the
            trained one, and holds a tenth out from 20 rows a class on, as `patience` does, which needs it.
        rows_per_class: K of P × K batches, of which P is batch_size / K; 0 shuffles all rows.
        class_weights: "balanced" lets rows of rare classes count more in the cross-entropy, by rows / (classes × rows
            of the class); where rows have several labels, each label by rows without it / rows with it.
        drop_unlabelled: Whether rows without a label are left out instead of refused.
        label_separator: What stands between the labels of a row where a text holds several, such as "," in "joy,love";
            "" where they are lists.
        epochs: Passes over the data; 0 makes five, and on small data as many as make 60 updates.
        classes: Names of the classes in the order of their ids; found in the training data when empty.
        class_rows: Training rows of each class; found in the data.
        row_count: Training rows; found in the data.
        multi_label: Whether rows have several labels; found in the data, which then has the role `labels`.
        label_columns: Names of the label columns where there are several; found in the data. `classes` and `class_rows`
            then are those of the first column, followed by those of the second, and so on.
        column_classes: How many of `classes` each of these columns has; found in the data.
    """

    dev: str = ""
    evaluate_every: int = 0
    save_every: int = 500
    select_by: SelectBy | None = None
    keep_frozen: bool = True
    compare_folds: Annotated[int, Domain(at_least=0, at_most=20, hint="0 or from 2 on")] = 2
    rows_per_class: Annotated[int, Domain(at_least=0)] = 0
    class_weights: Literal["none", "balanced"] = "none"
    drop_unlabelled: bool = False
    label_separator: str = ""
    epochs: Annotated[float, Domain(at_least=0)] = 0.0
    classes: tuple[str, ...] = ()
    class_rows: tuple[Annotated[int, Domain(at_least=0)], ...] = ()
    row_count: Annotated[int, Domain(at_least=0)] = 0
    multi_label: bool = False
    label_columns: tuple[str, ...] = ()
    column_classes: tuple[Annotated[int, Domain(at_least=0)], ...] = ()

    TAKES_COLUMNS: ClassVar[bool] = False
    """Whether the recipe trains on several label columns, with a head and a loss for each of them."""

    FITS_HEAD: ClassVar[bool] = False
    """Whether the head is fitted to vectors of the trained encoder, of length 1, instead of being trained with it."""

    REHEARSED: ClassVar[float] = 1.0
    """Share of the updates that a training without a part of the rows makes, at a learning rate as much higher."""

    @property
    def by_column(self) -> tuple[Self, ...]:
        """The settings of each label column alone, with its classes; these themselves where there is one."""
        if not self.label_columns:
            return (self,)
        ends = list(accumulate(self.column_classes))
        return tuple(
            replace(
                self,
                classes=self.classes[end - count : end],
                class_rows=self.class_rows[end - count : end],
                row_count=sum(self.class_rows[end - count : end]),
                label_columns=(),
                column_classes=(),
            )
            for end, count in zip(ends, self.column_classes, strict=True)
        )

    @property
    def leaves_parts_out(self) -> bool:
        """Whether parts of few rows are left out of a training in turn, instead of one part as a dev set."""
        return self.keep_frozen and self.compare_folds > 1 and not self.patience

    @property
    def start_may_be_best(self) -> bool:
        """Whether the model before training is kept where no update scores as high on dev."""
        return self.keep_frozen

    @property
    def selection(self) -> SelectBy:
        """Name of the measure on dev."""
        return self.select_by or ("macro-f1" if self.multi_label else "accuracy")

    @property
    def block(self) -> int:
        """Rows of one class that stand together in a batch; 0 for shuffled rows."""
        return self.rows_per_class

    def total_steps(self, batches: int) -> int:
        """Updates of the run, given the batches of an epoch."""
        if self.steps is not None or self.epochs:
            return super().total_steps(batches)
        return self.beyond_warmup(max(_UPDATES, _EPOCHS * batches // self.accumulation))

    @property
    def weights(self) -> tuple[float, ...] | None:
        """Class weights for `CrossEntropy`; None where all count alike, or rows have several labels."""
        if self.class_weights == "none" or self.multi_label:
            return None
        total = sum(self.class_rows)
        return tuple(total / (len(self.classes) * max(1, rows)) for rows in self.class_rows)

    @property
    def positive_weights(self) -> tuple[float, ...] | None:
        """Positive weights for `CrossEntropy`; None where all count alike, or rows have one label each."""
        if self.class_weights == "none" or not self.multi_label:
            return None
        return tuple((self.row_count - rows) / rows if rows else 1.0 for rows in self.class_rows)

    def head_for(self, encoder: Encoder, kind: HeadKind, dropout: float) -> ClassificationHead:
        """A fresh head with these classes behind an encoder; see `make_head`."""
        return make_head(
            kind,
            encoder.backbone.config.model_type,
            encoder.dimension,
            len(self.classes),
            dropout=dropout,
            multi_label=self.multi_label,
            normalize=self.FITS_HEAD,
        )

    def classifier(
        self, encoder: Encoder, heads: Sequence[ClassificationHead]
    ) -> Classifier | ColumnsClassifier:
        """The classifier of an encoder and a head for each of `by_column`."""
        parts = [
            Classifier(encoder, head, each.classes, multi_label=self.multi_label)
            for each, head in zip(self.by_column, heads, strict=True)
        ]
        if not self.label_columns:
            return parts[0]
        return ColumnsClassifier(dict(zip(self.label_columns, parts, strict=True)))


@dataclass(frozen=True)
class ClassifierSettings(LabelledSettings):
    """Settings of training a classifier whose head learns with the encoder.

    Args:
        evaluate_every: Updates between two evaluations on `dev`; 0 evaluates after every epoch, and about ten times
            where small data makes more epochs.
        head: "linear" is one layer that starts as logistic regression on the vectors of the frozen encoder, of a
            strength chosen by cross-validation, so that training begins at the line to beat. "lcl" is the head of
            LCL's code, "own" the one that transformers has for the architecture, with which (and cls pooling) the saved
            folder loads there too; both have a hidden layer and start at random.
        head_dropout: Dropout inside the heads.
        head_learning_rate: Highest learning rate of the heads; when empty 0.001 for linear ones, and `learning_rate`
            for the others, as published.
    """

    head: HeadKind = "linear"
    head_dropout: Annotated[float, Domain(at_least=0, below=1)] = 0.1
    head_learning_rate: Annotated[float, Domain(at_least=0)] | None = None

    @property
    def leaves_parts_out(self) -> bool:
        """As for all; but what is compared is a regression, which a head with a hidden layer cannot be."""
        return super().leaves_parts_out and self.head == "linear"

    def evaluation_interval(self, batches: int) -> int:
        """Updates between two evaluations, given the batches of an epoch."""
        epoch = super().evaluation_interval(batches)
        if self.evaluate_every or self.patience or self.epochs or self.steps is not None:
            return epoch
        return epoch * math.ceil(self.total_steps(batches) / (_EVALUATIONS * epoch))

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
