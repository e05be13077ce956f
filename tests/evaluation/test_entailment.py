import numpy as np
import pytest

from textcl.errors import UserError
from textcl.evaluation.entailment import entailment_auc


def slow(scores, entailed):
    yes = [s for s, e in zip(scores, entailed, strict=True) if e]
    no = [s for s, e in zip(scores, entailed, strict=True) if not e]
    return sum((y > n) + (y == n) / 2 for y in yes for n in no) / (len(yes) * len(no))


@pytest.mark.parametrize("seed", range(4))
def test_is_the_share_of_pairs_in_order(seed):
    draw = np.random.default_rng(seed)
    scores, entailed = draw.integers(-3, 4, 30) / 3, draw.random(30) < 0.4
    assert entailment_auc(scores, entailed) == pytest.approx(slow(scores, entailed))


def test_one_class_is_undefined_and_a_broken_score_refused():
    assert entailment_auc(np.ones(3), np.ones(3, bool)) is None
    with pytest.raises(UserError, match="not finite"):
        entailment_auc(np.array([np.nan, 1.0]), np.array([True, False]))
