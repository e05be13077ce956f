"""Scores that tell known classes from none, beside slow loops, scikit-learn and pytorch-ood."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from textcl.errors import UserError
from textcl.evaluation.out_of_scope import (
    auroc,
    balanced_threshold,
    class_centres,
    energy,
    fpr_at_recall,
    mahalanobis,
    margin,
    max_softmax,
    nearest_cosine,
    score_rejection,
    shrunk_covariance,
    threshold_keeping,
)


@pytest.fixture(scope="module")
def made_up():
    """Vectors of three classes, queries near and far, and a head; what the recorded values were computed on."""
    draw = np.random.default_rng(14)
    centres = draw.normal(size=(3, 4)) * 2
    labels = np.arange(30) % 3
    vectors = centres[labels] + draw.normal(size=(30, 4))
    queries = np.concatenate([centres + draw.normal(size=(3, 4)), 4 * draw.normal(size=(3, 4))])
    head = draw.normal(size=(4, 3))
    inside, outside = draw.normal(size=200).round(1) + 1, draw.normal(size=80).round(1)
    return vectors, labels, queries, queries @ head, inside, outside


def shared_covariance(vectors, labels):
    rest = (
        vectors.astype(np.float64)
        - class_centres(vectors, labels)[np.unique(labels, return_inverse=True)[1]]
    )
    return rest.T @ rest / len(rest)


def test_scores_are_those_of_pytorch_ood(made_up):
    """pytorch-ood 0.4.0, whose scores have the other sign: EnergyBased, MaxSoftmax, KNN, Mahalanobis (in float32)."""
    vectors, labels, queries, logits, *_ = made_up
    recorded = {
        "energy": [-5.189344483, -2.236243935, -13.282128913, -4.845780015, 2.30903314, -7.84071016],
        "softmax": [-0.998750064, -0.978240805, -0.999997045, -0.61364611, -0.990206424, -0.999776411],
        "mahalanobis": [0.041819803, 0.080051236, 0.029256132, 1.766226888, 2.185574055, 0.619489849],
        "knn, k=1": [0.092117753, 0.200404454, 0.168756569, 0.646364886, 0.92503466, 1.081981119],
        "knn, k=5": [0.211182924, 0.642567097, 0.202634691, 1.00468236, 1.125653527, 1.173020316],
    }  # fmt: skip
    # their covariance is a sum, ours a mean
    covariance = shared_covariance(vectors, labels) * len(vectors)
    ours = {
        "energy": energy(logits),
        "softmax": max_softmax(logits),
        "mahalanobis": mahalanobis(queries, class_centres(vectors, labels), covariance),
        **{
            # a distance d on the sphere is a cosine of 1 − d²/2
            f"knn, k={k}": -np.sqrt(2 - 2 * nearest_cosine(queries, vectors, k))
            for k in (1, 5)
        },
    }
    for name, values in recorded.items():
        tolerance = 2e-6 if name == "mahalanobis" else 1e-8
        np.testing.assert_allclose(-ours[name], values, rtol=tolerance, err_msg=name)


def test_measures_are_those_of_pytorch_ood_and_scikit_learn(made_up):
    """pytorch-ood 0.4.0, functional.auroc and fpr_at_tpr; known classes as the positives, as in the papers."""
    *_, inside, outside = made_up
    assert auroc(inside, outside) == pytest.approx(0.78209375, abs=1e-12)
    assert fpr_at_recall(inside, outside) == pytest.approx(0.7625, abs=1e-12)
    known = np.r_[np.ones(len(inside)), np.zeros(len(outside))]
    both = np.concatenate([inside, outside])
    assert auroc(inside, outside) == pytest.approx(roc_auc_score(known, both), abs=1e-12)
    rates = roc_curve(known, both, drop_intermediate=False)
    for recall in (0.5, 0.9, 0.95, 1.0):
        first = np.flatnonzero(rates[1] >= recall - 1e-12)[0]
        assert fpr_at_recall(inside, outside, recall) == pytest.approx(rates[0][first])


def test_scores_are_those_of_slow_loops(made_up):
    vectors, labels, queries, logits, *_ = made_up
    exact = [[math.exp(value) for value in row] for row in logits]
    np.testing.assert_allclose(energy(logits), [math.log(sum(row)) for row in exact])
    np.testing.assert_allclose(max_softmax(logits), [max(row) / sum(row) for row in exact])
    ordered = [sorted(row) for row in logits.tolist()]
    np.testing.assert_allclose(margin(logits), [row[-1] - row[-2] for row in ordered])
    means = [vectors[labels == each].mean(0) for each in range(3)]
    np.testing.assert_allclose(class_centres(vectors, labels), means)
    spread = sum(
        np.outer(x - means[y], x - means[y]) for x, y in zip(vectors, labels, strict=True)
    ) / len(vectors)
    inverse = np.linalg.inv(spread)
    want = [max(-0.5 * (q - m) @ inverse @ (q - m) for m in means) for q in queries]
    np.testing.assert_allclose(mahalanobis(queries, np.array(means), spread), want)
    cosines = [
        sorted(q @ v / math.sqrt(q @ q) / math.sqrt(v @ v) for v in vectors) for q in queries
    ]
    np.testing.assert_allclose(nearest_cosine(queries, vectors, 3), [row[-3] for row in cosines])
    assert len(mahalanobis(queries[:0], np.array(means), spread)) == 0
    assert len(nearest_cosine(queries[:0], vectors, 1)) == 0


def test_many_rows_are_scored_in_parts(made_up):
    vectors, labels, *_ = made_up
    many = np.random.default_rng(0).normal(size=(2100, 4)).astype(np.float32)
    centres, spread = class_centres(vectors, labels), shared_covariance(vectors, labels)
    for score in (
        lambda rows: mahalanobis(rows, centres, spread),
        lambda rows: nearest_cosine(rows, vectors, 2),
    ):
        np.testing.assert_allclose(score(many)[2000:], score(many[2000:]), rtol=1e-12)


def test_the_shrunk_covariance_has_an_inverse_where_rows_are_fewer_than_dimensions():
    vectors = np.random.default_rng(0).normal(size=(6, 20))
    labels = np.array([0, 0, 0, 4, 4, 4])
    assert np.linalg.matrix_rank(shared_covariance(vectors, labels)) < 20
    assert np.linalg.eigvalsh(shrunk_covariance(vectors, labels)).min() > 1e-3
    assert class_centres(vectors, labels).shape == (2, 20)


def test_the_threshold_that_keeps_a_share_keeps_at_least_that_and_is_the_highest():
    scores = np.array([3.0, 1.0, 2.0, 2.0, 5.0])
    for share, want in ((1.0, 1.0), (0.8, 2.0), (0.6, 2.0), (0.5, 2.0), (0.4, 3.0), (0.2, 5.0)):
        assert threshold_keeping(scores, share) == want
        assert (scores >= want).mean() >= share


def test_the_balanced_threshold_has_the_best_mean_of_both_rates(made_up):
    *_, inside, outside = made_up
    cut = balanced_threshold(inside, outside)

    def rate(threshold):
        return (inside >= threshold).mean() + (outside < threshold).mean()

    tried = np.arange(-4, 5, 0.05)
    assert rate(cut) >= max(map(rate, tried)) - 1e-12
    apart = balanced_threshold(np.array([2.0, 3.0]), np.array([-1.0, 0.0]))
    assert apart == 1.0
    # scores in the wrong order: nothing is rejected
    assert balanced_threshold(np.array([0.0]), np.array([1.0])) == 0.0


def test_recall_and_accuracy_are_counted_at_the_threshold():
    result = score_rejection(
        np.array([1.0, 2.0, 3.0, 4.0]),
        np.array([True, True, False, True]),
        np.array([0.0, 1.0, 2.0]),
        2.0,
    )
    assert (result.accepted, result.in_scope_accuracy) == (0.75, 0.5)
    assert result.oos_recall == pytest.approx(2 / 3)
    assert result.auroc == pytest.approx((1.5 + 2.5 + 3 + 3) / 12)


def test_a_missing_side_and_a_broken_score_are_refused():
    some = np.array([1.0, 2.0])
    with pytest.raises(UserError, match="takes both, got 2 and 0"):
        auroc(some, some[:0])
    with pytest.raises(UserError, match="not finite"):
        fpr_at_recall(some, np.array([np.nan]))
    with pytest.raises(UserError, match="not finite"):
        balanced_threshold(np.array([np.inf]), some)
