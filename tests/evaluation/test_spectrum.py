import math

import numpy as np
import pytest

from textcl.errors import UserError
from textcl.evaluation.spectrum import spectrum


def skewed(rows, width, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, width)) @ rng.normal(size=(width, width)) + 5


def test_spectrum_equals_naive_loops():
    rows = skewed(30, 5)
    units = [[v / math.hypot(*row) for v in row] for row in rows.tolist()]
    cosines = [
        math.fsum(a * b for a, b in zip(units[i], units[j], strict=True))
        for i in range(30)
        for j in range(i)
    ]
    eigenvalues = np.linalg.eigvalsh(np.cov(rows.T))
    shares = (eigenvalues / eigenvalues.sum()).tolist()
    found = spectrum(rows)
    assert found.mean_cosine == pytest.approx(math.fsum(cosines) / len(cosines), abs=1e-12)
    assert found.top_share == pytest.approx(max(shares), abs=1e-12)
    assert found.effective_rank == pytest.approx(
        math.exp(-math.fsum(p * math.log(p) for p in shares)), abs=1e-9
    )
    assert found.deviations == pytest.approx(np.sqrt(np.diag(np.cov(rows.T))), abs=1e-12)


def test_spectrum_of_equal_rows_has_no_directions():
    found = spectrum(np.ones((4, 3), dtype=np.float32))
    assert found.mean_cosine == pytest.approx(1.0)
    assert (found.top_share, found.effective_rank) == (None, None)
    assert found.deviations.tolist() == [0.0, 0.0, 0.0]


def test_spectrum_of_an_even_cloud_is_full():
    rows = np.vstack([np.eye(4), -np.eye(4)])
    found = spectrum(rows)
    assert found.mean_cosine == pytest.approx(-1 / 7)
    assert found.effective_rank == pytest.approx(4.0)
    assert found.top_share == pytest.approx(0.25)


def test_spectrum_samples_large_clouds_the_same_way_for_a_seed(monkeypatch):
    monkeypatch.setattr("textcl.evaluation.spectrum._SAMPLE", 50)
    rows = skewed(400, 3)
    assert spectrum(rows).top_share == spectrum(rows).top_share
    assert spectrum(rows).top_share != spectrum(rows, seed=1).top_share


def test_spectrum_needs_two_rows():
    with pytest.raises(UserError, match="at least two rows; got 1"):
        spectrum(np.ones((1, 3)))
