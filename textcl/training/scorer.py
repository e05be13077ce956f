"""Scores of a model on dev while it trains."""

from __future__ import annotations

import torch

from textcl.training.dev import Dev
from textcl.training.loader import Loader
from textcl.training.parts import Parts
from textcl.training.recorder import Trainable


class Scorer:
    """Scores the model in the first process; every process gets the score.

    Args:
        dev: What selects the weights.
        parts: What is trained.
        loader: Its batches.

    Attributes:
        every: Updates between two scores.
    """

    def __init__(self, dev: Dev, parts: Parts, loader: Loader) -> None:
        self.dev, self.world = dev, loader.world
        self.hooks, self.accelerator = parts.method.hooks, parts.accelerator
        self.model: Trainable = parts.method.trained  # pyright: ignore[reportAttributeAccessIssue]
        self.every = parts.settings.evaluation_interval(len(loader.sampler))

    def score(self) -> float:
        """The score of the weights as they are; the model trains on afterwards."""
        score = torch.zeros((), dtype=torch.float64, device=self.accelerator.device)
        if self.accelerator.is_main_process:
            for hook in self.hooks:
                hook.before_scoring()
            score += self.dev(self.model)
        self.model.train()
        return float(self.world.sum(score))
