"""The only training loop. It names no method: what a method changes besides weights is in its hooks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from accelerate import Accelerator

from textcl.heap import freed_memory_kept
from textcl.method.method import Method
from textcl.training.dev import Dev
from textcl.training.interrupts import Interrupts
from textcl.training.items import ItemCounts
from textcl.training.loader import Loader
from textcl.training.log import Log
from textcl.training.parts import Parts
from textcl.training.position import Position, Stopwatch
from textcl.training.recorder import Recorder, Reporter
from textcl.training.run_folder import RunFolder
from textcl.training.scorer import Scorer
from textcl.training.settings import TrainSettings
from textcl.training.step_errors import explained
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
    return _Loop(parts, replace(loader, ready=parts.ready), recorder, reporter, dev).run(resume)


class _Loop:
    """Owns the position of the run."""

    def __init__(
        self, parts: Parts, loader: Loader, recorder: Recorder, reporter: Reporter, dev: Dev | None
    ) -> None:
        self.parts, self.loader, self.recorder, self.reporter = parts, loader, recorder, reporter
        self.settings, self.hooks = parts.settings, parts.method.hooks
        self.accelerator, self.world = parts.accelerator, loader.world
        self.at = Position(total=self.settings.total_steps(len(loader.sampler)))
        self.log, self.watch = Log(parts, loader, recorder, reporter), Stopwatch()
        self.scorer = None if dev is None else Scorer(dev, parts, loader)
        self.interrupts = Interrupts(self.world)
        self.items = ItemCounts.of(parts.method, self.settings.accumulation)

    def run(self, resume: bool) -> Position:
        if resume and (restored := self.recorder.restore(self.log.losses, self.loader)):
            self.at = restored
            self.reporter.message(f"going on after update {self.at.step} of {self.at.total}")
        elif resume:
            self.reporter.message("no checkpoint was written yet: starting from the beginning")
        if self.scorer and self.at.step == 0:
            start = self.scorer.score()
            self.at.before = start.value
            self.reporter.scored(0, start, False)
            if self.settings.start_may_be_best and self.at.scored(start):
                self.recorder.keep_best(0, start.value)
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
        at, device = self.at, self.accelerator.device
        read = next(iter(self.loader.collate.readers.values()))
        embed_all = partial(self.parts.embed_all, self.loader.rows, read)
        self.watch.lap()
        while not at.done:
            for hook in self.hooks:
                hook.before_epoch(at.epoch, embed_all)
            self.parts.train()
            for batch in self.items.batches(self.loader, at.epoch, at.index):
                with explained(batch, self.settings, device):
                    self._step(batch.to(device))
                if at.done:
                    return
            at.epoch, at.index = at.epoch + 1, 0

    def _step(self, batch: Batch) -> None:
        at, parts = self.at, self.parts
        with self.accelerator.accumulate(parts.embedder, parts.objective):
            output, z = parts.backprop(batch)
            at.index += 1
            self.log.losses.add(output)
            for hook in self.hooks:
                hook.after_batch(z, self.world)
            if not self.accelerator.sync_gradients:
                return
            rate = self.settings.learning_rate_at(at.step, at.total)
            self.log.norm = parts.update(rate)
        at.step += 1
        if not self.accelerator.optimizer_step_was_skipped:
            for hook in self.hooks:
                hook.after_update(at.step)
        self._write(rate, z, output)

    def _write(self, rate: float, z: Embeddings, output: LossOutput) -> None:
        """Log, evaluate and save where it is time."""
        settings, at = self.settings, self.at
        at_log = at.step % settings.log_every == 0
        due = bool(settings.save_every) and at.step % settings.save_every == 0
        stop = self.interrupts.asked(at_log, self.accelerator.device)
        if at_log or due or at.done or stop:
            self.log.require_finite(at.step)
        at.seconds += self.watch.lap()
        if at_log or at.done:
            at.logged = self.log.write(at, rate, z, output)
        if self.scorer and (at.step % self.scorer.every == 0 or at.done):
            self._evaluate(self.scorer)
        if due or at.done or stop:
            self.recorder.save(at, self.log.losses, self.loader.place(at.epoch, at.index))
        if stop and not at.done:
            raise self.interrupts.error(at.step, at.total, self.recorder.folder.path)

    def _evaluate(self, scorer: Scorer) -> None:
        """Score on dev, keep the weights if they are the best so far, and stop early if patience ends."""
        at = self.at
        self.log.require_finite(at.step)
        at.seconds += self.watch.lap()
        score = scorer.score()
        best = at.scored(score)
        at.logged = self.recorder.write_score(at.step, score, best)
        risen = at.before is None or score.value > at.before
        self.reporter.scored(at.step, score, best and risen)
        if self.settings.patience and at.stale >= self.settings.patience:
            at.total = at.step
            self.reporter.message(
                f"no better score in {at.stale} evaluations: stopping at update {at.step}"
            )
        self.watch.lap()
