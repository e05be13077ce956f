"""Texts whose vectors are saved with a model, which loading computes again and compares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from textcl.errors import RunError

PARITY_TEXTS = (
    "A man is playing a guitar.",
    "",
    "Zwölf Boxkämpfer jagen Viktor über den Deich: 42 %?",
)
"""Texts whose vectors are kept with a model and compared when it is loaded."""


@dataclass(frozen=True)
class Parity:
    """Texts and the vectors that the encoder gave them when it was saved.

    Args:
        texts: Few.
        vectors: In the order of the texts.
        rounding: How far a number may be from what is computed again, as a share of the largest one.
    """

    texts: Sequence[str]
    vectors: Float32[np.ndarray, "N D"]
    rounding: float = 1e-4

    def check(self, vectors: Float32[np.ndarray, "N E"], folder: Path) -> None:
        """Compare what the loaded encoder gives.

        Raises:
            RunError: If the vectors differ by more than rounding on another machine explains.
        """
        allowed = self.rounding * max(1.0, float(np.abs(self.vectors).max()))
        same_shape = vectors.shape == self.vectors.shape
        difference = float(np.abs(vectors - self.vectors).max()) if same_shape else np.inf
        if not difference <= allowed:
            raise RunError(
                f"the model in {folder} gives other vectors than when it was saved (largest difference "
                f"{difference:.3g}, allowed {allowed:.1g}): a file was changed, or a library computes differently"
            )
