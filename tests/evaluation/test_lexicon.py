import numpy as np
import pytest

from textcl.errors import UserError
from textcl.evaluation import lexicon as module
from textcl.evaluation.lexicon import lexicon, orthogonal_map, prepared, translations


def vocabulary(seed, n):
    return np.random.default_rng(seed).standard_normal((n, 4))


def slow_csls(x, y, k):
    """CSLS of every pair, from its definition."""

    def cosine(a, b):
        return a @ b / np.linalg.norm(a) / np.linalg.norm(b)

    table = np.array([[cosine(a, b) for b in y] for a in x])
    r_x = [np.mean(sorted(row)[-k:]) for row in table]
    r_y = [np.mean(sorted(column)[-k:]) for column in table.T]
    return 2 * table - np.array(r_x)[:, None] - np.array(r_y)


@pytest.mark.parametrize("k", [1, 3, 50])
def test_csls_ranks_as_its_definition_in_any_blocks(monkeypatch, k):
    x, y = vocabulary(0, 12), vocabulary(1, 9)
    every = [(f"s{n}", f"t{m}") for m in range(9) for n in range(12)]
    pairs = lexicon(every, *words(12, 9))
    order = np.argsort(-slow_csls(x, y, k), axis=1, kind="stable")
    positions = 1 + order.argsort(axis=1).T.flatten()
    for size in (2**24, 20):
        monkeypatch.setattr(module, "_TABLE", size)
        ranked = translations(x, y, pairs, k)
        assert np.array_equal(ranked.positions, positions)
        assert np.array_equal(ranked.best, order[:, 0])


def words(sources, targets):
    return [f"s{n}" for n in range(sources)], [f"t{n}" for n in range(targets)]


def test_any_translation_is_a_hit_and_every_line_has_its_position():
    source, target = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0], [1.0, 0.1], [1.0, 1.0]])
    pairs = lexicon([("s0", "t0"), ("s0", "t1"), ("s0", "absent")], *words(1, 3))
    found = translations(source, target, pairs, None)
    assert (found.precision(1), found.positions.tolist()) == (1.0, [3, 1])
    assert pairs.unknown == 1


def test_equal_words_are_ordered_by_place():
    pairs = lexicon([("s0", "t2"), ("s0", "t0"), ("s0", "t1")], *words(1, 3))
    ranked = translations(np.ones((1, 2)), np.ones((3, 2)), pairs)
    assert (ranked.positions.tolist(), ranked.best.tolist()) == ([3, 1, 2], [0])


def test_a_rotated_vocabulary_is_rotated_back():
    y = prepared(vocabulary(2, 30))
    turn = np.linalg.qr(vocabulary(3, 4))[0]
    learned = orthogonal_map(y[:10] @ turn, y[:10])
    assert np.allclose(y @ turn @ learned, y)
    assert np.allclose(learned @ learned.T, np.eye(4))


def test_nothing_in_common_and_unpaired_rows_are_refused():
    with pytest.raises(UserError, match="none of the 1 dictionary lines"):
        lexicon([("a", "b")], ["c"], ["d"])
    with pytest.raises(UserError, match=r"got \(2, 4\) and \(3, 4\)"):
        orthogonal_map(vocabulary(0, 2), vocabulary(0, 3))
