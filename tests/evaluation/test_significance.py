import math

import pytest
from scipy.stats import t as student

from textcl.errors import UserError
from textcl.evaluation.significance import mean_sd, paired_test

A, B = [70.1, 71.3, 69.8, 70.9, 71.0], [69.5, 70.9, 70.0, 70.1, 70.2]


def slow(a, b):
    """The textbook formula, step by step."""
    d = [x - y for x, y in zip(a, b, strict=True)]
    n = len(d)
    mean = sum(d) / n
    sd = math.sqrt(sum((x - mean) ** 2 for x in d) / (n - 1))
    statistic = mean / (sd / math.sqrt(n))
    half = student.ppf(0.975, n - 1) * sd / math.sqrt(n)
    return mean, sd, statistic, 2 * student.sf(abs(statistic), n - 1), (mean - half, mean + half)


def test_is_the_textbook_paired_t_test():
    result = paired_test(A, B)
    mean, sd, statistic, p, interval = slow(A, B)
    assert result.difference == pytest.approx(mean, abs=1e-12)
    assert result.sd == pytest.approx(sd, abs=1e-12)
    assert result.t == pytest.approx(statistic, abs=1e-10)
    assert result.p_value == pytest.approx(p, abs=1e-12)
    assert result.interval == pytest.approx(interval, abs=1e-10)
    assert (result.n, result.wins, result.test) == (5, 4, "two-sided paired t-test")
    assert str(result) == "+0.48 ± 0.41, p = 0.061 (5 pairs)"


def test_changes_sign_with_the_order_of_the_methods():
    one, other = paired_test(A, B), paired_test(B, A)
    assert one.difference == -other.difference
    assert one.p_value == other.p_value


def test_pairs_by_seed_see_what_separate_means_hide():
    # seeds differ by ten points, the methods by a steady half point
    a = [60.0, 70.0, 80.0, 90.0]
    result = paired_test([x + 0.5 + 0.01 * i for i, x in enumerate(a)], a)
    assert result.p_value == pytest.approx(0, abs=1e-4)


def test_equal_differences_have_no_p_value():
    result = paired_test([1.0, 2.0, 3.0], [0.9, 1.9, 2.9])
    assert (result.t, result.p_value, result.interval, result.sd) == (None, None, None, 0.0)
    assert result.difference == pytest.approx(0.1)
    assert paired_test([1.0, 2.0], [1.0, 2.0]).difference == 0.0
    assert "p undefined" in str(result)


def test_fewer_than_two_pairs_are_no_test():
    assert paired_test([1.0], [2.0]) is None
    assert paired_test([], []) is None


def test_refuses_what_cannot_be_paired():
    with pytest.raises(UserError, match="got 2 and 3: run both with the same seeds"):
        paired_test([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(UserError, match="finite"):
        paired_test([1.0, math.nan], [1.0, 2.0])


def test_mean_sd_is_that_of_a_sample():
    assert mean_sd([1.0, 2.0, 4.0]) == "2.33 ± 1.53"
    assert mean_sd([1.0, 2.0], 1) == "1.5 ± 0.7"
    assert mean_sd([67.194]) == "67.19"
    assert mean_sd([]) == "–"
