"""Training on names of concepts: each batch holds pairs of names of one concept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np

from textcl.errors import UserError
from textcl.method.method import Method
from textcl.retrieval.dev_names import hold_out_names
from textcl.training.dev import held_out_share
from textcl.training.domains import Domain
from textcl.training.loader import Loader
from textcl.training.request import RowRequest
from textcl.training.settings import TrainSettings
from textcl.training.supervision import DevChoice, Pairs, find_dev, supervise


@dataclass(frozen=True)
class ConceptSettings(TrainSettings):
    """Settings of training an encoder on names of concepts.

    Args:
        dev: What selects the weights: the share of the names that is held out, one of a concept with three or more,
            and looks for a name of its concept; or graded pairs, a task or a file; "" for none.
        batch_size: Names of a step over all processes: two of each concept.
    """

    dev: str = ""
    batch_size: Annotated[int, Domain(at_least=4)] = 512


@dataclass(frozen=True)
class NamePairs:
    """Pairs of names of one concept, each name about once an epoch.

    The names of a concept are paired at random, anew for each epoch; where their number is odd, one of them comes
    twice. Concepts with a single name have no pair and do not come.

    Args:
        labels: Concept of each row of the data set.
        batch_size: Rows of a batch, over all processes: twice its pairs.
        seed: Seed of the run.

    Source: Liu et al. 2021, https://arxiv.org/abs/2010.11784

    Note: The authors write out all pairs of a concept, at most 50, for one epoch.
    """

    labels: np.ndarray
    batch_size: int
    seed: int
    _plans: dict[int, np.ndarray] = field(init=False, default_factory=dict[int, np.ndarray])

    @cached_property
    def pairs(self) -> int:
        """Pairs of an epoch."""
        counts = np.unique(self.labels, return_counts=True)[1]
        return int(((counts[counts > 1] + 1) // 2).sum())

    def __len__(self) -> int:
        return self.pairs // (self.batch_size // 2)

    def batch(self, epoch: int, index: int) -> np.ndarray:
        """Row numbers of a batch, pair after pair."""
        if epoch not in self._plans:
            self._plans.clear()
            self._plans[epoch] = self._plan(epoch)
        size = self.batch_size // 2
        return self._plans[epoch][index * size : (index + 1) * size].ravel()

    def _plan(self, epoch: int) -> np.ndarray:
        """All pairs of an epoch, shuffled."""
        rng = np.random.Generator(np.random.PCG64([self.seed, epoch]))
        order = rng.permutation(len(self.labels))
        order = order[np.argsort(self.labels[order], kind="stable")]
        _, starts, counts = np.unique(self.labels[order], return_index=True, return_counts=True)
        firsts = [s + np.arange(0, n, 2) for s, n in zip(starts, counts, strict=True) if n > 1]
        seconds = [
            s + np.arange(1, n + 1, 2) % n for s, n in zip(starts, counts, strict=True) if n > 1
        ]
        pairs = order[np.stack([np.concatenate(firsts), np.concatenate(seconds)], 1)]
        return rng.permutation(pairs)


@dataclass(frozen=True)
class Concepts(Pairs):
    """Names with the concept of each, and what follows from them: see `Supervision`."""

    @property
    def classes(self) -> Mapping[str, Sequence[str]]:
        """The concepts in the order of their ids."""
        return {"label": sorted(set(self.rows.column("label")))}

    def sampler(self) -> NamePairs:
        """Pairs of names of one concept."""
        _, labels = np.unique(np.array(self.rows.column("label")), return_inverse=True)
        return NamePairs(labels, self.settings.batch_size, self.settings.seed)

    def describe(self, method: Method, loader: Loader) -> Mapping[str, str]:
        """Numbers of concepts, and of those that have a pair."""
        sampler = self.sampler()
        counts = np.unique(sampler.labels, return_counts=True)[1]
        single = int((counts == 1).sum())
        return {
            "classes": f"{len(counts):,} concepts, {sampler.pairs:,} pairs of names an epoch"
            + (f"; {single:,} concepts with a single name do not come" if single else ""),
            "negatives": f"from batches of {self.settings.batch_size} rows, the names of other concepts",
        }

    def next_steps(self, best: Path) -> str:
        """Encode."""
        return f"textcl encode {best} FILE -o vectors.npy"


@supervise.register(ConceptSettings)
def _(
    settings: ConceptSettings,
    request: RowRequest,
    dev: DevChoice,
    log: Callable[[str], object],
) -> Concepts:
    rows = request.rows()
    share = held_out_share(settings.dev) if settings.dev and dev != "none" else None
    if share is not None:
        kept, names = hold_out_names(rows, share, settings.seed)
        concepts = Concepts(settings, kept, names)
    else:
        concepts = Concepts(settings, rows, None if dev == "none" else find_dev(settings, dev, log))
    sampler = concepts.sampler()
    if settings.batch_size % 2:
        raise UserError(f"batch_size={settings.batch_size} is odd: names come in pairs")
    if not len(sampler):
        raise UserError(
            f"{rows.report.source} has {sampler.pairs:,} pairs of names of one concept, fewer than half a batch of "
            f"{settings.batch_size}: bring more synonyms, or use --set batch_size={max(4, 2 * sampler.pairs)}"
        )
    return concepts
