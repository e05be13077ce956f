"""The result of a finished run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from textcl.encoder.encoder import Encoder
from textcl.training.position import Position
from textcl.training.run_folder import RunFolder


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Args:
        folder: Its files.
        encoder: The encoder with the best weights.
        position: Steps and scores.
        model: What was trained: the encoder, or the classifier around it.
    """

    folder: RunFolder
    encoder: Encoder
    position: Position
    model: torch.nn.Module

    @property
    def classifier(self) -> Any:
        """The `Classifier` around the encoder; None where the recipe trains an encoder alone."""
        return None if self.model is self.encoder else self.model
