import numpy as np
import pytest
from scipy.special import expit, log_expit, log_softmax

from textcl.classifier.fitting import TEMPERATURES, fit_temperature, fit_thresholds
from textcl.errors import UserError


def draws(rows=400, classes=5, true_temperature=1.0, seed=0):
    """Logits, and labels drawn from softmax(logits / true_temperature)."""
    rng = np.random.default_rng(seed)
    logits = 3 * rng.normal(size=(rows, classes))
    gumbel = rng.gumbel(size=logits.shape)
    return logits, (logits / true_temperature + gumbel).argmax(1)


def nll(logits, labels, temperature):
    return -log_softmax(logits / temperature, axis=1)[np.arange(len(labels)), labels].mean()


def bce(logits, labels, temperature):
    signed = np.where(labels, logits, -logits) / temperature
    return -log_expit(signed).sum(1).mean()


@pytest.mark.parametrize("true_temperature", [0.3, 1.0, 4.0])
def test_no_temperature_on_a_fine_grid_has_a_lower_loss(true_temperature):
    logits, labels = draws(true_temperature=true_temperature)
    found = fit_temperature(logits, labels)
    grid = np.exp(np.linspace(np.log(0.01), np.log(100), 1000))
    assert nll(logits, labels, found) <= min(nll(logits, labels, t) for t in grid) + 1e-12
    assert found == pytest.approx(true_temperature, rel=0.25)


def test_recovers_the_temperature_that_drew_the_labels():
    logits, labels = draws(rows=40_000, true_temperature=2.5)
    assert fit_temperature(logits, labels) == pytest.approx(2.5, rel=0.03)


def test_several_labels_are_fitted_by_the_likelihood_of_the_sigmoid():
    rng = np.random.default_rng(1)
    logits = 3 * rng.normal(size=(500, 4))
    labels = rng.random((500, 4)) < expit(logits / 2)
    found = fit_temperature(logits, labels)
    grid = np.exp(np.linspace(np.log(0.05), np.log(50), 2000))
    assert bce(logits, labels, found) <= min(bce(logits, labels, t) for t in grid) + 1e-12
    assert found == pytest.approx(2, rel=0.25)


def test_ends_of_the_range_are_defined():
    sure = np.eye(3)[[0, 1, 2]] * 5
    assert fit_temperature(sure, np.array([0, 1, 2])) == TEMPERATURES[0]
    assert fit_temperature(sure, np.array([1, 2, 0])) == TEMPERATURES[1]
    assert fit_temperature(np.zeros((3, 2)), np.array([0, 1, 0])) == TEMPERATURES[1]


def test_float32_logits_of_any_size_are_fitted():
    logits, labels = draws()
    found = fit_temperature((1e4 * logits).astype(np.float32), labels)
    assert found == TEMPERATURES[1]


def test_temperature_refuses_what_tells_nothing():
    with pytest.raises(UserError, match="got none"):
        fit_temperature(np.zeros((0, 2)), np.zeros(0, dtype=int))
    with pytest.raises(UserError, match="finite"):
        fit_temperature(np.array([[np.nan, 0.0]]), np.array([0]))


def f1(predicted, labels):
    hits = int((predicted & labels).sum())
    wrong = int((predicted != labels).sum())
    return 2 * hits / (2 * hits + wrong) if hits or wrong else 0.0


@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_on_a_fine_grid_has_a_higher_f1(seed):
    rng = np.random.default_rng(seed)
    p = rng.random((60, 4)).round(2 if seed % 2 else 6)
    labels = rng.random((60, 4)) < p * [1.0, 0.5, 0.2, 0.9]
    found = fit_thresholds(p, labels)
    for c, threshold in enumerate(found):
        grid = np.linspace(0, 1, 4001)
        best = max(f1(p[:, c] >= t, labels[:, c]) for t in grid)
        assert f1(p[:, c] >= threshold, labels[:, c]) >= best - 1e-12


def one(p, y):
    return fit_thresholds(np.array(p)[:, None], np.array(y, dtype=bool)[:, None]).item()


def test_a_threshold_lies_halfway_between_what_it_parts():
    assert one([0.1, 0.3, 0.7, 0.9], [0, 0, 1, 1]) == pytest.approx(0.5)
    assert one([0.1, 0.2, 0.3], [0, 0, 1]) == pytest.approx(0.25)


def test_equal_f1_is_decided_by_the_distance_to_one_half():
    # 0.9 alone and all four both have F1 2/3; their cuts are 0.75 and 0.1
    assert one([0.2, 0.3, 0.6, 0.9], [1, 0, 0, 1]) == pytest.approx(0.75)
    # the same with cuts 0.75 and 0.25, as near as each other: the higher
    assert one([0.5, 0.55, 0.6, 0.9], [1, 0, 0, 1]) == pytest.approx(0.75)


def test_labels_without_positives_keep_one_half_and_full_ones_predict_all():
    assert one([0.2, 0.9], [0, 0]) == 0.5
    assert one([0.2, 0.9], [1, 1]) == pytest.approx(0.1)
    assert one([0.0, 0.9], [1, 1]) == 0.0


def test_neighbouring_floats_are_parted():
    low, high = np.float64(0.5), np.nextafter(np.float64(0.5), 1)
    assert one([low, high], [0, 1]) == high


def test_thresholds_refuse_what_are_no_probabilities():
    with pytest.raises(UserError, match="between 0 and 1"):
        one([1.5], [1])
    with pytest.raises(UserError, match="got none"):
        fit_thresholds(np.zeros((0, 2)), np.zeros((0, 2), dtype=bool))
