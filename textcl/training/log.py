"""The log of a run: the losses and the gradient since its last line, read from their device only when a line is due."""

from __future__ import annotations

import torch

from textcl.contrast.statistics import dimension_spread
from textcl.errors import RunError
from textcl.training import checkpoint
from textcl.training.alarms import Alarms
from textcl.training.loader import Loader
from textcl.training.losses import Losses
from textcl.training.parts import Parts
from textcl.training.position import Position
from textcl.training.recorder import Recorder, Reporter
from textcl.types import Embeddings, LossOutput


class Log:
    """Losses and gradient of this process since the last line, and the lines that are made of them.

    Args:
        parts: What is trained.
        loader: Its batches.
        recorder: Writes the lines.
        reporter: Shows them.
    """

    def __init__(
        self, parts: Parts, loader: Loader, recorder: Recorder, reporter: Reporter
    ) -> None:
        self.settings, self.accelerator = parts.settings, parts.accelerator
        self.batches, self.world = len(loader.sampler), loader.world
        self.recorder, self.reporter = recorder, reporter
        routes = parts.method.routes.items()
        self.alarms = Alarms([name for name, route in routes if route.encoder == "online"])
        self.losses, self.norm = Losses(), torch.zeros(())

    def write(self, at: Position, rate: float, z: Embeddings, output: LossOutput) -> int:
        """Write a line and begin the next: the only place where training waits for the device.

        Args:
            at: Where the run is.
            rate: Learning rate of the last update.
            z: Embeddings of its last batch.
            output: Its loss.

        Returns:
            Bytes of the log, as `Recorder.write_line`.
        """
        alarms, messages = self.alarms.look(z, self.norm, output.terms)
        line = {
            **self._numbers(at, rate),
            **{name: float(term) for name, term in output.terms.items()},
            **(output.statistics() if output.statistics else {}),
            **dimension_spread(z, self.alarms.names[0], self.world),
            **({"alarm": alarms} if alarms else {}),
        }
        for message in messages:
            self.reporter.message(f"update {at.step}: {message}")
        size = self.recorder.write_line(line)
        self.reporter.logged(line)
        return size

    def _numbers(self, at: Position, rate: float) -> dict[str, object]:
        """The numbers that every method has."""
        seen = at.step * self.settings.batch_size * self.settings.accumulation
        return {
            "step": at.step,
            "epoch": round(at.epoch + at.index / self.batches, 4),
            "loss": self.losses.mean(self.world),
            "learning_rate": rate,
            "grad_norm": float(self.norm),
            "rows_per_second": round(seen / at.seconds, 1) if at.seconds else None,
        }

    def require_finite(self, step: int) -> None:
        """Refuse to go on from a loss or a gradient that is not finite.

        Args:
            step: Updates done.

        Raises:
            RunError: If one is not finite.
        """
        losses, folder = self.losses.all(), self.recorder.folder
        looked_at = self.accelerator.scaler is None  # fp16: the scaler skips such updates itself
        gradient = [self.norm.to(losses).reshape(1)] if looked_at else []
        if not len(losses) or torch.isfinite(torch.cat([losses, *gradient])).all():
            return
        place = checkpoint.newest(folder.checkpoints)
        way = (
            f"go on from {place.name} with --resume {folder.path}, "
            if place
            else "no checkpoint was written yet; start again "
        )
        size = f", gradient norm {float(self.norm):g}" if looked_at else ""
        raise RunError(
            f"the loss or its gradient is not finite at update {step} (loss {float(losses[-1]):g}{size}): "
            f"{way}with a lower learning rate, a higher temperature or precision=fp32"
        )
