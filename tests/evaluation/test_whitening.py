import numpy as np
import pytest

from textcl.errors import UserError
from textcl.evaluation.whitening import Whitening


def skewed(rows, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, width)) @ rng.normal(size=(width, width)) + 5


def test_whitened_rows_have_zero_mean_and_unit_covariance():
    rows = skewed(200, 6)
    fitted = Whitening.fit(rows)
    white = (rows - fitted.mean) @ fitted.kernel
    assert np.abs(white.mean(0)).max() < 1e-12
    assert np.abs(np.cov(white.T) - np.eye(6)).max() < 1e-10


def test_whitening_keeps_the_directions_of_largest_variance():
    rows = np.random.default_rng(0).normal(size=(300, 3)) * [1.0, 10.0, 100.0]
    kernel = Whitening.fit(rows, 2).kernel
    assert np.abs(kernel).argmax(0).tolist() == [2, 1]


def test_whitening_applies_to_unit_rows_and_leaves_the_mean_row_at_zero():
    rows = skewed(50, 4)
    fitted = Whitening.fit(rows.astype(np.float32), 3)
    white = fitted.apply(np.vstack([rows, fitted.mean]))
    assert white.shape == (51, 3)
    assert np.linalg.norm(white[:-1], axis=1) == pytest.approx(np.ones(50))
    assert np.linalg.norm(white[-1]) < 1e-6


def test_whitening_drops_directions_without_variance_with_a_warning():
    rows = skewed(40, 3)
    rows = np.hstack([rows, rows[:, :1] * 2])
    with pytest.warns(RuntimeWarning, match="keeps 3 of 4 components"):
        fitted = Whitening.fit(rows)
    white = (rows - fitted.mean) @ fitted.kernel
    assert np.abs(np.cov(white.T) - np.eye(3)).max() < 1e-8
    with pytest.warns(RuntimeWarning, match="keeps 4 of 8 components: 5 rows"):
        assert Whitening.fit(skewed(5, 8)).kernel.shape == (8, 4)


def test_whitening_refuses_impossible_requests():
    with pytest.raises(UserError, match="1 to 4 components here; 5 asked"):
        Whitening.fit(skewed(9, 4), 5)
    with pytest.raises(UserError, match="1 to 4 components here; 0 asked"):
        Whitening.fit(skewed(9, 4), 0)
    with pytest.raises(UserError, match="two different rows; got 3 equal"):
        Whitening.fit(np.ones((3, 2)))
