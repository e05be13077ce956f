import numpy as np
import pytest
import torch
from torch import nn

from textcl.evaluation.linear_probe import GradientTrainer, LogisticTrainer
from textcl.evaluation.transfer import (
    nearest_by_folds,
    nearest_classes,
    nested_folds,
    pair_features,
    senteval_order,
    train_dev_test,
)

QUICK = GradientTrainer(batch=8, patience=1, passes=2)


def rows_of(classes, count=47, width=5):
    draws = np.random.default_rng(0)
    labels = np.arange(count) % classes
    rows = draws.normal(size=(count, width)) + 1.2 * np.eye(classes, width)[labels]
    return rows.astype(np.float32), labels


def one_by_one(trainer, rows, labels, split, decay):
    """SentEval's loop: one classifier, one optimiser, autograd."""
    np.random.seed(1111)  # noqa: NPY002
    torch.manual_seed(1111)
    model = nn.Linear(rows.shape[1], int(labels.max()) + 1)
    steps = trainer.optimizer(model.parameters(), weight_decay=decay)
    x, y = torch.from_numpy(rows[split[0]]), torch.from_numpy(labels[split[0]])
    best, failures, passes = -1.0, 0, 0
    while passes <= 200:
        for _ in range(trainer.passes):
            order = torch.from_numpy(np.random.permutation(len(x)))  # noqa: NPY002
            for places in order.split(trainer.batch):
                steps.zero_grad()
                nn.functional.cross_entropy(model(x[places]), y[places]).backward()
                steps.step()
        passes += trainer.passes
        guess = model(torch.from_numpy(rows[split[1]])).argmax(1).numpy()
        accuracy = float((guess == labels[split[1]]).mean())
        if accuracy > best:
            best = accuracy
        else:
            if failures >= trainer.patience:
                break
            failures += 1
    return best


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.RMSprop])
def test_classifiers_trained_side_by_side_are_those_trained_one_by_one(optimizer):
    rows, labels = rows_of(3)
    trainer = GradientTrainer(optimizer, batch=12, patience=0, passes=3)
    order = np.random.default_rng(1).permutation(len(rows))
    splits = [(np.delete(order, part), order[part]) for part in np.array_split(range(47), 4)]
    regs = (1e-5, 1e-2, 0.5)
    want = [[one_by_one(trainer, rows, labels, split, reg) for reg in regs] for split in splits]
    state = torch.random.get_rng_state()
    assert trainer.accuracies(rows, labels, splits, regs) == want
    assert torch.equal(state, torch.random.get_rng_state())


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
        spoiled.predicted, LogisticTrainer().predict(rows[:40], labels[:40], 1.0, rows[50:])
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
