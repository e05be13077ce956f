"""Everything that follows from the labels of a run: its rows, dev set, batches, and what its user reads of them.

`supervise` chooses by the type of the settings, so that a recipe decides it: rows without labels are supervised here,
and `textcl.classifier.supervision` registers what labelled rows need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from textcl.data.roles import NUMBERS
from textcl.data.rows import Rows
from textcl.data.streamed import StreamedRows
from textcl.distributed import World
from textcl.errors import UserError
from textcl.method.hooks import Hook
from textcl.method.method import Method
from textcl.training.dev import Dev, load_dev
from textcl.training.facts import Scores
from textcl.training.loader import Collate, Loader
from textcl.training.position import Position
from textcl.training.preview import describe_negatives
from textcl.training.request import RowRequest
from textcl.training.samplers import Sampler, ShuffledBatches, StreamBatches
from textcl.training.settings import TrainSettings

LEFT_OUT = "left out in turn"
"""What the protocol of `LeftOut` says of its rows."""

DevChoice = Literal["default", "named", "none"]
"""Origin of the dev set: the recipe's default, a name given by the user (which must exist), or none wanted."""


@dataclass(frozen=True)
class LeftOut:
    """Scores on training rows that were left out of a training in turn, where no dev set selects the weights.

    Args:
        protocol: What was measured on how many rows.
        before: Score of the model before training, × 100.
        after: Of the trained one.
        saved: Of what is saved.
        keeps_start: Whether that is the model before training: no update is made then.
    """

    protocol: str
    before: float
    after: float
    saved: float
    keeps_start: bool

    def added_to(self, scores: Scores) -> Scores:
        """The scores of a finished run with these among them."""
        return replace(
            scores,
            protocol=self.protocol,
            before=self.before,
            best=self.saved,
            best_step=0 if self.keeps_start else scores.steps,
            last=self.after,
        )


@runtime_checkable
class Supervision(Protocol):
    """The rows of a run with all that follows from their labels."""

    @property
    def settings(self) -> TrainSettings:
        """The settings, with what was found in the rows."""
        ...

    @property
    def rows(self) -> Rows:
        """The rows to train on."""
        ...

    @property
    def dev(self) -> Dev | None:
        """The dev set, which selects the weights."""
        ...

    @property
    def classes(self) -> Mapping[str, Sequence[str]]:
        """Label names in the order of their ids, by role; empty where rows have none."""
        ...

    def sampler(self) -> Sampler:
        """Sampler of the batches."""
        ...

    def begin(self, method: Method) -> Supervision:
        """Give a method what the labels say before its first update, and measure what it has to beat.

        Args:
            method: With its encoders as the recipe made them.

        Returns:
            The same with what was measured.
        """
        ...

    def compare(
        self,
        method: Method,
        rehearse: Callable[[Supervision], Method],
        log: Callable[[str], object],
    ) -> Supervision:
        """Find out before the first update whether training helps, where nothing does while it goes on.

        Args:
            method: With its encoders as they are before training.
            rehearse: Trains a method of its own on the rows of a supervision.
            log: Called with a line for the user.

        Returns:
            The same with what was found.
        """
        ...

    @property
    def left_out(self) -> LeftOut | None:
        """What `compare` found; None where it had nothing to compare."""
        ...

    def describe(self, method: Method, loader: Loader) -> Mapping[str, str]:
        """Lines of the preview, by what they are about: negatives, classes, and the line to beat."""
        ...

    def hooks(self, method: Method) -> Sequence[Hook]:
        """State changes that follow from the labels."""
        ...

    def verdict(self, position: Position) -> str:
        """One line on a finished run: whether it beat what it had to beat; "" where there is nothing to say."""
        ...

    def next_steps(self, best: Path) -> str:
        """Commands that a user may want to run on the result."""
        ...


@singledispatch
def supervise(
    settings: TrainSettings, request: RowRequest, dev: DevChoice, log: Callable[[str], object]
) -> Supervision:
    """Read the rows of a run and find what follows from their labels.

    Args:
        settings: Of the recipe; their type decides.
        request: The rows.
        dev: Where the dev set comes from.
        log: Called with a line for the user.

    Raises:
        UserError: If something is wrong in the rows, or a dev set that was named is not there.
    """
    rows = request.rows_or_stream(settings)
    return Pairs(settings, rows, None if dev == "none" else find_dev(settings, dev, log))


def find_dev(
    settings: TrainSettings, choice: DevChoice, log: Callable[[str], object]
) -> Dev | None:
    """The graded pairs that the settings name; None for none, or if those of the recipe are not there.

    Raises:
        UserError: If the user named them and they are not there, or something is wrong in them.
    """
    if not settings.dev:
        return None
    try:
        return load_dev(settings.dev)
    except UserError as error:
        if choice == "named":
            raise
        log(f"no dev set, the last weights will be kept: {error}")
        return None


@dataclass(frozen=True)
class Pairs:
    """Rows that are contrasted with each other; labels, if there are any, are scores or positives of their own.

    Args:
        settings: Of the run.
        rows: To train on.
        dev: Graded pairs that select the weights.
    """

    settings: TrainSettings
    rows: Rows
    dev: Dev | None

    @property
    def classes(self) -> Mapping[str, Sequence[str]]:
        """None."""
        return {}

    def sampler(self) -> Sampler:
        """Every row once an epoch, or the rows of a stream as they arrive."""
        settings = self.settings
        if isinstance(self.rows, StreamedRows):
            batches = (settings.steps or 1) * settings.accumulation
            return StreamBatches(self.rows.buffer, batches, settings.batch_size, settings.seed)
        return ShuffledBatches(len(self.rows), settings.batch_size, settings.seed)

    @property
    def left_out(self) -> None:
        """Nothing: all rows are trained on."""

    def describe(self, method: Method, loader: Loader) -> Mapping[str, str]:
        """The number of negatives of each anchor."""
        given = loader.batch(0, 0).given if set(self.rows.roles) & set(NUMBERS) else None
        return {"negatives": describe_negatives(method, self.settings, loader.world, given=given)}

    def begin(self, method: Method) -> Pairs:
        """Nothing to give and nothing to beat but the start."""
        return self

    def compare(
        self,
        method: Method,
        rehearse: Callable[[Supervision], Method],
        log: Callable[[str], object],
    ) -> Pairs:
        """Nothing to compare with."""
        return self

    def hooks(self, method: Method) -> Sequence[Hook]:
        """None."""
        return ()

    def verdict(self, position: Position) -> str:
        """Nothing."""
        return ""

    def next_steps(self, best: Path) -> str:
        """Evaluate and encode."""
        return f"textcl eval {best} --suite sts · textcl encode {best} FILE -o vectors.npy"


def loader_of(supervision: Supervision, method: Method, world: World) -> Loader:
    """The batches of a run.

    Args:
        supervision: Its rows, and which of them make which batch.
        method: What reads them.
        world: The processes that share each batch.
    """
    settings = supervision.settings
    readers = method.readers(settings.max_length)
    collate = Collate(method.views, readers, settings.seed, supervision.classes)
    return Loader(supervision.rows, supervision.sampler(), collate, world)


def check_stream(method: Method, rows: Rows) -> None:
    """Refuse rows that are streamed where a method looks at all of them between epochs.

    Raises:
        UserError: If it does.
    """
    waiting = [type(hook).__name__ for hook in method.hooks if hook.needs_epochs]
    if isinstance(rows, StreamedRows) and waiting:
        raise UserError(
            f"{rows.report.source} is streamed, without epochs, between which this recipe acts ({', '.join(waiting)}): "
            "train it on rows that fit into the cache"
        )


def check_batch(rows: Rows, settings: TrainSettings, world: World) -> None:
    """Refuse data or processes that a batch cannot be made of.

    Raises:
        UserError: If there are fewer rows than a batch needs, or a process would get fewer than two.
    """
    if len(rows) < settings.batch_size:
        raise UserError(
            f"the training data has {len(rows)} usable rows, fewer than a batch of {settings.batch_size}: "
            + (
                f"bring more, or use --set batch_size={len(rows)}"
                if len(rows) > 1
                else "contrastive training needs at least 2, and useful results many more"
            )
        )
    if settings.batch_size < 2 * world.size:
        raise UserError(
            f"batch_size is {settings.batch_size} over {world.size} processes: "
            "every process needs at least 2 rows, or nothing is contrasted"
        )
