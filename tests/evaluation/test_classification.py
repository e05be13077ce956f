import math

import numpy as np
import pytest
from sklearn.metrics import precision_recall_fscore_support

from textcl.errors import RunError
from textcl.evaluation.classification import (
    calibration_curve,
    class_f1,
    confused_pairs,
    confusion_order,
    score_classes,
    score_labels,
)

CLASSES = ("anger", "fear", "joy", "never")


def made_up(rows=300, seed=0):
    """Probabilities and labels of three classes; the fourth is neither there nor predicted."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, rows)
    logits = rng.normal(size=(rows, 4)) + 2 * np.eye(4)[labels]
    logits[:, 3] = -20
    p = np.exp(logits)
    return p / p.sum(1, keepdims=True), labels


def slow_f1(predicted, labels, positive):
    """From the counts, one row at a time; both are sequences of sets of classes."""
    hits = sum(positive in p and positive in y for p, y in zip(predicted, labels, strict=True))
    extra = sum(positive in p and positive not in y for p, y in zip(predicted, labels, strict=True))
    missed = sum(
        positive not in p and positive in y for p, y in zip(predicted, labels, strict=True)
    )
    return 2 * hits / (2 * hits + extra + missed) if hits else 0.0


def slow_ece(confidences, right, bins):
    total = 0.0
    for b in range(bins):
        inside = [
            (c, r)
            for c, r in zip(confidences, right, strict=True)
            if b / bins < c <= (b + 1) / bins or (b == 0 and c == 0)
        ]
        if inside:
            accuracy = sum(r for _, r in inside) / len(inside)
            confidence = sum(c for c, _ in inside) / len(inside)
            total += len(inside) / len(confidences) * abs(accuracy - confidence)
    return total


def test_scores_of_single_labels_are_those_of_plain_counting():
    p, labels = made_up()
    result = score_classes(p, labels, CLASSES)
    predicted = [max(range(4), key=lambda c, row=row: row[c]) for row in p]
    right = [a == b for a, b in zip(predicted, labels, strict=True)]
    f1 = [slow_f1([{a} for a in predicted], [{b} for b in labels], c) for c in range(4)]
    counts = [sum(y == c for y in labels) for c in range(4)]
    entropy = -sum(x * math.log2(x) for row in p for x in row if x > 0) / len(p)
    assert result.n == 300
    assert result.accuracy == pytest.approx(sum(right) / 300, abs=1e-12)
    assert result.micro_f1 == result.accuracy
    assert result.macro_f1 == pytest.approx(sum(f1) / 4, abs=1e-12)
    assert result.weighted_f1 == pytest.approx(
        sum(f * n for f, n in zip(f1, counts, strict=True)) / 300, abs=1e-12
    )
    assert result.entropy == pytest.approx(entropy, abs=1e-10)
    assert result.calibration.error == pytest.approx(slow_ece(p.max(1), right, 15), abs=1e-12)
    assert [each.support for each in result.per_class] == counts
    assert [each.predicted for each in result.per_class] == [predicted.count(c) for c in range(4)]
    for c, each in enumerate(result.per_class):
        assert each.f1 == pytest.approx(f1[c], abs=1e-12)
    assert result.confusion.sum() == 300
    for true in range(4):
        for other in range(4):
            rows = sum(a == true and b == other for a, b in zip(labels, predicted, strict=True))
            assert result.confusion[true, other] == rows


def test_a_class_that_is_not_there_and_not_predicted_has_f1_0_and_counts_in_the_mean():
    p, labels = np.eye(4)[[0, 1, 2]], np.array([0, 1, 2])
    result = score_classes(p, labels, CLASSES)
    assert (result.accuracy, result.weighted_f1, result.macro_f1) == (1.0, 1.0, 0.75)
    assert result.per_class[3].f1 == 0.0
    assert (result.entropy, result.calibration.error) == (0.0, 0.0)


def test_entropy_of_ignorance_is_the_logarithm_of_the_classes():
    result = score_classes(np.full((5, 4), 0.25), np.zeros(5, dtype=int), CLASSES)
    assert result.entropy == pytest.approx(2.0, abs=1e-12)
    assert result.accuracy == 1.0  # of equal probabilities the first class is predicted


def test_standard_error_is_that_of_a_share():
    p = np.eye(2)[[0] * 100]
    labels = np.array([0] * 80 + [1] * 20)
    result = score_classes(p, labels, ("a", "b"))
    assert result.standard_error == pytest.approx(0.04)


def test_scores_of_several_labels_are_those_of_plain_counting():
    rng = np.random.default_rng(3)
    p = rng.random((200, 4))
    labels = rng.random((200, 4)) < p * [1, 0.6, 0.3, 0]
    thresholds = np.array([0.5, 0.6, 0.8, 0.99])
    result = score_labels(p, labels, CLASSES, thresholds)
    predicted = [{c for c in range(4) if row[c] >= thresholds[c]} for row in p]
    truth = [{c for c in range(4) if row[c]} for row in labels]
    f1 = [slow_f1(predicted, truth, c) for c in range(4)]
    hits = sum(len(a & b) for a, b in zip(predicted, truth, strict=True))
    wrong = sum(len(a ^ b) for a, b in zip(predicted, truth, strict=True))
    assert result.accuracy == sum(a == b for a, b in zip(predicted, truth, strict=True)) / 200
    assert result.macro_f1 == pytest.approx(sum(f1) / 4, abs=1e-12)
    assert result.micro_f1 == pytest.approx(2 * hits / (2 * hits + wrong), abs=1e-12)
    ece = slow_ece(p.ravel().tolist(), labels.ravel().tolist(), 15)
    assert result.calibration.error == pytest.approx(ece, abs=1e-12)
    bits = -sum(x * math.log2(x) + (1 - x) * math.log2(1 - x) for x in p.ravel()) / p.size
    assert result.entropy == pytest.approx(bits, abs=1e-10)
    assert result.confusion is None


def test_one_threshold_serves_all_labels():
    p = np.array([[0.5, 0.4]])
    result = score_labels(p, np.array([[True, False]]), ("a", "b"))
    assert (result.accuracy, result.micro_f1, result.macro_f1) == (1.0, 1.0, 0.5)


def test_nothing_predicted_is_f1_0():
    result = score_labels(np.zeros((2, 2)), np.array([[True, False]] * 2), ("a", "b"))
    assert (result.micro_f1, result.macro_f1, result.accuracy) == (0.0, 0.0, 0.0)


def test_calibration_bins_are_closed_above():
    curve = calibration_curve(np.array([0.0, 0.5, 0.51, 1.0]), np.array([0, 1, 1, 1]) > 0, bins=2)
    assert curve.counts.tolist() == [2, 2]
    assert curve.confidence.tolist() == [0.25, 0.755]
    assert curve.accuracy.tolist() == [0.5, 1.0]
    assert curve.error == pytest.approx((0.25 + 0.245) / 2)


def test_probabilities_that_come_true_are_calibrated():
    rng = np.random.default_rng(0)
    p = rng.random(200_000)
    assert calibration_curve(p, rng.random(200_000) < p).error < 0.01


CONFUSED = np.array([[50, 2, 0, 1], [1, 40, 0, 9], [0, 0, 10, 0], [0, 6, 3, 20]])


def test_most_confused_pairs_come_first():
    pairs = confused_pairs(CONFUSED, ("a", "b", "c", "d"))
    assert pairs[0] == ("b", "d", 9, 9 / 50)
    assert [pair.rows for pair in pairs] == [9, 6, 3, 2, 1, 1]
    assert [pair[:2] for pair in pairs[-2:]] == [("b", "a"), ("a", "d")]  # 1 of 50 before 1 of 53
    assert confused_pairs(CONFUSED, ("a", "b", "c", "d"), 1) == pairs[:1]


def test_confused_classes_stand_beside_each_other():
    order = confusion_order(CONFUSED)
    assert sorted(order) == [0, 1, 2, 3]
    assert set(order[:2]) == {1, 3}
    assert confusion_order(np.array([[5]])) == [0]
    assert sorted(confusion_order(np.zeros((3, 3), dtype=int))) == [0, 1, 2]


def test_refuses_what_cannot_be_scored():
    with pytest.raises(RunError, match="no rows"):
        score_classes(np.zeros((0, 4)), np.zeros(0, dtype=int), CLASSES)
    with pytest.raises(RunError, match="not finite"):
        score_labels(np.full((1, 2), np.nan), np.array([[True, False]]), ("a", "b"))


def test_agrees_with_scikit_learn():
    p, labels = made_up(seed=5)
    result = score_classes(p, labels, CLASSES)
    table = precision_recall_fscore_support(
        labels, p.argmax(1), labels=range(4), average=None, zero_division=0.0
    )
    ours = [(each.precision, each.recall, each.f1, each.support) for each in result.per_class]
    assert np.allclose(np.transpose(ours), table, atol=1e-12)


def test_a_single_label_that_may_hold_or_not_is_scored():
    result = score_labels(np.array([[0.9], [0.2], [0.8]]), np.array([[1], [0], [0]]) > 0, ("a",))
    assert (result.accuracy, result.macro_f1) == (pytest.approx(2 / 3), pytest.approx(2 / 3))


def test_macro_f1_equals_that_of_scikit_learn_also_where_rows_count_several_times():
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    labels, predicted = rng.random((2, 40, 5)) < 0.3
    labels[:, 4] = predicted[:, 4] = False
    counts = rng.integers(0, 4, (3, 40)).astype(float)
    expected = [
        f1_score(labels, predicted, average=None, sample_weight=row, zero_division=0.0)
        for row in (np.ones(40), *counts)
    ]
    np.testing.assert_allclose(class_f1(labels, predicted), expected[0], atol=1e-12)
    np.testing.assert_allclose(class_f1(labels, predicted, counts), expected[1:], atol=1e-12)
