"""Transfer tasks as SentEval has them: a linear classifier on frozen vectors, its regulariser chosen by folds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int
from sklearn.model_selection import StratifiedKFold

from textcl.arithmetic import unit_rows
from textcl.evaluation.linear_probe import SEED, Places, Split, Trainer

FOLDS = 10


@dataclass(frozen=True, eq=False)
class TransferScore:
    """Scores of a linear classifier on frozen rows.

    Args:
        accuracy: Of the test rows times 100, to two decimals; with nested folds the mean over folds.
        dev_accuracy: Of the best regulariser on the rows that chose it, which is too good; times 100.
        right: Whether each test row was right; with nested folds every row, in the order given.
        predicted: Class of each test row.
    """

    accuracy: float
    dev_accuracy: float
    right: Bool[np.ndarray, " M"]
    predicted: Int[np.ndarray, " M"]


def nested_folds(
    rows: Float32[np.ndarray, "N D"],
    labels: Places,
    trainer: Trainer,
    folds: int = FOLDS,
    choosing: int | None = None,
) -> TransferScore:
    """Every row is tested once, by a classifier whose regulariser folds of its own training rows chose.

    Args:
        rows: Frozen vectors, sorted as SentEval sorts them (`senteval_order`) where its numbers are wanted.
        labels: Classes from 0.
        trainer: How a classifier is fitted.
        folds: Outer folds, and inner ones.
        choosing: How many of the inner folds choose the regulariser; all when None, as in SentEval.
    """
    outer = _stratified(labels, folds)
    inner = [_inner(labels, train, folds)[:choosing] for train, _ in outer]
    chosen = _choose(trainer, rows, labels, inner, trainer.nested_grid)
    guesses = trainer.predict(rows, labels, outer, [reg for reg, _ in chosen])
    predicted = np.zeros(len(rows), np.int64)
    tested: list[float] = []
    for (_, test), guess in zip(outer, guesses, strict=True):
        predicted[test] = guess
        tested.append(round(100 * float(np.mean(guess == labels[test])), 2))
    dev = round(float(np.mean([best for _, best in chosen])), 2)
    return TransferScore(round(float(np.mean(tested)), 2), dev, predicted == labels, predicted)


def train_and_test(
    rows: Float32[np.ndarray, "N D"],
    labels: Places,
    train_rows: int,
    trainer: Trainer,
    folds: int = FOLDS,
    choosing: int | None = None,
) -> TransferScore:
    """The regulariser is chosen by folds of the training rows; then a classifier of all of them is tested.

    Args:
        rows: Training rows, then test rows.
        labels: Classes from 0.
        train_rows: How many are training rows.
        trainer: How a classifier is fitted.
        folds: Folds that choose.
        choosing: How many of the folds choose; all when None, as in SentEval.
    """
    train, test = np.split(np.arange(len(rows)), [train_rows])
    splits = _inner(labels, train, folds)[:choosing]
    [(reg, best)] = _choose(trainer, rows, labels, [splits], trainer.fold_grid)
    [predicted] = trainer.predict(rows, labels, [(train, test)], [reg])
    return _tested(predicted, labels[test], best)


def train_dev_test(
    rows: Float32[np.ndarray, "N D"],
    labels: Places,
    train_rows: int,
    dev_rows: int,
    trainer: Trainer,
) -> TransferScore:
    """The regulariser is chosen on the dev rows, which also say when training stops.

    Args:
        rows: Training rows, then dev rows, then test rows.
        labels: Classes from 0.
        train_rows: How many are training rows.
        dev_rows: How many are dev rows.
        trainer: How a classifier is fitted.
    """
    train, dev, test = np.split(np.arange(len(rows)), [train_rows, train_rows + dev_rows])
    [(reg, best)] = _choose(trainer, rows, labels, [[(train, dev)]], trainer.nested_grid)
    [predicted] = trainer.predict(rows, labels, [(train, test)], [reg], dev)
    return _tested(predicted, labels[test], best)


def pair_features(
    a: Float32[np.ndarray, "N D"], b: Float32[np.ndarray, "N D"]
) -> Float32[np.ndarray, "N E"]:
    """Rows of pairs: |a − b| beside a ⊙ b."""
    return np.concatenate([np.abs(a - b), a * b], axis=1)


def senteval_order(labels: Places, *lengths: Sequence[int]) -> Int[np.ndarray, " N"]:
    """The order in which SentEval splits rows: by number of tokens (of one text, then of the other), then by label.

    Args:
        labels: Classes from 0.
        lengths: Tokens of each text; for pairs of the first and of the second.
    """
    return np.lexsort((labels, *(np.asarray(each) for each in reversed(lengths))))


def nearest_classes(
    rows: Float[np.ndarray, "N D"], labels: Places, others: Float[np.ndarray, "M D"], k: int = 5
) -> Places:
    """The class that most of the k nearest rows by cosine have; of equal ones, that of the nearest.

    Args:
        rows: Vectors of known class.
        labels: Their classes.
        others: Vectors to classify.
        k: Neighbours asked.
    """
    known, asked = unit_rows(rows), unit_rows(others)
    voted: list[int] = []
    for block in np.array_split(asked, max(1, len(asked) * len(known) // 2**24)):
        order = np.argsort(-(block @ known.T), axis=1, kind="stable")[:, :k]
        for near in labels[order].tolist():
            voted.append(max(near, key=near.count))  # the first of equals is the nearest
    return np.array(voted, np.int64)


def nearest_by_folds(
    rows: Float[np.ndarray, "N D"], labels: Places, k: int = 5, folds: int = FOLDS
) -> Places:
    """`nearest_classes` of every row by the rows of the other folds; the folds are those of `nested_folds`."""
    predicted = np.zeros(len(rows), np.int64)
    for train, test in _stratified(labels, folds):
        predicted[test] = nearest_classes(rows[train], labels[train], rows[test], k)
    return predicted


def _stratified(labels: Places, folds: int) -> list[Split]:
    splitter = StratifiedKFold(folds, shuffle=True, random_state=SEED)
    return list(splitter.split(np.zeros(len(labels)), labels))


def _inner(labels: Places, train: Places, folds: int) -> list[Split]:
    """Folds of the training rows, as places among all rows."""
    return [(train[kept], train[held]) for kept, held in _stratified(labels[train], folds)]


def _choose(
    trainer: Trainer,
    rows: Float32[np.ndarray, "N D"],
    labels: Places,
    groups: Sequence[Sequence[Split]],
    grid: Sequence[float],
) -> list[tuple[float, float]]:
    """Of each group the regulariser with the best mean accuracy over its splits, the first of equals, and that mean."""
    splits = [split for group in groups for split in group]
    accuracies = iter(trainer.accuracies(rows, labels, splits, grid))
    chosen: list[tuple[float, float]] = []
    for group in groups:
        table = np.array([next(accuracies) for _ in group])
        means = [round(100 * float(np.mean(column)), 2) for column in table.T]
        best = int(np.argmax(means))
        chosen.append((grid[best], means[best]))
    return chosen


def _tested(predicted: Places, labels: Places, dev: float) -> TransferScore:
    right = predicted == labels
    return TransferScore(round(100 * float(right.mean()), 2), dev, right, predicted)
