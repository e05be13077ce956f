from collections import Counter

import numpy as np
import pytest

from textcl.data.splits import fold_of, hold_out, normalised
from textcl.errors import UserError


def split_of(rows, share=0.1, seed=0):
    texts, labels = zip(*rows, strict=True)
    return hold_out(texts, labels, share, seed)


def test_equal_texts_lie_on_one_side():
    rows = [(f"text {i % 20}", "ab"[i % 2]) for i in range(40)]
    split = split_of(rows, 0.3)
    kept, held = ({rows[i][0] for i in places} for places in (split.kept, split.held))
    assert not kept & held
    assert len(split.held) == 12


def test_texts_that_differ_in_form_case_and_spaces_alone_are_equal():
    assert normalised("  A  caf\u00e9\n") == normalised("a cafe\u0301")
    rows = [(text, "a") for i in range(10) for text in (f"Text {i}", f"text  {i} ")]
    split = split_of(rows, 0.2)
    assert len(split.held) == 4
    assert {i // 2 for i in split.held}.isdisjoint(i // 2 for i in split.kept)


def test_small_classes_are_held_out_too():
    rows = [(f"w{i} {j}", f"c{i}") for i in range(20) for j in range(9)]
    rows += [(f"big {j}", "big") for j in range(30)]
    split = split_of(rows)
    counts = Counter(rows[i][1] for i in split.held)
    assert counts == Counter({f"c{i}": 1 for i in range(20)} | {"big": 3})
    assert split.describe() == "23 of 210 rows (11.0 %), with rows of 21 of 21 classes"


def test_what_a_whole_number_leaves_goes_to_the_largest_remainders():
    sizes = {"a": 14, "b": 16, "c": 20}  # quotas 1.4, 1.6 and 2.0 of 5
    rows = [(f"{name} {i}", name) for name, size in sizes.items() for i in range(size)]
    counts = Counter(rows[i][1] for i in split_of(rows).held)
    assert counts == {"a": 1, "b": 2, "c": 2}


def test_a_share_is_exact():
    assert len(hold_out([f"text {i}" for i in range(100)], None, 0.29, 0).held) == 29


def test_the_only_text_of_a_class_is_kept():
    rows = [("lonely", "rare")] + [(f"text {i}", "common") for i in range(10)]
    for seed in range(10):
        assert 0 in split_of(rows, 0.9, seed).kept


def test_each_class_of_two_keeps_one_and_gives_one():
    rows = [(f"{name} {i}", name) for name in "abc" for i in range(2)]
    for share in (0.01, 0.5, 0.99):
        split = split_of(rows, share)
        assert Counter(rows[i][1] for i in split.held) == Counter("abc")
        assert Counter(rows[i][1] for i in split.kept) == Counter("abc")


def test_texts_with_several_labels_count_for_the_rarest():
    rows = [(f"joy {i}", ["joy"]) for i in range(18)] + [
        (f"both {i}", ["joy", "awe"]) for i in range(2)
    ]
    split = split_of(rows)
    assert sum(i >= 18 for i in split.held) == 1
    assert split.held_classes == 2


def test_a_text_with_two_different_labels_is_not_divided():
    rows = [("same", "a"), ("same", "b")] + [(f"{n} {i}", n) for n in "ab" for i in range(5)]
    for seed in range(20):
        split = split_of(rows, 0.3, seed)
        assert ({0, 1} <= set(split.kept)) != ({0, 1} <= set(split.held))


def test_every_row_is_on_one_side_and_the_seed_decides():
    rows = [(f"text {i % 70}", "abc"[i % 3]) for i in range(100)]
    splits = [split_of(rows, 0.25, seed) for seed in (0, 0, 1)]
    for split in splits:
        assert sorted([*split.kept, *split.held]) == list(range(100))
    assert splits[0] == splits[1] != splits[2]


def test_rows_without_labels_have_one_class():
    split = hold_out([f"text {i}" for i in range(10)], None, 0.2, 0)
    assert split.describe() == "2 of 10 rows (20.0 %)"
    assert split.share == pytest.approx(0.2)


@pytest.mark.parametrize("share", [0, 1, -0.1, float("nan")])
def test_a_share_outside_0_and_1_is_refused(share):
    with pytest.raises(UserError, match="between 0 and 1"):
        hold_out(["a", "b"], None, share, 0)


def test_classes_of_one_text_leave_nothing_to_hold_out():
    with pytest.raises(UserError, match="every class has only one distinct text"):
        split_of([("one", "a"), ("two", "b"), ("two", "b")])


def test_the_parts_of_random_data_are_as_large_as_asked_for():
    rng = np.random.default_rng(0)
    for _ in range(30):
        labels = [str(x) for x in rng.zipf(1.5, 200) % 12]
        split = hold_out([f"text {i}" for i in range(200)], labels, 0.2, 0)
        counts = Counter(labels)
        held = Counter(labels[i] for i in split.held)
        small = sum(2 <= n < 8 for n in counts.values())
        assert 40 - sum(n == 1 for n in counts.values()) <= len(split.held) <= 40 + small
        assert all(abs(held[name] - 0.2 * n) <= 1 for name, n in counts.items())


def test_folds_keep_equal_texts_together_and_spread_classes_evenly():
    texts = [f"text {n}" for n in range(40)] + ["Text  7", "text 8"]
    labels = ["a"] * 25 + ["b"] * 15 + ["b", "a"]
    folds = fold_of(texts, labels, 5, seed=3)
    assert folds.tolist() == fold_of(texts, labels, 5, seed=3).tolist()
    assert folds.tolist() != fold_of(texts, labels, 5, seed=4).tolist()
    assert (folds[40], folds[41]) == (folds[7], folds[8])
    for rows, each in ((slice(0, 25), 5), (slice(25, 40), 3)):
        assert np.bincount(folds[rows], minlength=5).tolist() == [each] * 5
