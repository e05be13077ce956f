"""Cross-entropy beside its loop, for class ids and for several labels, and the heads."""

from __future__ import annotations

import math

import pytest
import torch
from contracts import check_objective, loss_and_gradients
from made_up import log_sum_exp, rows
from torch import nn

from textcl.classifier.head import ClassificationHead, make_head
from textcl.objectives.cross_entropy import CrossEntropy
from textcl.types import Embeddings

LABELS = [0, 1, 0, 2, 1, 0, 3, 3]


def head():
    """The same one every time, drawn from a generator of its own: ranks are threads here."""
    each, g = ClassificationHead(5, 4, dropout=0.0).double(), torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in each.parameters():
            parameter.normal_(generator=g)
    return each


def slow_cross_entropy(logits, labels, weights):
    losses = [weights[y] * (log_sum_exp(x) - x[y]) for x, y in zip(logits, labels, strict=True)]
    return sum(losses) / sum(weights[y] for y in labels)


def multi_hot(n):
    hot = torch.rand((64, 4), generator=torch.Generator().manual_seed(3)) > 0.6
    return Embeddings.of(labels=hot[:n].double(), **rows(n).by_name)


@pytest.mark.parametrize("weights", [None, [0.1, 0.2, 0.05, 0.0]])
def test_cross_entropy_equals_loops(weights):
    z = rows(6, labels=LABELS)
    objective = CrossEntropy(head(), ("anchor", "positive"), class_weights=weights)
    logits = objective.logits(z).tolist()
    want = slow_cross_entropy(logits, LABELS[:6] * 2, weights or [1.0] * 4)
    assert objective(z).loss.item() == pytest.approx(want, rel=1e-6)  # weights are float32


def test_class_weights_equal_torch():
    z = rows(6, ("anchor",), labels=LABELS)
    weights = [0.1, 0.4, 0.25, 1.0]
    objective = CrossEntropy(head(), class_weights=weights)
    weights = objective.class_weights.double()
    want = nn.functional.cross_entropy(objective.logits(z), z.labels, weights)
    torch.testing.assert_close(objective(z).loss, want, rtol=1e-12, atol=0)


@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.0, 0.0]])
def test_several_labels_equal_loops(weights):
    z = multi_hot(6)
    objective = CrossEntropy(head(), class_weights=weights)
    w, total = weights or [1.0] * 4, 0.0
    for x, y in zip(objective.logits(z).tolist(), z.labels.tolist(), strict=True):
        each = [math.log1p(math.exp(-a if t else a)) for a, t in zip(x, y, strict=True)]
        total += sum(a * b for a, b in zip(w, each, strict=True)) / sum(w)
    assert objective(z).loss.item() == pytest.approx(total / 6, rel=1e-12)


@pytest.mark.parametrize("weights", [None, [0.1, 0.2, 0.05, 0.0]])
def test_a_label_column_counts_the_rows_that_have_a_label_in_it(weights):
    labels = torch.tensor([[0, 1], [3, -1], [1, 2], [2, -1], [0, 0], [0, 3]])
    z = Embeddings.of(labels=labels, **rows(6).by_name)
    objective = CrossEntropy(head(), ("anchor", "positive"), class_weights=weights, column=1)
    logits = objective.logits(z).tolist()
    kept = [row for row in range(12) if labels[row % 6, 1] >= 0]
    truth = [int(labels[row % 6, 1]) for row in kept]
    want = slow_cross_entropy([logits[row] for row in kept], truth, weights or [1.0] * 4)
    assert objective(z).loss.item() == pytest.approx(want, rel=1e-6)
    none = Embeddings.of(labels=torch.full((6, 2), -1), **rows(6).by_name)
    assert objective(none).loss.item() == 0


def in_columns(n):
    labels = torch.tensor(LABELS)[:n]
    missing = torch.where(torch.arange(n) % 3 == 1, -1, labels)
    return Embeddings.of(labels=torch.stack([labels, missing], 1), **rows(n).by_name)


@pytest.mark.parametrize("column", [0, 1])
def test_contract_of_a_label_column(column):
    check_objective(
        lambda w: CrossEntropy(head(), ("anchor", "positive"), column=column, world=w),
        in_columns,
        uses=("anchor", "positive"),
    )


def test_a_batch_of_classes_that_count_nothing_is_zero():
    z = rows(2, ("anchor",), labels=[1, 1])
    objective = CrossEntropy(head(), class_weights=[1.0, 0.0, 1.0, 1.0])
    loss, grads = loss_and_gradients(objective, z)
    assert loss.item() == 0
    assert grads["anchor"].abs().max() == 0


def test_without_a_head_the_embeddings_are_logits():
    z = rows(6, ("logits",), labels=LABELS)
    want = slow_cross_entropy(z["logits"].tolist(), LABELS[:6], [1.0] * 5)
    assert CrossEntropy(names=("logits",))(z).loss.item() == pytest.approx(want, rel=1e-12)


def test_head_drops_between_the_layers_and_on_logits_if_asked():
    torch.manual_seed(0)
    x = torch.randn(64, 5)
    plain = ClassificationHead(5, 4, dropout=0.5)
    quirk = ClassificationHead(5, 4, dropout=0.5, dropout_logits=True)
    assert (plain(x) == 0).sum() == 0
    assert 0.3 < (quirk(x) == 0).float().mean() < 0.7
    assert not torch.equal(plain(x), plain(x))
    for each in (plain.eval(), quirk.eval()):
        want = each.output(torch.relu(each.dense(x)))
        assert torch.equal(each(x), want)


def test_electra_head_is_dense_gelu_output():
    torch.manual_seed(0)
    each = make_head("own", "electra", 5, 4).eval()
    x = torch.randn(3, 5)
    assert torch.equal(each(x), each.output(nn.functional.gelu(each.dense(x))))


def test_no_labels_is_said():
    with pytest.raises(ValueError, match="CrossEntropy needs labels, and the batch has none"):
        CrossEntropy(head())(rows(3))


@pytest.mark.parametrize("weights", [[1.0, -1.0], [0.0, 0.0]])
def test_class_weights_must_count_something(weights):
    with pytest.raises(ValueError, match="class weights must be"):
        CrossEntropy(class_weights=weights)


@pytest.mark.parametrize("weights", [None, [0.1, 0.2, 0.05, 0.3]])
@pytest.mark.parametrize("make_rows", [lambda n: rows(n, labels=LABELS), multi_hot])
def test_contract(weights, make_rows):
    check_objective(
        lambda w: CrossEntropy(head(), ("anchor", "positive"), class_weights=weights, world=w),
        make_rows,
        uses=("anchor", "positive"),
    )


def test_positive_weights_count_in_the_rows_that_have_the_label():
    logits = torch.tensor([[0.5, -1.0], [2.0, 0.3]])
    labels = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    z = Embeddings({"anchor": logits}, torch.arange(2), labels=labels)
    found = CrossEntropy(positive_weights=(3.0, 5.0))(z).loss
    p = logits.sigmoid()
    want = -(3 * p[0, 0].log() + (1 - p[0, 1]).log() + (1 - p[1, 0]).log() + 5 * p[1, 1].log()) / 4
    torch.testing.assert_close(found, want)
