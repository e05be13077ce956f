"""What a run writes: the log, the scores, the best weights and the checkpoints; and where it is."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import nn

from textcl.contrast.statistics import dimension_spread
from textcl.distributed import World
from textcl.errors import RunError
from textcl.training import checkpoint
from textcl.training.alarms import Alarms
from textcl.training.dev import Dev
from textcl.training.run_folder import RunFolder
from textcl.training.settings import TrainSettings
from textcl.types import Embeddings, LossOutput


@runtime_checkable
class Model(Protocol):
    """What a run trains: an encoder, or a classifier."""

    def save_pretrained(
        self, directory: str | Path, *, card: Mapping[str, Any] | None = None
    ) -> None:
        """Write it into a folder."""
        ...

    def train(self, mode: bool = True) -> Any:
        """Let dropout act."""
        ...

    def eval(self) -> Any:
        """Let dropout rest."""
        ...


@runtime_checkable
class Reporter(Protocol):
    """Shows a run while it goes on."""

    def start(self, done: int, total: int) -> None:
        """Training begins or goes on at update `done`."""
        ...

    def logged(self, line: Mapping[str, Any]) -> None:
        """A line of the log."""
        ...

    def scored(self, step: int, score: float, best: bool) -> None:
        """An evaluation on dev."""
        ...

    def message(self, text: str) -> None:
        """Something to know."""
        ...

    def stop(self) -> None:
        """Training ended."""
        ...


@dataclass
class Position:
    """Where a run is; all of it goes into a checkpoint.

    Args:
        step: Updates done.
        epoch: Passes over the data begun, from 0.
        index: Batches of this epoch done.
        before: Dev score before training.
        best: Best dev score after some update.
        best_step: Its update.
        stale: Evaluations since.
        last: Last dev score.
        seconds: Training time, evaluation left out.
        logged: Bytes of metrics.jsonl.
    """

    step: int = 0
    epoch: int = 0
    index: int = 0
    before: float | None = None
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    last: float | None = None
    seconds: float = 0.0
    logged: int = 0


class Recorder:
    """Writes a run, and reads it again where it goes on.

    Args:
        folder: The run.
        settings: Its settings.
        modules: Everything with weights or buffers, by name.
        model: What is scored and saved.
        optimizer: Its state goes into checkpoints.
        accelerator: Processes, trackers and the scaler of fp16.
        world: The processes that train together.
        batches: Batches of an epoch.
        alarms: What a healthy run never shows.
        reporter: Shows what is written.
        dev: Selects the best weights.
        card: Facts for the model card.
    """

    def __init__(
        self,
        folder: RunFolder,
        settings: TrainSettings,
        *,
        modules: Mapping[str, nn.Module],
        model: Model,
        optimizer: torch.optim.Optimizer,
        accelerator: Accelerator,
        world: World,
        batches: int,
        alarms: Alarms,
        reporter: Reporter,
        dev: Dev | None,
        card: Mapping[str, Any],
    ) -> None:
        self.folder, self.settings, self.modules, self.model = folder, settings, modules, model
        self.optimizer, self.accelerator, self.world = optimizer, accelerator, world
        self.batches, self.alarms, self.reporter = batches, alarms, reporter
        self.dev, self.card = dev, card
        self.at, self.total = Position(), settings.total_steps(batches)
        self.window: list[LossOutput] = []
        self.norm = torch.zeros(())
        self.began = time.perf_counter()

    def score_before(self) -> None:
        """The dev score before any update."""
        if self.dev and self.at.step == 0:
            self.at.before = self._score()
            self.reporter.scored(0, self.at.before, False)

    def note(self, output: LossOutput) -> None:
        """Keep the loss of a batch until the next line of the log, without waiting for the device."""
        self.window.append(LossOutput(output.loss.detach(), output.terms))

    def log(self, rate: float, z: Embeddings, output: LossOutput) -> None:
        """Read the losses since the last line: the only place where the loop waits for the device.

        Args:
            rate: Learning rate of the last update.
            z: Embeddings of its last batch.
            output: Their loss, whose statistics are computed here.
        """
        self._require_finite()
        self.at.seconds += time.perf_counter() - self.began
        self.began = time.perf_counter()
        world = self.world
        losses = torch.stack([output.loss for output in self.window])
        seen = self.at.step * self.settings.batch_size * self.settings.accumulation
        line: dict[str, Any] = {
            "step": self.at.step,
            "epoch": round(self.at.epoch + self.at.index / self.batches, 4),
            "loss": float(world.sum(losses.mean()) / world.size),
            "learning_rate": rate,
            "grad_norm": float(self.norm),
            **{name: float(term) for name, term in self.window[-1].terms.items()},
            "rows_per_second": round(seen / self.at.seconds, 1) if self.at.seconds else None,
            **(output.statistics() if output.statistics else {}),
            **dimension_spread(z, self.alarms.names[0], world),
        }
        alarms, messages = self.alarms.look(z, self.norm, self.window[-1].terms)
        if alarms:
            line["alarm"] = alarms
        for message in messages:
            self.reporter.message(f"update {self.at.step}: {message}")
        self.window = []
        if self.accelerator.is_main_process:
            self.folder.log(line)
            self.at.logged = self.folder.logged()
        numbers = {name: x for name, x in line.items() if isinstance(x, int | float)}
        self.accelerator.log(numbers, step=self.at.step)
        self.reporter.logged(line)

    def _require_finite(self) -> None:
        if not self.window:
            return
        values = torch.stack(
            [*(output.loss for output in self.window), self.norm.to(self.window[0].loss)]
        )
        scaled = self.accelerator.scaler is not None  # fp16: the scaler skips such updates itself
        if torch.isfinite(values[:-1] if scaled else values).all():
            return
        place = checkpoint.newest(self.folder.checkpoints)
        way = (
            f"go on from {place.name} with --resume {self.folder.path}, "
            if place
            else "no checkpoint was written yet; start again "
        )
        raise RunError(
            f"the loss or its gradient is not finite at update {self.at.step} "
            f"(loss {float(values[-2]):g}, gradient norm {float(self.norm):g}): "
            f"{way}with a lower learning rate, a higher temperature or precision=fp32"
        )

    def evaluate(self) -> None:
        """Score on dev, keep the weights if they are the best so far, and stop early if patience ends."""
        self._require_finite()
        self.at.seconds += time.perf_counter() - self.began
        score = self._score()
        best = self.at.best is None or score > self.at.best
        self.at.last, self.at.stale = score, 0 if best else self.at.stale + 1
        if best:
            self.at.best, self.at.best_step = score, self.at.step
            if self.accelerator.is_main_process:
                self.model.save_pretrained(self.folder.best, card=self._card(score))
                part = self.folder.checkpoints / ".best.safetensors"
                part.parent.mkdir(exist_ok=True)
                save_file(checkpoint.module_tensors(self.modules), part)
                part.replace(self._best_modules)
        line = {"step": self.at.step, "dev": score, "best": best}
        if self.accelerator.is_main_process:
            self.folder.log(line)
            self.at.logged = self.folder.logged()
        self.accelerator.log({"dev": score}, step=self.at.step)
        self.reporter.scored(self.at.step, score, best)
        if self.settings.patience and self.at.stale >= self.settings.patience:
            self.reporter.message(
                f"no better score in {self.at.stale} evaluations: stopping at update {self.at.step}"
            )
            self.total = self.at.step
        self.began = time.perf_counter()

    def _score(self) -> float:
        assert self.dev is not None
        score = torch.zeros((), dtype=torch.float64, device=self.accelerator.device)
        if self.accelerator.is_main_process:
            score += self.dev(self.model)
        self.model.train()
        return float(self.world.sum(score))

    @property
    def _best_modules(self) -> Path:
        return self.folder.checkpoints / "best.safetensors"

    def save(self) -> None:
        """Write a checkpoint."""
        self._require_finite()
        name = f"step-{self.at.step:08d}"
        part = self.folder.checkpoints / f"{name}.part"
        tensors = {
            **checkpoint.module_tensors(self.modules),
            **checkpoint.optimizer_tensors(self.optimizer),
        }
        scaler = self.accelerator.scaler
        meta = {
            "position": asdict(self.at),
            "total": self.total,
            "scaler": scaler.state_dict() if scaler is not None else None,
        }
        checkpoint.write(part, self.world.rank, tensors, meta)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            checkpoint.put_in_place(part, name)
        self.accelerator.wait_for_everyone()

    def restore(self) -> None:
        """Go back to the last checkpoint."""
        place = checkpoint.newest(self.folder.checkpoints)
        if place is None:
            self.reporter.message("no checkpoint was written yet: starting from the beginning")
            self.folder.truncate_log(0)
            return
        tensors, meta = checkpoint.read(place, self.world.rank)
        checkpoint.load_modules(self.modules, tensors)
        checkpoint.load_optimizer(self.optimizer, tensors)
        if self.accelerator.scaler is not None and meta["scaler"]:
            self.accelerator.scaler.load_state_dict(meta["scaler"])
        self.at, self.total = Position(**meta["position"]), meta["total"]
        if self.accelerator.is_main_process:
            self.folder.truncate_log(self.at.logged)
        self.reporter.message(f"going on after update {self.at.step} of {self.total}")

    def finish(self) -> None:
        """Write the last model and the scores, and put the best weights back."""
        if self.accelerator.is_main_process:
            self.model.save_pretrained(self.folder.last, card=self._card(self.at.last))
        if self.dev and self.at.best_step != self.at.step:
            checkpoint.load_modules(self.modules, load_file(self._best_modules))
        elif not self.dev and self.accelerator.is_main_process:
            self.model.save_pretrained(self.folder.best, card=self._card(None))
        if self.accelerator.is_main_process:
            self.folder.write_scores(
                {
                    "finished": True,
                    "protocol": self.dev.protocol if self.dev else None,
                    "seed": self.settings.seed,
                    "before": self.at.before,
                    "best": self.at.best,
                    "best_step": self.at.best_step,
                    "last": self.at.last,
                    "steps": self.at.step,
                    "train_seconds": round(self.at.seconds, 2),
                }
            )
        self.model.eval()

    def _card(self, score: float | None) -> dict[str, Any]:
        scores: list[dict[str, Any]] = []
        if score is not None and self.dev is not None:
            seed = self.settings.seed
            scores = [{"protocol": self.dev.protocol, "score": round(score, 2), "seed": seed}]
        return {**self.card, "step": self.at.step, "scores": scores}
