"""Lines of the preview on batches of labelled rows: how often a row is drawn, and its positives."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from textcl.classifier.classifier import Targets
from textcl.training.samplers import ClassBatches, Sampler


def describe_visits(sampler: ClassBatches, classes: Sequence[str]) -> str:
    """A line on how often a row of each class is drawn in the first epoch.

    Args:
        sampler: Batches of the classes.
        classes: Their names.
    """
    batches = [sampler.batch(0, index) for index in range(len(sampler))]
    seen = np.bincount(sampler.labels[np.concatenate(batches)], minlength=len(classes))
    rows = np.bincount(sampler.labels, minlength=len(classes))
    times = sorted(
        (seen[place] / rows[place], classes[place]) for place in np.flatnonzero(rows).tolist()
    )
    (least, rare), (most, common) = times[0], times[-1]
    if f"{least:.2f}" == f"{most:.2f}":
        return f"a row comes {most:.2f} times an epoch in every class"
    return f"a row comes {least:.2f} ({rare}) to {most:.2f} ({common}) times an epoch"


def describe_classmates(sampler: Sampler, targets: Targets) -> str:
    """One line for the terminal: how many rows of its own class a row meets in the first batches.

    Args:
        sampler: Which rows make which batch.
        targets: Class ids of the rows, or which classes each has.
    """
    counts: list[np.ndarray] = []
    for index in range(min(20, len(sampler))):
        batch = targets[sampler.batch(0, index)]
        shared = batch[:, None] == batch if batch.ndim == 1 else batch.astype(int) @ batch.T > 0
        counts.append(shared.sum(1) - shared.diagonal())
    met = np.concatenate(counts)
    return (
        f"of the other rows of a batch {met.mean():.1f} share a row's class on average, "
        f"and {(met == 0).mean():.0%} of the rows find none"
    )


def batch_that_fits(size: int, block: int, rows: int) -> tuple[int, int]:
    """A batch no larger than the rows, and rows of a class in each of its blocks, which fill it.

    Args:
        size: Of the batch that is wanted.
        block: Rows of one class that stand together; 0 for shuffled rows, which is also given where none fits.
        rows: To train on.
    """
    fitting = min(size, rows)
    if not block or fitting % block == 0:
        return fitting, block
    return (fitting - fitting % block, block) if fitting > block else (fitting, 0)
