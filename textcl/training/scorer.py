"""Scores of a model on dev while it trains."""

from __future__ import annotations

import torch

from textcl.encoder.encoder import Encoder
from textcl.encoder.shared import SharedEncoder
from textcl.training.dev import ColumnScores, Dev
from textcl.training.loader import Loader
from textcl.training.parts import Parts
from textcl.training.position import DevScore
from textcl.training.recorder import Trainable


class Scorer:
    """Scores an encoder by the vectors that all processes share, any other model in the first; all get the score.

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

    def score(self) -> DevScore:
        """The score of the weights as they are, in the first process of each label column too; training goes on."""
        score = torch.zeros((), dtype=torch.float64, device=self.accelerator.device)
        main, columns = self.accelerator.is_main_process, dict[str, float]()
        if self.world.size > 1 and isinstance(self.model, Encoder):
            shared = self.dev(SharedEncoder(self.model, self.world))  # the same in every process
            score += shared if main else 0
        elif main:
            for hook in self.hooks:
                hook.before_scoring()
            if isinstance(self.dev, ColumnScores):
                columns = self.dev.scores(self.model)
            score += sum(columns.values()) / len(columns) if columns else self.dev(self.model)
        self.model.train()
        return DevScore(float(self.world.sum(score)), columns)
