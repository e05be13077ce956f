"""The only training loop. It names no method: what a method changes besides weights is in its hooks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import torch
from accelerate import Accelerator
from torch import Tensor

from textcl.heap import freed_memory_kept
from textcl.method.method import Method
from textcl.training.alarms import Alarms
from textcl.training.dev import Dev
from textcl.training.interrupts import InterruptedRunError, Interrupts
from textcl.training.items import ItemCounts
from textcl.training.loader import Loader
from textcl.training.losses import Losses
from textcl.training.memory import out_of_memory
from textcl.training.parts import Parts
from textcl.training.position import Position
from textcl.training.recorder import Model, Recorder, Reporter, log_line
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
    card: Mapping[str, object] | None = None,
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
        RunError: If the loss is not finite, or a step does not fit into memory.
        InterruptedRunError: After Ctrl-C or SIGTERM, when everything is saved.
    """
    parts = Parts(method, settings, accelerator)
    recorder = Recorder(folder, parts, loader.world, dev.protocol if dev else None, card or {})
    return _Loop(parts, loader, recorder, reporter, dev).run(resume)


class _Loop:
    """Owns the position of the run, and the losses since the last line of the log."""

    def __init__(
        self, parts: Parts, loader: Loader, recorder: Recorder, reporter: Reporter, dev: Dev | None
    ) -> None:
        self.parts, self.recorder, self.reporter = parts, recorder, reporter
        self.loader = replace(loader, ready=parts.ready)
        self.dev, self.settings, self.hooks = dev, parts.settings, parts.method.hooks
        self.accelerator, self.world = parts.accelerator, loader.world
        self.model: Model = parts.method.trained  # pyright: ignore[reportAttributeAccessIssue]
        self.at = Position(total=self.settings.total_steps(len(loader.sampler)))
        self.losses, self.norm, self.began = Losses(), torch.zeros(()), time.perf_counter()
        self.items = ItemCounts.of(parts.method, self.settings.accumulation)
        routes = parts.method.routes.items()
        self.alarms = Alarms([name for name, r in routes if r.encoder == "online"])
        self.interrupts = Interrupts(self.world)
        self.evaluate_every = self.settings.evaluation_interval(len(loader.sampler))

    def run(self, resume: bool) -> Position:
        if resume and (restored := self.recorder.restore(self.losses)):
            self.at = restored
            self.reporter.message(f"going on after update {self.at.step} of {self.at.total}")
        elif resume:
            self.reporter.message("no checkpoint was written yet: starting from the beginning")
        if self.dev and self.at.step == 0:
            self.at.before = self._score(self.dev)
            self.reporter.scored(0, self.at.before, False)
            if self.settings.start_may_be_best and self.at.scored(self.at.before):
                self.recorder.keep_best(0, self.at.before)
        for hook in self.hooks:
            hook.before_training(self.at.total)
        self.reporter.start(self.at.step, self.at.total)
        self.parts.clear_gradients()
        with self.interrupts.watched(), freed_memory_kept():
            self._epochs()
        self.reporter.stop()
        self.recorder.finish(self.at)
        return self.at

    def _epochs(self) -> None:
        at = self.at
        while not at.done:
            for hook in self.hooks:
                hook.before_epoch(at.epoch, self._embed_all)
            self.parts.train()
            self.began = time.perf_counter()
            for batch in self.items.batches(self.loader, at.epoch, at.index):
                try:
                    self._step(batch.to(self.accelerator.device))
                except torch.OutOfMemoryError as error:
                    raise out_of_memory(batch, self.settings, self.accelerator.device) from error
                if at.done:
                    return
            at.epoch, at.index = at.epoch + 1, 0

    def _embed_all(self) -> Tensor:
        return self.parts.embed_all(
            self.loader.rows, next(iter(self.loader.collate.readers.values()))
        )

    def _step(self, batch: Batch) -> None:
        at, parts = self.at, self.parts
        with self.accelerator.accumulate(parts.embedder, parts.objective):
            output, z = parts.backprop(batch)
            at.index += 1
            self.losses.add(output)
            for hook in self.hooks:
                hook.after_batch(z, self.world)
            if not self.accelerator.sync_gradients:
                return
            rate = self.settings.learning_rate_at(at.step, at.total)
            self.norm = parts.update(rate)
        at.step += 1
        if not self.accelerator.optimizer_step_was_skipped:
            for hook in self.hooks:
                hook.after_update(at.step)
        self._write(rate, z, output)

    def _write(self, rate: float, z: Embeddings, output: LossOutput) -> None:
        """Log, evaluate and save where it is time."""
        settings, at = self.settings, self.at
        at_log = at.step % settings.log_every == 0
        if at_log or at.done:
            self._log(rate, z, output)
        if self.dev and (at.step % self.evaluate_every == 0 or at.done):
            self._evaluate(self.dev)
        due = bool(settings.save_every) and at.step % settings.save_every == 0
        stop = self.interrupts.asked(at_log, self.accelerator.device)
        if due or at.done or stop:
            self._require_finite()
            self.recorder.save(at, self.losses)
        if stop and not at.done:
            raise InterruptedRunError(
                f"stopped after update {at.step} of {at.total} and saved; "
                f"go on with: textcl train --resume {self.recorder.folder.path}",
                self.interrupts.signal_number,
            )

    def _log(self, rate: float, z: Embeddings, output: LossOutput) -> None:
        """Read the losses since the last line: the only place where the loop waits for the device."""
        self._require_finite()
        self._take_time()
        mean = self.losses.mean(self.world)
        line = log_line(self.at, self.settings, len(self.loader.sampler), mean, rate, self.norm)
        line |= {name: float(term) for name, term in output.terms.items()}
        line |= self.recorder.statistics(output, z, self.alarms.names[0])
        alarms, messages = self.alarms.look(z, self.norm, output.terms)
        if alarms:
            line["alarm"] = alarms
        for message in messages:
            self.reporter.message(f"update {self.at.step}: {message}")
        self.at.logged = self.recorder.write_line(line)
        self.reporter.logged(line)

    def _evaluate(self, dev: Dev) -> None:
        """Score on dev, keep the weights if they are the best so far, and stop early if patience ends."""
        self._require_finite()
        self._take_time()
        at, score = self.at, self._score(dev)
        best = at.scored(score)
        if best:
            self.recorder.keep_best(at.step, score)
        at.logged = self.recorder.write_line({"step": at.step, "dev": score, "best": best})
        self.reporter.scored(at.step, score, best and score > (at.before or score - 1))
        if self.settings.patience and at.stale >= self.settings.patience:
            at.total = at.step
            self.reporter.message(
                f"no better score in {at.stale} evaluations: stopping at update {at.step}"
            )
        self.began = time.perf_counter()

    def _score(self, dev: Dev) -> float:
        score = torch.zeros((), dtype=torch.float64, device=self.accelerator.device)
        if self.accelerator.is_main_process:
            for hook in self.hooks:
                hook.before_scoring()
            score += dev(self.model)
        self.model.train()
        return float(self.world.sum(score))

    def _take_time(self) -> None:
        now = time.perf_counter()
        self.at.seconds += now - self.began
        self.began = now

    def _require_finite(self) -> None:
        scaled = self.accelerator.scaler is not None  # fp16: the scaler skips such updates itself
        norm: Tensor | None = None if scaled else self.norm
        self.recorder.require_finite(self.at.step, self.losses.all(), norm)
