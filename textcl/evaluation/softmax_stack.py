"""Softmax regressions trained side by side by stochastic gradients with early stopping."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int
from torch import nn

from textcl.evaluation.descent import Descent

SEED = 1111
"""Of every draw of SentEval."""

_MAX_PASSES = 200

Places = Int[np.ndarray, " _"]
Split = tuple[Places, Places]
"""Rows to train on, and rows held out."""


class SoftmaxStack:
    """F splits of n training rows each, times R weight decays: as many classifiers, all from one start.

    Args:
        rows: Vectors, with a column of ones for the bias.
        labels: Classes from 0.
        splits: Training rows and held-out rows of each split.
        decays: Weight decays of each split.
    """

    def __init__(
        self,
        rows: Float32[np.ndarray, "N D"],
        labels: Places,
        splits: Sequence[Split],
        decays: Float[np.ndarray, "F R"],
    ) -> None:
        self.rows, self.labels = rows, labels
        self.train = np.stack([train for train, _ in splits])
        self.held = [held for _, held in splits]
        self.classes = np.arange(labels.max() + 1)
        start = np.repeat(_initial(rows.shape[1] - 1, len(self.classes)), decays.shape[1], axis=0)
        self.decay = np.tile(decays, len(self.classes))[:, :, None].astype(np.float32)
        self.weights = np.tile(start, (len(splits), 1, 1))
        self.best = self.weights.copy()
        self.accuracy = np.full(decays.shape, -1.0)

    def fit(self, descent: Descent, draws: np.random.RandomState) -> None:
        """Train all; `accuracy` is the best of each classifier on its held-out rows, `best` the weights that had it."""
        moments = np.zeros((2, *self.weights.shape), np.float32)
        failures = np.zeros(self.accuracy.shape, int)
        active = np.ones(self.accuracy.shape, bool)
        live, passes, step = np.arange(len(self.held)), 0, 0
        while len(live) and passes <= _MAX_PASSES:
            for _ in range(descent.passes):
                order = draws.permutation(self.train.shape[1])
                step = self._one_pass(descent, live, order, moments, step)
            passes += descent.passes
            self._keep(live, active, failures, descent.patience)
            going = active[live].any(axis=1)
            if not going.all():
                live, moments = live[going], moments[:, going]
                self.weights = self.weights[going]

    def predict(self, split: int, places: Places) -> Places:
        """Classes of rows by the best classifier of a split, the one of its first weight decay."""
        return self._classes(self.best[split], places)[0]

    def _one_pass(
        self,
        descent: Descent,
        live: Places,
        order: Places,
        moments: Float32[np.ndarray, "2 F K D"],
        step: int,
    ) -> int:
        places = self.train[live][:, order]
        hot = self.labels[places][:, None, None] == self.classes[:, None, None]
        decay = self.decay[live]
        for begin in range(0, len(order), descent.batch):
            part = slice(begin, begin + descent.batch)
            x = self.rows.take(places[:, part], axis=0)
            share = self._shares(x)
            share -= hot[..., part]
            share /= x.shape[1]
            slope = share.reshape(len(live), -1, x.shape[1]) @ x
            slope += decay * self.weights
            step += 1
            descent.rule(self.weights, slope, moments, step)
        return step

    def _shares(self, x: Float32[np.ndarray, "F B D"]) -> Float32[np.ndarray, "F C R B"]:
        logits = self.weights @ x.swapaxes(1, 2)
        share = logits.reshape(len(x), len(self.classes), -1, x.shape[1])
        share -= share.max(axis=1, keepdims=True)
        np.exp(share, out=share)
        share /= share.sum(axis=1, keepdims=True)
        return share

    def _keep(
        self,
        live: Places,
        active: Bool[np.ndarray, "F R"],
        failures: Int[np.ndarray, "F R"],
        patience: int,
    ) -> None:
        """Evaluate; keep the weights of classifiers that gained, and end those that have failed often enough."""
        for place, weights in zip(live, self.weights, strict=True):
            truth = self.labels[self.held[place]]
            right = np.count_nonzero(self._classes(weights, self.held[place]) == truth, axis=1)
            accuracy = right / max(1, len(truth))
            better = active[place] & (accuracy > self.accuracy[place])
            worse = active[place] & ~better
            self.accuracy[place, better] = accuracy[better]
            chosen = np.tile(better, len(self.classes))
            self.best[place, chosen] = weights[chosen]
            active[place] &= ~(worse & (failures[place] >= patience))
            failures[place] += worse

    def _classes(
        self, weights: Float32[np.ndarray, "K D"], places: Places
    ) -> Int[np.ndarray, "R M"]:
        logits = weights @ self.rows[places].T
        return logits.reshape(len(self.classes), -1, len(places)).argmax(axis=0)


def with_ones(rows: Float32[np.ndarray, "N D"]) -> Float32[np.ndarray, "N E"]:
    """Rows with a last column of ones, whose weight is a bias."""
    return np.concatenate([rows, np.ones((len(rows), 1), np.float32)], axis=1)


def _initial(width: int, classes: int) -> Float32[np.ndarray, "C D"]:
    """The start of torch's own linear layer from SentEval's seed, the bias last."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        layer = nn.Linear(width, classes)
    return torch.cat([layer.weight, layer.bias[:, None]], dim=1).detach().numpy()
