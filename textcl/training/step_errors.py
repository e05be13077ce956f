"""Errors of a training step with a way out: a lack of memory, and operators without a deterministic form."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import torch

from textcl.errors import RunError
from textcl.training.settings import TrainSettings
from textcl.types import Batch

_MIB = 2**20


@contextmanager
def explained(batch: Batch, settings: TrainSettings, device: torch.device) -> Generator[None]:
    """Turn what a step may run into on a device into an error that names what helps; arguments as for `out_of_memory`.

    Raises:
        RunError: If the step does not fit, or is not deterministic where it has to be.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise out_of_memory(batch, settings, device) from error
    except RuntimeError as error:
        if not settings.deterministic or "determinis" not in str(error):
            raise
        raise not_deterministic(str(error)) from error


def not_deterministic(message: str) -> RunError:
    """The error of an operator that cannot keep deterministic=true.

    Args:
        message: Of torch.
    """
    if "CUBLAS_WORKSPACE_CONFIG" in message:
        return RunError(
            "deterministic=true must be known before the first product on a card, and this process has made one: set "
            "CUBLAS_WORKSPACE_CONFIG=:4096:8 in its environment and start it again"
        )
    return RunError(
        f"deterministic=true cannot be kept: {message.split(',')[0]}; choose another pooling or recipe, or train "
        "without it"
    )


def out_of_memory(batch: Batch, settings: TrainSettings, device: torch.device) -> RunError:
    """The error of a step that did not fit: what was asked for, and which settings need less.

    Args:
        batch: The batch of the step.
        settings: Of the run.
        device: Where it ran.
    """
    tokens = sum(len(view.ids) for view in batch.tokens.values())
    peak = ""
    if device.type == "cuda":
        peak = f", with a peak of {torch.cuda.max_memory_allocated(device) / _MIB:,.0f} MiB"
    return RunError(
        f"a step of {len(batch):,} rows and {tokens:,} tokens does not fit into the memory of {device.type}{peak}: "
        f"{_way_out(settings, len(batch))}, or --set batch_size to fewer rows"
    )


def _way_out(settings: TrainSettings, rows: int) -> str:
    """The settings that need less memory for the same loss, as far as they are not in use."""
    chunk = max(1, min(settings.chunk_size or rows, rows) // 4)
    way = f"--set chunk_size={chunk} embeds {chunk} rows at once and gives the same gradient"
    if settings.gradient_checkpointing:
        return way
    return f"{way}, --set gradient_checkpointing=true computes activations twice instead of keeping them"
