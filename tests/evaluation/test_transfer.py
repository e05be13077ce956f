import numpy as np
import pytest
import torch
from sklearn.model_selection import StratifiedKFold
from torch import nn

from textcl.evaluation.descent import Descent, adam, rmsprop
from textcl.evaluation.linear_probe import GradientTrainer, LogisticTrainer
from textcl.evaluation.transfer import (
    nearest_by_folds,
    nearest_classes,
    nested_folds,
    pair_features,
    senteval_order,
    train_dev_test,
)

QUICK = GradientTrainer(Descent(batch=8, patience=1, passes=2))
OPTIMIZERS = {adam: torch.optim.Adam, rmsprop: torch.optim.RMSprop}


def rows_of(classes, count=47, width=5):
    draws = np.random.default_rng(0)
    labels = np.arange(count) % classes
    rows = draws.normal(size=(count, width)) + 1.2 * np.eye(classes, width)[labels]
    return rows.astype(np.float32), labels


def one_by_one(descent, rows, labels, held, others, decay, draws=None):
    """SentEval's loop: one classifier, one optimiser of torch, autograd; best accuracy, and classes of others."""
    draws = draws or np.random.RandomState(1111)
    torch.manual_seed(1111)
    model = nn.Linear(rows.shape[1], int(labels.max()) + 1)
    steps = OPTIMIZERS[descent.rule](model.parameters(), weight_decay=decay)
    x, y = torch.from_numpy(rows), torch.from_numpy(labels)
    best, kept, failures, passes = -1.0, None, 0, 0
    while passes <= 200:
        for _ in range(descent.passes):
            for places in torch.from_numpy(draws.permutation(len(x))).split(descent.batch):
                steps.zero_grad()
                nn.functional.cross_entropy(model(x[places]), y[places]).backward()
                steps.step()
        passes += descent.passes
        guess = model(torch.from_numpy(held[0])).argmax(1).numpy()
        accuracy = float((guess == held[1]).mean())
        if accuracy > best:
            best, kept = accuracy, model(torch.from_numpy(others)).argmax(1).numpy()
        else:
            if failures >= descent.patience:
                break
            failures += 1
    return best, kept


def plain_nested_folds(trainer, rows, labels, folds):
    """SentEval's nested folds, one classifier after another."""
    predicted, best_scores = np.zeros_like(labels), []
    splitter = StratifiedKFold(folds, shuffle=True, random_state=1111)
    for train, test in splitter.split(rows, labels):
        x, y = rows[train], labels[train]
        inner = [(x[a], y[a], (x[b], y[b]), x[b]) for a, b in splitter.split(x, y)]
        scores = [
            round(
                100 * np.mean([one_by_one(trainer.descent, *fold, decay)[0] for fold in inner]), 2
            )
            for decay in trainer.nested_grid
        ]
        best_scores.append(max(scores))
        draws = np.random.RandomState(1111)
        order, count = draws.permutation(len(x)), int(0.05 * len(x))
        kept, held = order[count:], order[:count]
        fitted = (x[kept], y[kept], (x[held], y[held]), rows[test])
        decay = trainer.nested_grid[int(np.argmax(scores))]
        predicted[test] = one_by_one(trainer.descent, *fitted, decay, draws)[1]
    return predicted, round(np.mean(best_scores), 2)


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_classifiers_trained_side_by_side_are_those_trained_one_by_one(rule):
    rows, labels = rows_of(3)
    trainer = GradientTrainer(Descent(rule, batch=12, patience=0, passes=3))
    order = np.random.default_rng(1).permutation(len(rows))
    splits = [(np.delete(order, part), order[part]) for part in np.array_split(range(47), 4)]
    regs = (1e-5, 1e-2, 0.5)
    want = [
        [
            one_by_one(trainer.descent, rows[a], labels[a], (rows[b], labels[b]), rows[b], reg)[0]
            for reg in regs
        ]
        for a, b in splits
    ]
    state = torch.random.get_rng_state()
    assert trainer.accuracies(rows, labels, splits, regs) == want
    assert torch.equal(state, torch.random.get_rng_state())


@pytest.mark.parametrize("classes", [2, 3])
def test_nested_folds_predict_what_plain_loops_predict(classes):
    rows, labels = rows_of(classes, 90)
    trainer = GradientTrainer(Descent(batch=8, patience=1, passes=2), (1e-4, 0.1))
    predicted, dev = plain_nested_folds(trainer, rows, labels, 3)
    score = nested_folds(rows, labels, trainer, folds=3)
    assert np.array_equal(score.predicted, predicted)
    assert score.dev_accuracy == dev


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_a_rule_moves_weights_as_the_optimizer_of_torch(rule):
    draws = np.random.default_rng(0)
    weights = draws.normal(size=(2, 4, 3)).astype(np.float32)
    theirs = nn.Parameter(torch.from_numpy(weights.copy()))
    steps, moments = OPTIMIZERS[rule]([theirs]), np.zeros((2, *weights.shape), np.float32)
    for step in range(1, 30):
        slope = draws.normal(size=weights.shape).astype(np.float32)
        theirs.grad = torch.from_numpy(slope.copy())
        steps.step()
        rule(weights, slope, moments, step)
    np.testing.assert_allclose(weights, theirs.detach().numpy(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("trainer", [QUICK, LogisticTrainer((0.5, 2.0), (0.5, 2.0))])
def test_nested_folds_test_every_row_once_and_repeat(trainer):
    rows, labels = rows_of(2)
    score = nested_folds(rows, labels, trainer, folds=3)
    again = nested_folds(rows, labels, trainer, folds=3)
    assert score.right.shape == (47,)
    assert score.accuracy == pytest.approx(100 * score.right.mean(), abs=1.5)
    assert (score.accuracy, score.dev_accuracy) == (again.accuracy, again.dev_accuracy)


def test_rows_held_out_for_stopping_are_not_trained_on():
    rows, labels = rows_of(2, 60)
    wrong = labels.copy()
    wrong[40:50] = 1 - wrong[40:50]
    plain = train_dev_test(rows, labels, 40, 10, LogisticTrainer())
    spoiled = train_dev_test(rows, wrong, 40, 10, LogisticTrainer((1.0,)))
    assert plain.right.shape == (10,)
    assert np.array_equal(
        spoiled.predicted,
        LogisticTrainer().predict(rows, labels, [(np.arange(40), np.arange(50, 60))], [1.0])[0],
    )


def test_order_is_by_length_then_label():
    labels = np.array([1, 0, 1, 0])
    assert senteval_order(labels, [2, 2, 1, 3]).tolist() == [2, 1, 0, 3]
    assert senteval_order(labels, [2, 2, 2, 2], [5, 1, 1, 1]).tolist() == [1, 3, 2, 0]


def test_nearest_rows_vote_and_the_nearest_breaks_a_tie():
    rows = np.array([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 2.0]])
    labels = np.array([0, 1, 1, 2])
    asked = np.array([[1.0, 0.0], [0.0, 3.0]])
    assert nearest_classes(rows, labels, asked, k=1).tolist() == [0, 1]
    assert nearest_classes(rows, labels, asked, k=2).tolist() == [0, 1]
    assert nearest_classes(rows, labels, asked, k=3).tolist() == [0, 1]
    many, classes = rows_of(2)
    assert np.mean(nearest_by_folds(many, classes, k=5, folds=4) == classes) > 0.6


def test_pairs_become_difference_and_product():
    a, b = np.float32([[1, 2]]), np.float32([[3, -2]])
    assert pair_features(a, b).tolist() == [[2, 4, 3, -4]]
