"""The table: what pairings lay out, what transforms change, and that blocks of it equal the whole."""

from __future__ import annotations

import math

import pytest
import torch
from contracts import loss_and_gradients, on_ranks, rows_of
from made_up import cosine, log_sum_exp, rows

import textcl.contrast.table
from textcl.arithmetic import unit
from textcl.contrast.masks import MaskDuplicates
from textcl.contrast.pairings import AllViews, AnchorPositive, Pairing
from textcl.contrast.temperature import LearnableTemperature
from textcl.contrast.transforms import KeepHardest, Transform, only_own_positive
from textcl.distributed import ALONE
from textcl.objectives.contrastive import Contrastive
from textcl.objectives.hard_negative import HardNegative
from textcl.objectives.label_aware import LabelAware
from textcl.types import Embeddings

LABELS = [0, 1, 0, 2, 1, 0]


def queue(columns, dim=5, seed=9):
    g = torch.Generator().manual_seed(seed)
    return unit(torch.randn((columns, dim), generator=g, dtype=torch.float64))


def whole(contrast, temperature=1.0):
    return contrast.block(torch.arange(len(contrast.anchors)), temperature)


def append(columns, groups=None):
    return lambda contrast, z: contrast.with_columns(columns, groups)


def test_unit_rows_have_length_one_and_zero_rows_stay():
    x = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert unit(x).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]
    assert unit(x.bfloat16()).dtype == torch.float32
    assert unit(x.double()).dtype == torch.float64


def test_a_zero_embedding_has_a_finite_gradient():
    z = rows(3)
    z = z.with_vectors({**z.by_name, "anchor": z["anchor"] * torch.tensor([[0.0], [1.0], [1.0]])})
    loss, grads = loss_and_gradients(Contrastive(AnchorPositive(), 0.1), z)
    assert torch.isfinite(loss)
    assert all(torch.isfinite(g).all() for g in grads.values())


def test_all_views_leave_the_anchor_itself_out():
    block = whole(AllViews(("a", "b", "c"))(rows(2, ("a", "b", "c")), ALONE))
    assert torch.isneginf(block.logits).nonzero().tolist() == [[i, i] for i in range(6)]
    third = block.targets[0].tolist()
    assert third == [0, 0, 0.5, 0, 0.5, 0]


def test_targets_of_labels_share_one():
    contrast = AllViews(("anchor",), same="labels")(rows(6, ("anchor",), LABELS), ALONE)
    targets = whole(contrast).targets
    assert targets[0].tolist() == [0, 0, 0.5, 0, 0, 0.5]
    assert targets.sum(1).tolist() == [1, 1, 1, 0, 1, 1]
    assert contrast.candidate_labels.tolist() == LABELS


def test_targets_of_several_labels_go_by_overlap():
    hot = torch.tensor([[1.0, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 0]], dtype=torch.float64)
    z = Embeddings.of(labels=hot, **rows(4, ("anchor",)).by_name)
    targets = whole(AllViews(("anchor",), same="labels")(z, ALONE)).targets
    # 1/2 with the second row, 1/3 with the third
    assert targets[0].tolist() == pytest.approx([0, 0.6, 0.4, 0])
    assert targets[3].tolist() == [0, 0, 0, 0]


def test_all_views_same_is_one_of_two_and_labels_need_labels():
    with pytest.raises(ValueError, match='same must be "rows" or "labels", not "text"'):
        AllViews(same="text")
    with pytest.raises(ValueError, match="needs labels, and the batch has none"):
        AllViews(same="labels")(rows(3), ALONE)


def test_log_weights_are_what_the_logits_have_beside_similarity():
    z = rows(2, ("anchor", "positive", "negative"))
    pairing = AnchorPositive(negatives=("negative",), hard_negative_weight=0.7)
    block = whole(pairing(z, ALONE), 0.25)
    want = torch.tensor([[0, 0, 0.7, 0], [0, 0, 0, 0.7]], dtype=torch.float64)
    torch.testing.assert_close(block.log_weights, want, rtol=0, atol=1e-14)
    assert block.negatives.tolist() == [[False, True, True, True], [True, False, True, True]]


# queue columns


def test_queue_columns_are_negatives_of_every_anchor():
    z, columns = rows(4), queue(3)
    objective = Contrastive(AnchorPositive(), 0.2, [append(columns)])
    a, p = z["anchor"].tolist(), z["positive"].tolist()
    want = 0.0
    for i in range(4):
        logits = [cosine(a[i], x) / 0.2 for x in [*p, *columns.tolist()]]
        want += log_sum_exp(logits) - logits[i]
    assert objective(z).loss.item() == pytest.approx(want / 4, rel=1e-12)


def test_an_empty_queue_changes_nothing():
    z = rows(4)
    with_empty = Contrastive(AnchorPositive(), 0.2, [append(queue(0))])
    assert torch.equal(with_empty(z).loss, Contrastive(AnchorPositive(), 0.2)(z).loss)


def test_queue_columns_follow_the_rules_of_all_views():
    z = rows(3)
    contrast = AllViews()(z, ALONE).with_columns(queue(2))
    block = whole(contrast)
    assert block.logits.shape == block.targets.shape == (6, 8)
    assert block.negatives[:, 6:].all()
    assert contrast.queued == 2


def test_only_own_positive_leaves_positive_and_queue():
    z, columns = rows(3), queue(2)
    own_first = [only_own_positive, append(columns)]
    queue_first = [append(columns), only_own_positive]
    for transforms in (own_first, queue_first):
        table = Contrastive(AnchorPositive(), 0.2, transforms).table(z)
        seen = ~torch.isneginf(whole(table).logits)
        assert seen.tolist() == [[i == k or k > 2 for k in range(5)] for i in range(3)]
    assert torch.equal(
        Contrastive(AnchorPositive(), 0.2, own_first)(z).loss,
        Contrastive(AnchorPositive(), 0.2, queue_first)(z).loss,
    )


def test_only_own_positive_without_a_queue_is_zero_without_gradient():
    loss, grads = loss_and_gradients(
        Contrastive(AnchorPositive(), 0.2, [only_own_positive]), rows(3)
    )
    assert loss.item() == 0
    assert all(g.abs().max() == 0 for g in grads.values())


def test_duplicates_in_the_queue_are_masked_by_their_group():
    groups = {"anchor": torch.tensor([1, 2]), "positive": torch.tensor([3, 4])}
    z = Embeddings.of(groups=groups, **rows(2).by_name)
    transforms = [append(queue(4), torch.tensor([1, 4, 9, -1])), MaskDuplicates()]
    block = whole(Contrastive(AnchorPositive(), 0.2, transforms).table(z))
    # the anchor's own text, and the text of its positive
    assert torch.isneginf(block.logits).nonzero().tolist() == [[0, 2], [1, 3]]


def test_duplicates_of_several_positives_stay_positives():
    groups = torch.tensor([5, 5, 6])
    z = rows(3, ("anchor",), [0, 0, 1])
    z = Embeddings.of(labels=z.labels, groups={"anchor": groups}, **z.by_name)
    pairing = AllViews(("anchor",), same="labels")
    table = Contrastive(pairing, 0.2, [MaskDuplicates()]).table(z)
    assert torch.isneginf(whole(table).logits).nonzero().tolist() == [[0, 0], [1, 1], [2, 2]]


def test_hardest_are_chosen_among_queue_columns_too():
    z, columns = rows(4), queue(6)
    table = Contrastive(AnchorPositive(), 0.2, [append(columns), KeepHardest(0.3)]).table(z)
    block = whole(table)
    for i in range(4):
        similarities = block.similarity[i].clone()
        similarities[i] = -math.inf
        hardest = similarities.topk(3).indices.sort().values  # ceil(0.3 * 9)
        assert block.negatives[i].nonzero().flatten().tolist() == hardest.tolist()


@pytest.mark.parametrize("fraction", [0, 1.5])
def test_kept_fraction_is_a_share(fraction):
    with pytest.raises(ValueError, match="fraction must be in"):
        KeepHardest(fraction)


# the census


def census(pairing, z, world=ALONE, transforms=()):
    terms = Contrastive(pairing, 0.2, transforms, world=world)(z).terms
    return {name: term.item() for name, term in terms.items() if name.startswith("negatives/")}


def test_census_says_where_negatives_come_from():
    z = rows(4, ("anchor", "positive", "negative"))
    assert census(AnchorPositive(), z) == {"negatives/in-batch": 3}
    hard = AnchorPositive(negatives=("negative",))
    assert census(hard, z) == {"negatives/in-batch": 3, "negatives/hard": 4}
    assert census(AllViews(), z) == {"negatives/in-batch": 6}
    queued = census(AnchorPositive(), z, transforms=[append(queue(2)), append(queue(3))])
    assert queued == {"negatives/in-batch": 3, "negatives/queue": 5}
    moco = census(AnchorPositive(), z, transforms=[only_own_positive, append(queue(2))])
    assert moco["negatives/queue"] == 2


def test_census_counts_the_rows_of_other_processes():
    z = rows(5)
    parts = [rows_of(z, slice(0, 3)), rows_of(z, slice(3, 5))]
    first, second = on_ranks(lambda w: census(AnchorPositive(), parts[w.rank], w), 2)
    assert first == {"negatives/in-batch": 2, "negatives/gathered": 2}
    assert second == {"negatives/in-batch": 1, "negatives/gathered": 3}
    first, second = on_ranks(lambda w: census(AllViews(), parts[w.rank], w), 2)
    assert first == {"negatives/in-batch": 4, "negatives/gathered": 4}


def test_census_of_a_table_is_the_number_of_its_negatives():
    z = rows(4, ("anchor", "positive", "negative"))
    for pairing in (AnchorPositive(negatives=("negative",)), AllViews()):
        contrast = pairing(z, ALONE).with_columns(queue(3))
        assert (whole(contrast).negatives.sum(1) == sum(contrast.census.values())).all()


# blocks of anchors equal the whole table


def tiled_and_dense(objective, z, monkeypatch, elements):
    leaves = list(objective.parameters())

    def value_and_gradients():
        for p in leaves:
            p.grad = None
        loss, grads = loss_and_gradients(objective, z)
        objective(z).loss.backward() if leaves else None
        return loss, grads | {f"parameter {i}": p.grad.clone() for i, p in enumerate(leaves)}

    dense = value_and_gradients()
    with monkeypatch.context() as patch:
        patch.setattr(textcl.contrast.table, "TILE_ELEMENTS", elements)
        tiled = value_and_gradients()
    return tiled, dense


FOUR = ("anchor", "positive", "weigher_anchor", "weigher_positive")
TILED = {
    "learned_temperature": lambda: Contrastive(AllViews(), LearnableTemperature(0.2)).double(),
    "learned_temperature_hcl": lambda: HardNegative(AllViews(), LearnableTemperature(0.5)).double(),
    "class_weights": lambda: LabelAware(LearnableTemperature(0.3)).double(),
    "class_weights_of_a_head": lambda: LabelAware(
        0.3, ("anchor",), ("anchor",), torch.nn.Linear(5, 4), variant="paper"
    ).double(),
    "queue": lambda: Contrastive(
        AllViews(), 0.2, [append(queue(7)), MaskDuplicates(), KeepHardest(0.5)]
    ),
}


@pytest.mark.parametrize("case", TILED)
@pytest.mark.parametrize("elements", [1, 30, 45])
def test_blocks_equal_the_whole(case, elements, monkeypatch):
    torch.manual_seed(0)
    objective = TILED[case]()
    z = rows(6, FOUR, LABELS)
    (loss, grads), (want, want_grads) = tiled_and_dense(objective, z, monkeypatch, elements)
    torch.testing.assert_close(loss, want, rtol=1e-12, atol=1e-12)
    for name, gradient in grads.items():
        torch.testing.assert_close(gradient, want_grads[name], rtol=1e-10, atol=1e-12)


def test_a_large_table_is_walked_in_blocks_of_the_set_size(monkeypatch):
    monkeypatch.setattr(textcl.contrast.table, "TILE_ELEMENTS", 25)
    seen = []

    def row_loss(block):
        seen.append(tuple(block.logits.shape))
        return textcl.contrast.row_losses.softmax(block)

    Contrastive(AllViews(), 0.2, row_loss=row_loss)(rows(5))
    assert seen == [(2, 10)] * 5


def test_similarity_ignores_autocast():
    z = rows(4).with_vectors({name: x.float() for name, x in rows(4).by_name.items()})
    contrast = AnchorPositive()(z, ALONE)
    plain = contrast.similarity(torch.arange(4))
    with torch.autocast("cpu", torch.bfloat16):
        cast = contrast.similarity(torch.arange(4))
    assert torch.equal(plain, cast)


def test_pairings_and_transforms_are_recognised():
    assert all(isinstance(x, Pairing) for x in (AnchorPositive(), AllViews()))
    assert all(isinstance(x, Transform) for x in (MaskDuplicates(), KeepHardest(0.5)))
