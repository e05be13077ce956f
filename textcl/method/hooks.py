"""Hooks: every change of state that is not an optimizer's.

The loop calls them in the order they are listed. One training step is

    embed → loss (queue and averages as they are) → backward → after_batch → optimizer → after_update

and what is trained is scored and saved between two of them: before_scoring, before_saving.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from textcl.contrast.prototypes import Clusters, Prototypes
from textcl.contrast.queue import MemoryQueue
from textcl.contrast.table import Contrast
from textcl.contrast.transforms import Transform
from textcl.distributed import ALONE, World
from textcl.encoder.momentum import MomentumEncoder
from textcl.types import Embeddings

EmbedAll = Callable[[], Float[Tensor, "N D"]]


class Hook:
    """Does nothing at any time; the only base class here, so that a hook writes only the times it acts."""

    @property
    def needs_epochs(self) -> bool:
        """Whether it acts between passes over all rows, which rows that are streamed do not have."""
        return False

    def before_training(self, total_steps: int) -> None:
        """Called once.

        Args:
            total_steps: Optimizer updates of the whole training.
        """

    def before_epoch(self, epoch: int, embed_all: EmbedAll) -> None:
        """Called before the first batch of an epoch, and again when a run resumes within it.

        Args:
            epoch: Counted from 0.
            embed_all: Embeds all training rows, in row order and in evaluation mode, when called. All ranks must call
                it or none.
        """

    def after_batch(self, z: Embeddings, world: World) -> None:
        """Called after the loss and the backward pass of every batch, accumulated ones too.

        Args:
            z: The embeddings of this rank that the loss saw, detached.
            world: The processes that train together.
        """

    def after_update(self, step: int) -> None:
        """Called after every update of the optimizer.

        Args:
            step: Updates done so far, this one included.
        """

    def before_scoring(self) -> None:
        """Called in the first process before what is trained is scored on dev."""

    def before_saving(self) -> None:
        """Called in the first process before what is trained is saved as the best or the last."""


class Enqueue(Hook):
    """Writes the embeddings of one name into a queue after each batch, those of all ranks in rank order.

    Args:
        queue: The queue; the same on all ranks.
        name: The embeddings to store, raw.
    """

    def __init__(self, queue: MemoryQueue, name: str = "key") -> None:
        self.queue, self.name = queue, name

    def after_batch(self, z: Embeddings, world: World) -> None:  # noqa: D102
        self.queue.enqueue(world.gather(z[self.name].detach()), world.gather(z.group(self.name)))


class MoveMomentum(Hook):
    """Moves a momentum encoder towards the online one after each update.

    MoCo moves it at the start of a step, before the keys; ESimCSE in the training forward. Both read the online weights
    as the step before left them, which is where they stand here; their very first move, of a copy towards itself,
    changes nothing. So all three give the same keys. With accumulation the officials move once per batch, this once
    per update.

    Args:
        momentum: The momentum encoder.
        online: The encoder it follows.
    """

    def __init__(self, momentum: MomentumEncoder, online: nn.Module) -> None:
        self.momentum, self.online = momentum, online

    def after_update(self, step: int) -> None:  # noqa: D102
        self.momentum.follow(self.online)


@runtime_checkable
class Moves(Protocol):
    """Anything that follows the progress of the training, as `ScheduledTemperature`."""

    def move(self, progress: float) -> None:
        """Set how much of the training is done, in [0, 1]."""
        ...


class MoveSchedules(Hook):
    """Moves schedules with the training. List it after `MoveMomentum`, so that update t uses m_t as BYOL does.

    Args:
        schedules: Temperatures, momenta and the like.
    """

    def __init__(self, schedules: Sequence[Moves]) -> None:
        self.schedules, self.total_steps = tuple(schedules), 1

    @classmethod
    def of(cls, *modules: nn.Module) -> MoveSchedules:
        """The hook for every schedule inside these modules; it does nothing where there is none."""
        return cls(
            [part for module in modules for part in module.modules() if isinstance(part, Moves)]
        )

    def before_training(self, total_steps: int) -> None:  # noqa: D102
        self.total_steps = max(1, total_steps)

    def after_update(self, step: int) -> None:  # noqa: D102
        for schedule in self.schedules:
            schedule.move(step / self.total_steps)


class FromEpoch(Hook):
    """A transform that starts to act after some epochs. It belongs both among the transforms and among the hooks.

    Args:
        transform: What it does then.
        start_epoch: How many epochs pass before.

    Source: Zhu et al. 2021, https://arxiv.org/abs/2108.02982

    Note:
        The official feature transformation honours its start epoch only while it saves scores.
    """

    def __init__(self, transform: Transform, start_epoch: int) -> None:
        self.transform, self.start_epoch = transform, start_epoch
        self.active = start_epoch <= 0

    @property
    def needs_epochs(self) -> bool:  # noqa: D102
        return self.start_epoch > 0

    def before_epoch(self, epoch: int, embed_all: EmbedAll) -> None:  # noqa: D102
        self.active = epoch >= self.start_epoch

    def __call__(self, contrast: Contrast, z: Embeddings) -> Contrast:
        """The changed table, or the same one before its time."""
        return self.transform(contrast, z) if self.active else contrast


class Recluster(Hook):
    """Clusters the training rows anew before each epoch: on rank 0, shared with all.

    Args:
        prototypes: Where the clusterings go.
        cluster: Makes a clustering for each number of clusters out of the embeddings of all rows.
        warmup_epochs: Epochs that pass before the first clustering; until then the prototypes stay empty.
        world: The processes that train together.

    Source: Li et al. 2021, https://arxiv.org/abs/2005.04966
    """

    def __init__(
        self,
        prototypes: Prototypes,
        cluster: Callable[[Tensor], Sequence[Clusters]],
        warmup_epochs: int = 0,
        world: World = ALONE,
    ) -> None:
        self.prototypes, self.cluster = prototypes, cluster
        self.warmup_epochs, self.world = warmup_epochs, world

    @property
    def needs_epochs(self) -> bool:  # noqa: D102
        return True

    def before_epoch(self, epoch: int, embed_all: EmbedAll) -> None:  # noqa: D102
        if epoch < self.warmup_epochs or epoch == self.prototypes.epoch:
            return  # too early, or resumed within the epoch these prototypes were made for
        features = embed_all()
        levels = self.cluster(features) if self.world.rank == 0 else None
        self.prototypes.fill(levels, epoch, self.world)
