"""Linear classifiers on frozen vectors, trained as SentEval trains them, many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, Int
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional

SEED = 1111
"""Of every draw of SentEval."""

_MAX_PASSES = 200
_HELD_OUT = 0.05

Places = Int[np.ndarray, " _"]
Split = tuple[Places, Places]
"""Rows to train on, and rows held out."""


@runtime_checkable
class Trainer(Protocol):
    """The settings of a linear classifier on rows and labels."""

    @property
    def nested_grid(self) -> Sequence[float]:
        """Regularisers of nested folds, and of a task with a dev split."""
        ...

    @property
    def fold_grid(self) -> Sequence[float]:
        """Regularisers of a task with a train and a test split."""
        ...

    def accuracies(
        self,
        rows: Float32[np.ndarray, "N D"],
        labels: Places,
        splits: Sequence[Split],
        regs: Sequence[float],
    ) -> list[list[float]]:
        """Accuracy on the held-out rows in [0, 1], for every regulariser of every split."""
        ...

    def predict(
        self,
        rows: Float32[np.ndarray, "N D"],
        labels: Places,
        reg: float,
        others: Float32[np.ndarray, "M D"],
        held_out: Places | None = None,
    ) -> Places:
        """Classes of `others` by a classifier of the rows; those `held_out` decide when training stops."""
        ...


@dataclass(frozen=True)
class LogisticTrainer:
    """Logistic regression of scikit-learn; a regulariser is its C.

    Args:
        nested_grid: As `Trainer` has it.
        fold_grid: As `Trainer` has it.
        max_iter: Most steps of a fit; SentEval leaves scikit-learn's own.
    """

    nested_grid: Sequence[float] = tuple(2.0**power for power in range(-2, 4))
    fold_grid: Sequence[float] = tuple(2.0**power for power in range(-1, 6))
    max_iter: int = 100

    def accuracies(
        self,
        rows: Float32[np.ndarray, "N D"],
        labels: Places,
        splits: Sequence[Split],
        regs: Sequence[float],
    ) -> list[list[float]]:
        """As `Trainer` has it."""
        return [
            [
                float(
                    np.mean(
                        self.predict(rows[train], labels[train], reg, rows[held]) == labels[held]
                    )
                )
                for reg in regs
            ]
            for train, held in splits
        ]

    def predict(
        self,
        rows: Float32[np.ndarray, "N D"],
        labels: Places,
        reg: float,
        others: Float32[np.ndarray, "M D"],
        held_out: Places | None = None,
    ) -> Places:
        """As `Trainer` has it; SentEval leaves rows that are held out for stopping among the others here."""
        kept = np.setdiff1d(np.arange(len(rows)), held_out) if held_out is not None else slice(None)
        model = LogisticRegression(C=reg, random_state=SEED, max_iter=self.max_iter).fit(
            rows[kept], labels[kept]
        )
        return model.predict(others)


@dataclass(frozen=True)
class GradientTrainer:
    """Softmax regression by stochastic gradients with early stopping; a regulariser is the weight decay.

    Every classifier starts from the same seed, so those that differ in weight decay alone see the same batches and are
    trained side by side, as are splits of equal size.

    Args:
        optimizer: With its default rate.
        batch: Rows of a step.
        patience: Evaluations without a gain that training outlasts; they are counted over the whole of it.
        passes: Passes over the rows between two evaluations.

    Source: Conneau & Kiela 2018, https://aclanthology.org/L18-1269, as Gao et al. 2021 run it
    """

    optimizer: type[torch.optim.Optimizer] = torch.optim.Adam
    batch: int = 64
    patience: int = 5
    passes: int = 4
    nested_grid: Sequence[float] = (1e-5, 1e-4, 1e-3, 1e-2)
    fold_grid: Sequence[float] = (1e-5, 1e-4, 1e-3, 1e-2)

    def accuracies(
        self,
        rows: Float32[np.ndarray, "N D"],
        labels: Places,
        splits: Sequence[Split],
        regs: Sequence[float],
    ) -> list[list[float]]:
        """As `Trainer` has it."""
        result: list[list[float]] = [[] for _ in splits]
        sizes: dict[int, list[int]] = {}
        for place, (train, _) in enumerate(splits):
            sizes.setdefault(len(train), []).append(place)
        for places in sizes.values():
            fit = _Fit(self, rows, labels, [splits[place] for place in places], regs)
            for place, best in zip(places, fit.run(np.random.RandomState(SEED)), strict=True):
                result[place] = best
        return result

    def predict(
        self,
        rows: Float32[np.ndarray, "N D"],
        labels: Places,
        reg: float,
        others: Float32[np.ndarray, "M D"],
        held_out: Places | None = None,
    ) -> Places:
        """As `Trainer` has it; a twentieth of the rows is held out where none are named."""
        draws = np.random.RandomState(SEED)
        if held_out is None:
            order = draws.permutation(len(rows))
            count = int(_HELD_OUT * len(rows))
            train, held_out = order[count:], order[:count]
        else:
            train = np.setdiff1d(np.arange(len(rows)), held_out)
        fit = _Fit(self, rows, labels, [(train, held_out)], [reg])
        fit.run(draws)
        return fit.best_classes(torch.from_numpy(others))


class _Fit:
    """F splits of n training rows each, times R regularisers: as many classifiers, trained side by side."""

    def __init__(
        self,
        trainer: GradientTrainer,
        rows: Float32[np.ndarray, "N D"],
        labels: Places,
        splits: Sequence[Split],
        regs: Sequence[float],
    ) -> None:
        self.trainer, self.splits = trainer, splits
        self.rows, self.labels = torch.from_numpy(rows), torch.from_numpy(labels).long()
        self.decay = torch.tensor(regs, dtype=torch.float32)[:, None]
        self.classes = int(labels.max()) + 1
        self.train = torch.from_numpy(np.stack([train for train, _ in splits]))
        weight, bias = _initial(self.rows.shape[1], self.classes)
        shape = (len(splits), weight.shape[0], len(regs), self.classes)
        self.weight = weight[None, :, None].expand(shape).clone()
        self.bias = bias.expand(len(splits), 1, len(regs), self.classes).clone()

    def run(self, draws: np.random.RandomState) -> list[list[float]]:
        """Best accuracy of every classifier on its held-out rows; its weights are kept in `best`."""
        steps = self.trainer.optimizer([self.weight, self.bias])  # pyright: ignore[reportCallIssue]
        best = np.full((len(self.splits), len(self.decay)), -1.0)
        failures, active, passes = np.zeros(best.shape, int), np.ones(best.shape, bool), 0
        self.best = self.weight.clone(), self.bias.clone()
        while active.any() and passes <= _MAX_PASSES:
            for _ in range(self.trainer.passes):
                self._one_pass(torch.from_numpy(draws.permutation(self.train.shape[1])), steps)
            passes += self.trainer.passes
            accuracy = self._held_out_accuracy()
            better = active & (accuracy > best)
            best[better] = accuracy[better]
            self._keep(better)
            worse = active & ~better
            active &= ~(worse & (failures >= self.trainer.patience))
            failures[worse] += 1
        return best.tolist()

    def best_classes(self, rows: Float32[Tensor, "M D"]) -> Places:
        """Classes by the first classifier."""
        weight, bias = self.best
        return (rows @ weight[0, :, 0] + bias[0, :, 0]).argmax(dim=1).numpy()

    def _one_pass(self, order: Int[Tensor, " n"], steps: torch.optim.Optimizer) -> None:
        for places in self.train[:, order].split(self.trainer.batch, dim=1):
            x, y = self.rows[places], self.labels[places]
            logits = torch.baddbmm(self.bias.flatten(2), x, self.weight.flatten(2))
            share = torch.softmax(logits.view(*y.shape, *self.bias.shape[2:]), dim=-1)
            share -= functional.one_hot(y, self.classes)[:, :, None]
            share /= y.shape[1]
            slope = (x.mT @ share.flatten(2)).view_as(self.weight)
            self.weight.grad = slope + self.decay * self.weight
            self.bias.grad = share.sum(dim=1, keepdim=True) + self.decay * self.bias
            steps.step()

    def _held_out_accuracy(self) -> np.ndarray:
        shares: list[list[float]] = []
        for place, (_, held) in enumerate(self.splits):
            held_rows, truth = self.rows[held], self.labels[held]
            logits = held_rows @ self.weight[place].flatten(1) + self.bias[place].flatten(1)
            right = logits.view(len(held), *self.bias.shape[2:]).argmax(dim=2) == truth[:, None]
            shares.append([count / max(1, len(held)) for count in right.sum(dim=0).tolist()])
        return np.array(shares)

    def _keep(self, better: np.ndarray) -> None:
        chosen = torch.from_numpy(better)[:, None, :, None]
        for kept, now in zip(self.best, (self.weight, self.bias), strict=True):
            kept.copy_(torch.where(chosen, now, kept))


def _initial(width: int, classes: int) -> tuple[Float32[Tensor, "D C"], Float32[Tensor, " C"]]:
    """The start of torch's own linear layer from SentEval's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        layer = nn.Linear(width, classes)
    return layer.weight.detach().T.contiguous(), layer.bias.detach()
