"""The only training loop. It names no method: what a method changes besides weights is in its hooks."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from textcl.encoder.encoder import Encoder
from textcl.encoder.momentum import MomentumEncoder
from textcl.encoder.packing.lookup import clear_gradients
from textcl.heap import freed_memory_kept
from textcl.method.method import Method
from textcl.training.alarms import Alarms
from textcl.training.dev import Dev
from textcl.training.interrupts import InterruptedRunError
from textcl.training.loader import Loader
from textcl.training.recorder import Model, Position, Recorder, Reporter
from textcl.training.run_folder import RunFolder
from textcl.training.settings import TrainSettings
from textcl.types import Batch, Embeddings, LossOutput


def run(
    method: Method,
    loader: Loader,
    settings: TrainSettings,
    folder: RunFolder,
    accelerator: Accelerator,
    reporter: Reporter,
    *,
    dev: Dev | None = None,
    card: Mapping[str, Any] | None = None,
    resume: bool = False,
) -> Position:
    """Train a method, and leave the best and the last model in the run folder.

    Args:
        method: What to train; holds the best weights afterwards.
        loader: Its batches.
        settings: Rates, lengths and intervals.
        folder: The run.
        accelerator: Devices, precision and processes.
        reporter: Shows what happens.
        dev: Selects the best weights; without it the last are the best.
        card: Facts for the model card.
        resume: Go on from the last checkpoint.

    Returns:
        Where the run ended.

    Raises:
        RunError: If the loss is not finite.
        InterruptedRunError: After Ctrl-C, when everything is saved.
    """
    training = _Training(method, loader, settings, accelerator)
    record = Recorder(
        folder,
        settings,
        modules=training.modules,
        model=training.model,
        optimizer=training.optimizer,
        accelerator=accelerator,
        world=loader.world,
        batches=len(loader.sampler),
        alarms=Alarms([name for name, r in method.routes.items() if r.encoder == "online"]),
        reporter=reporter,
        dev=dev,
        card=card or {},
    )
    return training.run(record, resume)


class _Training:
    def __init__(
        self,
        method: Method,
        loader: Loader,
        settings: TrainSettings,
        accelerator: Accelerator,
    ) -> None:
        self.method, self.loader, self.settings = method, loader, settings
        self.accelerator = accelerator
        self.online: Encoder = method.encoders["online"]  # pyright: ignore[reportAttributeAccessIssue]
        self.model: Model = method.trained  # pyright: ignore[reportAttributeAccessIssue]
        self.evaluate_every = settings.evaluation_interval(len(loader.sampler))
        self.modules: dict[str, nn.Module] = {
            "embedder": method.embedder(),
            "objective": method.objective,
            **{f"state-{name}": module for name, module in method.state.items()},
        }
        for module in self.modules.values():
            module.to(accelerator.device)
        self.optimizer = torch.optim.AdamW(self._parameter_groups(), lr=0.0, fused=True)
        self.embedder = accelerator.prepare(self.modules["embedder"])
        learns = any(p.requires_grad for p in method.objective.parameters())
        self.objective = accelerator.prepare(method.objective) if learns else method.objective
        self.stepper = accelerator.prepare(self.optimizer)
        self.interrupted = False

    def run(self, record: Recorder, resume: bool) -> Position:
        if resume:
            record.restore()
        record.score_before()
        for hook in self.method.hooks:
            hook.before_training(record.total)
        record.reporter.start(record.at.step, record.total)
        self._clear_gradients()
        with self._watch_interrupts(), freed_memory_kept():
            self._epochs(record)
        record.reporter.stop()
        record.finish()
        return record.at

    def _epochs(self, record: Recorder) -> None:
        at = record.at
        while at.step < record.total:
            for hook in self.method.hooks:
                hook.before_epoch(at.epoch, self._embed_all)
            self.embedder.train()
            self.objective.train()
            record.began = time.perf_counter()
            for batch in self.loader.batches(at.epoch, at.index):
                self._step(batch.to(self.accelerator.device), record)
                if at.step >= record.total:
                    return
            at.epoch, at.index = at.epoch + 1, 0

    def _step(self, batch: Batch, record: Recorder) -> None:
        settings, at = self.settings, record.at
        with self.accelerator.accumulate(self.embedder, self.objective):
            output, z = self.method.backprop(
                self.embedder, self.objective, batch, self.accelerator.backward
            )
            at.index += 1
            record.note(output)
            for hook in self.method.hooks:
                hook.after_batch(z, self.loader.world)
            if not self.accelerator.sync_gradients:
                return
            record.norm = self._clip()
            rate = settings.learning_rate_at(at.step, record.total)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.stepper.step()
            self._clear_gradients()
        at.step += 1
        if not self.accelerator.optimizer_step_was_skipped:
            for hook in self.method.hooks:
                hook.after_update(at.step)
        self._write(record, rate, z, output)

    def _write(self, record: Recorder, rate: float, z: Embeddings, output: LossOutput) -> None:
        """Log, evaluate and save where it is time."""
        settings, at = self.settings, record.at
        done = at.step >= record.total
        if at.step % settings.log_every == 0 or done:
            record.log(rate, z, output)
        if record.dev and (at.step % self.evaluate_every == 0 or done):
            record.evaluate()
            done = at.step >= record.total
        due = bool(settings.save_every) and at.step % settings.save_every == 0
        stop = self._asked_to_stop(at.step)
        if due or done or stop:
            record.save()
        if stop and not done:
            raise InterruptedRunError(
                f"stopped after update {at.step} of {record.total} and saved; "
                f"go on with: textcl train --resume {record.folder.path}"
            )

    def _asked_to_stop(self, step: int) -> bool:
        """Whether to stop after this update. Several processes agree on it, at updates at which they log."""
        world = self.loader.world
        if world.size == 1:
            return self.interrupted
        if step % self.settings.log_every:
            return False
        asked = torch.tensor(float(self.interrupted), device=self.accelerator.device)
        return bool(world.sum(asked) > 0)

    def _clip(self) -> Tensor:
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        bound = self.settings.max_grad_norm or float("inf")
        norm = self.accelerator.clip_grad_norm_(parameters, bound)
        return torch.as_tensor(norm).detach()

    def _clear_gradients(self) -> None:
        if self.loader.world.size > 1:  # what averages over processes owns the buffers
            self.stepper.zero_grad()
        else:
            clear_gradients(self.modules["embedder"], self.stepper.zero_grad)

    def _embed_all(self) -> Tensor:
        """Embeddings of all training rows in row order, by the momentum encoder where there is one.

        Dropout rests, and a head that acts in training acts here too: these are the vectors that the loss compares.
        """
        encoder = self.method.encoders.get("momentum", self.online)
        first, rows = next(iter(self.method.views.values())), self.loader.rows
        modes = {module: module.training for module in encoder.modules()}
        for module in encoder.modules():
            module.train(False)
        for module in encoder.modules():
            if isinstance(module, Encoder | MomentumEncoder):
                module.training = True
        parts: list[Tensor] = []
        with torch.no_grad():
            for start in range(0, len(rows), 256):
                block = rows[range(start, min(start + 256, len(rows)))]
                tokens = self.online.tokenize([str(row[first.column]) for row in block])
                parts.append(encoder(tokens.to(self.accelerator.device)))
        for module, mode in modes.items():
            module.training = mode
        return torch.cat(parts)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Weights with decay, and biases, norms and scalars without."""
        trained = [
            p
            for module in (self.modules["embedder"], self.method.objective)
            for p in module.parameters()
            if p.requires_grad
        ]
        return [
            {
                "params": [p for p in trained if p.ndim >= 2],
                "weight_decay": self.settings.weight_decay,
            },
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]

    @contextmanager
    def _watch_interrupts(self) -> Generator[None]:
        """The first Ctrl-C asks the loop to save and stop; the second stops at once.

        With several processes every further one is ignored: their launcher passes the first on a second time.
        """

        def ask(*_: Any) -> None:
            self.interrupted = True
            if self.loader.world.size == 1:
                signal.signal(signal.SIGINT, signal.default_int_handler)

        try:
            before: Callable[..., Any] | int | None = signal.signal(signal.SIGINT, ask)
        except ValueError:  # not in the main thread, which is where signals arrive
            yield
            return
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)
