import numpy as np
import pytest

from textcl.errors import UserError
from textcl.evaluation.bootstrap import draw_resamples, paired_bootstrap, resampled_means

A, B = [0.9, 0.4, 0.7, 0.8, 0.5], [0.6, 0.4, 0.5, 0.9, 0.1]


def test_is_the_mean_difference_of_every_resample():
    indices = draw_resamples(5, 200, seed=3)
    means = [sum(A[i] - B[i] for i in row) / 5 for row in indices.tolist()]
    assert resampled_means(np.subtract(A, B), indices) == pytest.approx(means)
    result = paired_bootstrap(A, B, indices)
    assert result.difference == pytest.approx(0.16)
    assert result.p_one_sided == (1 + sum(m <= 0 for m in means)) / 201
    assert result.interval == pytest.approx(tuple(np.percentile(means, [2.5, 97.5])))
    assert (result.wins, result.losses, result.ties, result.resamples) == (3, 1, 1, 200)


def test_large_tables_are_walked_in_blocks(monkeypatch):
    indices = draw_resamples(5, 50)
    whole = resampled_means(np.subtract(A, B), indices)
    monkeypatch.setattr("textcl.evaluation.bootstrap._TABLE", 15)
    assert np.array_equal(resampled_means(np.subtract(A, B), indices), whole)


def test_the_same_seed_draws_the_same_queries():
    assert np.array_equal(draw_resamples(7, 10, 1), draw_resamples(7, 10, 1))
    assert not np.array_equal(draw_resamples(7, 10, 1), draw_resamples(7, 10, 2))


def test_a_line_for_a_table():
    assert str(paired_bootstrap([0.5], [0.25], draw_resamples(1, 5))) == (
        "+0.250 [+0.250, +0.250], p undefined (1 queries)"
    )


def test_values_that_do_not_pair_are_refused():
    with pytest.raises(UserError, match="got 2 and 1"):
        paired_bootstrap([1.0, 2.0], [1.0], draw_resamples(2, 5))
    with pytest.raises(UserError, match="finite"):
        paired_bootstrap([1.0, np.nan], [1.0, 1.0], draw_resamples(2, 5))
    with pytest.raises(UserError, match="have 2 indices each"):
        paired_bootstrap([1.0, 2.0], [1.0, 1.0], draw_resamples(3, 5))
