"""Matryoshka: one objective at several widths of the same embeddings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Int
from torch import Tensor, nn

from textcl.types import Embeddings, LossOutput

Choose = Callable[[Int[Tensor, " n"]], Int[Tensor, " r"]]
"""Given the indices of all widths, those to train in this step."""


class Matryoshka(nn.Module):
    """Σ_d ω_d · objective(the first d dimensions of every row); the objective normalises what is left.

    A queue stores whole keys and `AppendQueue` cuts them to the anchors' width, so any objective will do that has no
    weights of a fixed width of its own.

    Args:
        objective: What to compute at each width.
        dims: The widths d.
        weights: Their weights ω; 1 each when None.
        names: The embeddings to cut; all of them when None. Name them where others, such as class logits, must stay.
        choose: Draws the widths of a step, such as `Subset(2)`; all of them when None. The same on all ranks.

    Source: Kusupati et al. 2022, https://arxiv.org/abs/2205.13147
    """

    def __init__(
        self,
        objective: nn.Module,
        dims: Sequence[int],
        weights: Sequence[float] | None = None,
        *,
        names: Sequence[str] | None = None,
        choose: Choose | None = None,
    ) -> None:
        super().__init__()
        weights = [1.0] * len(dims) if weights is None else weights
        if not dims or len(dims) != len(weights) or min(dims) < 1:
            raise ValueError(f"dims must be positive, with a weight each: {dims} have {weights}")
        self.objective, self.dims, self.weights = objective, tuple(dims), tuple(weights)
        self.names, self.choose = names, choose

    def forward(self, z: Embeddings) -> LossOutput:
        """The weighted sum, with the loss of each width in its terms and the statistics of the widest."""
        losses: list[Tensor] = []
        terms: dict[str, Tensor] = {}
        outputs: dict[int, LossOutput] = {}
        for index in self._chosen():
            dim = self.dims[index]
            output = outputs[dim] = self.objective(self._cut(z, dim))
            losses.append(self.weights[index] * output.loss)
            terms = {**output.terms, **terms, f"loss/{dim}": output.loss.detach()}
        return LossOutput(torch.stack(losses).sum(), terms, outputs[max(outputs)].statistics)

    def _chosen(self) -> list[int]:
        every = torch.arange(len(self.dims))
        return (every if self.choose is None else self.choose(every)).tolist()

    def _cut(self, z: Embeddings, dim: int) -> Embeddings:
        cut = dict(z.by_name)
        for name in cut if self.names is None else self.names:
            width = z[name].shape[1]
            if dim > width:
                raise ValueError(f"cannot cut '{name}' to {dim} dimensions, it has {width}")
            cut[name] = z[name][:, :dim]
        return z.with_vectors(cut)
