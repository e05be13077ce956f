"""Rehearsal: a fresh method trained in memory on some rows, to see what training does to rows that it leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from accelerate import Accelerator

from textcl.distributed import ALONE
from textcl.method.method import Method
from textcl.training.build import build_method
from textcl.training.loader import Loader
from textcl.training.parts import Parts
from textcl.training.recipes import Recipe
from textcl.training.settings import TrainSettings
from textcl.training.supervision import Supervision, loader_of


@dataclass(frozen=True)
class Rehearsal:
    """Trains as a run of one process would; nothing is written, and torch's generator stays where it was.

    Args:
        recipe: What is trained.
        accelerator: Device and precision; it keeps nothing of the rehearsal.
    """

    recipe: Recipe
    accelerator: Accelerator

    def __call__(self, supervision: Supervision) -> Method:
        """A method that was built anew and trained, in evaluation mode.

        Args:
            supervision: Its rows and settings.
        """
        settings = supervision.settings
        with torch.random.fork_rng():
            method = build_method(self.recipe, settings, ALONE)
            loader = loader_of(supervision, method, ALONE)
            supervision.begin(method)
            try:
                self._train(method, loader, settings)
            finally:
                self.accelerator.free_memory()
        method.trained.eval()
        return method

    def _train(self, method: Method, loader: Loader, settings: TrainSettings) -> None:
        parts = Parts(method, settings, self.accelerator)
        total, step, epoch = settings.total_steps(len(loader.sampler)), 0, 0
        embed_all = partial(
            parts.embed_all, loader.rows, next(iter(loader.collate.readers.values()))
        )
        for hook in method.hooks:
            hook.before_training(total)
        parts.clear_gradients()
        while step < total:
            for hook in method.hooks:
                hook.before_epoch(epoch, embed_all)
            parts.train()
            for batch in loader.batches(epoch):
                with self.accelerator.accumulate(parts.embedder, parts.objective):
                    _, z = parts.backprop(batch.to(self.accelerator.device))
                    for hook in method.hooks:
                        hook.after_batch(z, ALONE)
                    if not self.accelerator.sync_gradients:
                        continue
                    parts.update(settings.learning_rate_at(step, total))
                step += 1
                for hook in method.hooks:
                    hook.after_update(step)
                if step == total:
                    return
            epoch += 1
