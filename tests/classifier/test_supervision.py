"""Labelled rows: which classes there are, P × K batches, held-out rows, and every mistake in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
from labelled import labelled, write_jsonl

from textcl.classifier.batches import describe_classmates
from textcl.classifier.dev import DevTexts, held_out_share, hold_out
from textcl.classifier.labels import (
    load_dev_texts,
    targets_of_rows,
    with_classes,
)
from textcl.classifier.settings import ClassifierSettings
from textcl.classifier.supervision import batches_of, describe_classes
from textcl.classifier.targets import targets_of
from textcl.data.rows import load_rows, settle_roles
from textcl.errors import UserError
from textcl.training.samplers import ClassBatches


def rows_of(labels, several=False):
    role = "labels" if several else "label"
    rows = [{"text": f"text {i}", role: label} for i, label in enumerate(labels)]
    return load_rows(rows, roles=("text", role))


def test_classes_are_sorted_and_counted():
    found = with_classes(ClassifierSettings(), rows_of(["b", "a", "b", "c", "b"]))
    assert (found.classes, found.class_rows, found.multi_label) == (
        ("a", "b", "c"),
        (1, 3, 1),
        False,
    )
    assert describe_classes(found) == "3; smallest a with 1 row, largest b with 3"


def test_classes_of_several_labels_and_of_none():
    rows = rows_of([["b", "a"], [], ["b", "b"]], several=True)
    found = with_classes(ClassifierSettings(), rows)
    assert (found.classes, found.class_rows, found.multi_label) == (("a", "b"), (1, 2), True)
    np.testing.assert_array_equal(targets_of_rows(found, rows), [[1, 1], [0, 0], [0, 1]])


def test_named_classes_keep_their_order_and_may_have_no_row():
    found = with_classes(ClassifierSettings(classes=("c", "b", "a")), rows_of(["b", "a", "b"]))
    assert (found.classes, found.class_rows) == (("c", "b", "a"), (0, 2, 1))
    with pytest.raises(
        UserError, match=r"list has labels that are none of the 2 classes \(a, x\): 'b' \(2 rows\)"
    ):
        with_classes(ClassifierSettings(classes=("a", "x")), rows_of(["b", "a", "b"]))


def test_rows_of_one_class_are_refused():
    with pytest.raises(
        UserError, match=r"all 3 rows of list have the same label \(a\): .* 2 classes"
    ):
        with_classes(ClassifierSettings(), rows_of(["a", "a", "a"]))
    with pytest.raises(UserError, match="all 2 rows of list have the same label"):
        with_classes(ClassifierSettings(), rows_of([["a", "b"], ["b", "a"]], several=True))


@pytest.mark.parametrize("label", [1.5, ["a"]])
def test_a_label_that_is_none_is_told_with_its_line(tmp_path, label):
    path = write_jsonl(
        tmp_path / "x.jsonl", [{"text": "t", "label": "a"}, {"text": "u", "label": label}]
    )
    with pytest.raises(
        UserError, match=r"x\.jsonl:2, column label: expected one class name as label"
    ):
        load_rows(path, roles=("text", "label"))


def test_balanced_weights_are_rows_over_classes_times_rows_of_the_class():
    from sklearn.utils.class_weight import compute_class_weight

    labels = ["a"] * 6 + ["b"] * 3 + ["c"]
    settings = with_classes(ClassifierSettings(class_weights="balanced"), rows_of(labels))
    want = compute_class_weight("balanced", classes=np.array(["a", "b", "c"]), y=labels)
    np.testing.assert_allclose(settings.weights, want)
    assert ClassifierSettings().weights is None


def test_balanced_weights_of_several_labels_count_what_is_there_and_not_what_is_absent():
    rows = rows_of([["a"], ["a", "b"], [], ["a"]], several=True)
    settings = with_classes(ClassifierSettings(class_weights="balanced"), rows)
    assert settings.weights is None
    np.testing.assert_allclose(settings.positive_weights, [1 / 3, 3])
    assert with_classes(ClassifierSettings(), rows).positive_weights is None
    one = with_classes(ClassifierSettings(class_weights="balanced"), rows_of(["a", "b"]))
    assert one.positive_weights is None


def test_dev_rows_without_a_text_are_counted(tmp_path):
    path = write_jsonl(tmp_path / "dev.jsonl", [{"text": t, "label": "a"} for t in ("t", " ", "u")])
    settings = ClassifierSettings(dev=path, classes=("a", "b"))
    assert load_dev_texts(settings).note == "1 row without a text left out."


def test_roles_are_settled_by_the_columns():
    roles = ("text", "label|labels")
    one, several = [{"text": "a", "label": "x"}], [{"text": "a", "labels": ["x"]}]
    assert settle_roles(one, roles) == ("text", "label")
    assert settle_roles(several, roles) == ("text", "labels")
    assert settle_roles(several, roles, columns={"label": "labels"}) == ("text", "label")
    assert settle_roles(["bare"], roles) == ("text", "label")
    both = [{"text": "a", "label": "x", "labels": ["x"]}]
    with pytest.raises(UserError, match=r"--column label=label or --column labels=labels"):
        settle_roles(both, roles)
    assert settle_roles(both, roles, columns={"labels": "labels"}) == ("text", "labels")


LABELS = np.array([0] * 20 + [1] * 11 + [2] * 9 + [3] * 2)


def visits(sampler, epoch=0):
    """How often each row comes in an epoch."""
    batches = [sampler.batch(epoch, index) for index in range(len(sampler))]
    return np.bincount(np.concatenate(batches), minlength=len(sampler.labels))


def test_class_batches_are_made_of_blocks_of_k_rows():
    labels = np.repeat([0, 1, 2], [18, 9, 9])
    sampler = ClassBatches(labels, 9, 3, seed=0)
    assert len(sampler) == 4
    for epoch in range(3):
        for index in range(len(sampler)):
            counts = np.bincount(labels[sampler.batch(epoch, index)], minlength=3)
            assert not (counts % 3).any()


def test_class_batches_follow_from_seed_epoch_and_index_alone():
    first = [ClassBatches(LABELS, 6, 2, seed=4).batch(epoch, 2).tolist() for epoch in (0, 1, 0)]
    again = ClassBatches(LABELS, 6, 2, seed=4)
    assert [again.batch(epoch, 2).tolist() for epoch in (1, 0, 1)] == [first[1], first[0], first[1]]
    assert first[0] != first[1]
    assert ClassBatches(LABELS, 6, 2, seed=5).batch(0, 2).tolist() != first[0]


def test_a_small_class_is_seen_as_often_as_a_large_one():
    labels = np.repeat(np.arange(4), [970, 10, 10, 10])
    for size, k in ((20, 4), (40, 5), (8, 2)):
        assert set(visits(ClassBatches(labels, size, k, seed=0))) == {1}


def test_every_row_of_classes_by_zipf_comes_once_but_for_an_incomplete_batch():
    labels = np.repeat(np.arange(28), [max(1, 1000 // rank) for rank in range(1, 29)])
    sampler = ClassBatches(labels, 32, 4, seed=1)
    times = [visits(sampler, epoch) for epoch in range(20)]
    for each in times:
        assert each.max() == 1
        assert (each == 0).sum() == len(labels) % 32
    assert np.sum(times, 0).min() >= 14, "no row is left out again and again"


def test_the_blocks_of_a_class_are_spread_over_the_epoch():
    labels = np.repeat([0, 1], [600, 200])
    sampler = ClassBatches(labels, 16, 4, seed=0)
    rare = [(labels[sampler.batch(0, index)] == 1).sum() for index in range(len(sampler))]
    assert set(rare) == {4}


def test_one_class_may_fill_several_blocks():
    batch = ClassBatches(np.array([0] * 9 + [1] * 3), 12, 3, seed=0).batch(0, 0)
    assert sorted(batch) == list(range(12))


def test_class_batches_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="batch_size=10 is not a multiple of rows_per_class=3"):
        ClassBatches(LABELS, 10, 3, seed=0)
    rows = rows_of([["a"], ["b"]], several=True)
    with pytest.raises(UserError, match="rows_per_class needs rows with one label each"):
        batches_of(with_classes(ClassifierSettings(rows_per_class=2), rows), rows)


def test_the_preview_counts_rows_of_the_same_class():
    targets = np.repeat([0, 1, 2], 12)
    sampler = ClassBatches(targets, 9, 3, seed=0)
    assert describe_classmates(sampler, targets) == (
        "of the other rows of a batch 2.0 share a row's class on average, and 0% of the rows find none"
    )
    hot = np.eye(3, dtype=bool)[targets]
    assert describe_classmates(sampler, hot) == describe_classmates(sampler, targets)


def test_held_out_rows_keep_the_share_of_each_class_and_a_lonely_row_stays():
    rows = rows_of(["a"] * 20 + ["b"] * 11 + ["c"])
    train, dev, split = hold_out(rows, 0.2, seed=0)
    assert split.describe() == "6 of 32 rows (18.8 %), with rows of 2 of 3 classes"
    assert sorted(dev.column("label")) == ["a"] * 4 + ["b"] * 2
    assert sorted(train.column("text") + dev.column("text")) == sorted(rows.column("text"))
    assert train.report.rows == 26
    assert hold_out(rows, 0.2, seed=0)[1].column("text") == dev.column("text")
    assert hold_out(rows, 0.2, seed=1)[1].column("text") != dev.column("text")
    assert sorted(hold_out(rows, 0.01, seed=0)[1].column("label")) == ["a", "b"]
    with pytest.raises(UserError, match=r"holding out 0\.5 of 2 rows leaves none"):
        hold_out(rows_of(["a", "b"]), 0.5, seed=0)


def test_a_share_is_a_number_between_0_and_1():
    assert held_out_share("0.1") == 0.1
    assert held_out_share("dev.jsonl") is None
    with pytest.raises(
        UserError, match=r"--dev 2: a share of the training rows lies between 0 and 1"
    ):
        held_out_share("2")


def test_a_label_seen_only_in_dev_is_told(tmp_path):
    dev = write_jsonl(
        tmp_path / "dev.jsonl", [{"text": "t", "label": "new"}, {"text": "u", "label": "a"}]
    )
    settings = ClassifierSettings(dev=dev, classes=("a", "b"), class_rows=(1, 1))
    with pytest.raises(
        UserError,
        match=r"dev\.jsonl has labels that are none of the 2 classes \(a, b\): 'new' \(1 row\)",
    ):
        load_dev_texts(settings)
    with pytest.raises(UserError, match=r"--dev nowhere: there is no such file; .* text and label"):
        load_dev_texts(ClassifierSettings(dev="nowhere", classes=("a", "b")))


class Oracle:
    """Gives the probabilities it was made with."""

    classes = ("a", "b", "c")

    def __init__(self, probabilities):
        self.probabilities = np.array(probabilities, dtype=np.float32)

    def predict_proba(self, texts, precision=None):
        assert precision == "float32"
        return self.probabilities


def test_dev_scores_are_accuracy_or_macro_f1():
    model = Oracle([[0.6, 0.4, 0.0], [0.6, 0.4, 0.0], [0.1, 0.9, 0.0], [0.0, 1.0, 0.0]])
    ids = np.array([0, 1, 1, 1])
    assert DevTexts("dev", ["t"] * 4, ids, "accuracy")(model) == 75
    # F1 of a 2/3, of b 4/5; c is neither there nor predicted and counts as 0
    assert DevTexts("dev", ["t"] * 4, ids, "macro-f1")(model) == pytest.approx(
        100 * (2 / 3 + 4 / 5) / 3
    )
    hot = np.array([[1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 1, 1]], dtype=bool)
    dev = DevTexts("dev", ["t"] * 4, hot, "macro-f1")
    assert dev(model) == pytest.approx(100 * (1 + 4 / 5) / 3)
    assert dev.protocol == "dev, macro-F1 × 100, threshold 0.5, float32"
    assert DevTexts("dev", ["t"] * 4, hot, "accuracy")(model) == 50


def test_several_labels_are_selected_by_macro_f1(tmp_path):
    dev = write_jsonl(tmp_path / "dev.jsonl", labelled(10, several=True))
    settings = ClassifierSettings(dev=dev, classes=("food", "sport", "town"), multi_label=True)
    assert load_dev_texts(settings).select_by == "macro-f1"


def test_labels_that_are_numbers_stand_for_their_digits():
    assert targets_of(np.array([2, 10]), ["10", "2"], False, "x").tolist() == [1, 0]
    assert targets_of([[2], []], ["10", "2"], True, "x").tolist() == [[False, True], [False, False]]


def test_targets_tell_the_commonest_unknown_labels():
    with pytest.raises(UserError, match=r"'z' \(2 rows\), 'y' \(1 row\); correct them"):
        targets_of(["a", "z", "z", "y"], ["a", "b"], False, "test.csv")
