from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from textcl.arithmetic import exact_floor, exact_fraction


@pytest.mark.parametrize(
    ("share", "n", "expected"), [(0.29, 100, 29), (0.57, 100, 57), (1.1, 10, 11), (1e-05, 10, 0)]
)
def test_a_share_of_a_whole_number_is_exact(share, n, expected):
    assert exact_floor(share, n) == expected


def test_every_share_in_percent_of_every_number_is_exact():
    for percent in range(1, 101):
        share = percent / 100
        assert all(exact_floor(share, n) == percent * n // 100 for n in range(200))


def test_numbers_of_numpy_are_read_as_the_decimals_they_stand_for():
    assert exact_fraction(np.float64(0.1)) == Fraction(Decimal("0.1"))
    assert exact_floor(np.float64(0.29), 100) == 29


@pytest.mark.parametrize("share", [float("nan"), float("inf")])
def test_a_share_that_is_not_finite_is_refused(share):
    with pytest.raises(ValueError, match="Fraction"):
        exact_fraction(share)
