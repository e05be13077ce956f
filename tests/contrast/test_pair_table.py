"""The table of pairs with hard negatives beside its loops: terms, short lists, masks."""

from __future__ import annotations

import math

import pytest
import torch
from contracts import check_objective
from made_up import cosine, log_sum_exp

from textcl.contrast.masks import MaskAbove, MaskDuplicates
from textcl.contrast.pair_table import FOUR_WAYS, PairTable, only_own_row
from textcl.distributed import ALONE
from textcl.objectives.contrastive import Contrastive
from textcl.objectives.joint import JointDirections
from textcl.types import ABSENT, Embeddings

NAMES = ("anchor", "positive", "n1", "n2")
TAU = 0.2


def pairs(rows, groups=None):
    """Made-up rows whose first negative is there in all rows, and the second in every other one."""
    made = {}
    for seed, name in enumerate(NAMES):
        g = torch.Generator().manual_seed(seed)
        made[name] = torch.randn((rows, 5), generator=g, dtype=torch.float64)
    short = torch.where(torch.arange(rows) % 2 == 0, ABSENT, torch.arange(rows) + 900)
    return Embeddings.of(groups={"n2": short, **(groups or {})}, **made)


def loop(z, terms, allowed=lambda *_: True, hardness=lambda *_: 0.0):
    """The joint loss of methods.md, cell by cell."""
    x = {name: z[name].tolist() for name in NAMES}
    there = {name: (z.group(name) != ABSENT).tolist() for name in NAMES}
    rows, total = range(len(z)), 0.0
    for i in rows:
        cells = [("anchor", name, j) for name in NAMES[1:] for j in rows if there[name][j]]
        if "anchor_anchor" in terms:
            cells += [("anchor", "anchor", j) for j in rows if j != i]
        if "positive_anchor" in terms:
            cells += [("positive", "anchor", j) for j in rows]
        if "positive_positive" in terms:
            cells += [("positive", "positive", j) for j in rows if j != i]
        for term, own in (("positive_negative", False), ("positive_own_negative", True)):
            if term in terms:
                cells += [
                    ("positive", name, j)
                    for name in NAMES[2:]
                    for j in rows
                    if there[name][j] and (i == j) == own
                ]
        logits = [
            cosine(x[name][i], x[other][j]) * (1 / TAU + hardness(name, other, i, j))
            for name, other, j in cells
            if allowed(name, other, i, j)
        ]
        total += log_sum_exp(logits) - cosine(x["anchor"][i], x["positive"][i]) / TAU
    return total / len(z)


@pytest.mark.parametrize(
    "terms",
    [
        (),
        ("anchor_anchor",),
        ("positive_positive", "positive_own_negative"),
        FOUR_WAYS,
        (*FOUR_WAYS, "positive_own_negative"),
    ],
)
def test_loss_of_terms_is_that_of_loops(terms):
    z = pairs(5)
    loss = JointDirections(TAU, PairTable(negatives=NAMES[2:], terms=terms))(z).loss
    assert loss.item() == pytest.approx(loop(z, terms), rel=1e-12)
    if not terms:
        alone = Contrastive(PairTable(negatives=NAMES[2:]), TAU)(z).loss
        assert alone.item() == pytest.approx(loss.item(), rel=1e-12)


HARDENED = {
    "own": lambda other, own: other in NAMES[2:] and own,
    "others": lambda other, own: not own,
    "all": lambda other, own: other in NAMES[2:] or not own,
}


@pytest.mark.parametrize("terms", [(), FOUR_WAYS])
@pytest.mark.parametrize("which", HARDENED)
def test_hardness_is_that_of_anchors_against_positives_and_negatives_alone(which, terms):
    z = pairs(5)
    table = PairTable(negatives=NAMES[2:], terms=terms, hardness=3.0, hardened=which)

    def hardness(name, other, i, j):
        asked = name == "anchor" and other != "anchor" and HARDENED[which](other, i == j)
        return 3.0 if asked else 0.0

    want = loop(z, terms, hardness=hardness)
    assert JointDirections(TAU, table)(z).loss.item() == pytest.approx(want, rel=1e-12)


def test_texts_beyond_short_lists_change_nothing():
    z = pairs(5)
    objective = Contrastive(PairTable(negatives=NAMES[2:]), TAU)
    other = dict(z.by_name)
    other["n2"] = torch.where((z.group("n2") == ABSENT)[:, None], 7.0, z["n2"])
    assert objective(z.with_vectors(other)).loss == objective(z).loss


def test_equal_anchors_and_equal_texts_are_no_negatives_of_each_other():
    groups = {
        "anchor": torch.tensor([1, 2, 1, 3]),
        "positive": torch.tensor([11, 12, 13, 12]),
        "n1": torch.tensor([12, 21, 22, 23]),
    }
    z = pairs(4, groups)
    masked = JointDirections(
        TAU, PairTable(negatives=NAMES[2:], terms=FOUR_WAYS), [MaskDuplicates()]
    )
    ids = {name: z.group(name).tolist() for name in NAMES}

    def allowed(name, other, i, j):
        if {name, other} == {"anchor", "positive"} and i == j:
            return True
        mine, partner = ids[name][i], ids["positive" if name == "anchor" else "anchor"][i]
        theirs = {"anchor": ids["positive"], "positive": ids["anchor"]}.get(other)
        return ids[other][j] not in (mine, partner) and (theirs is None or theirs[j] != mine)

    assert masked(z).loss.item() == pytest.approx(loop(z, FOUR_WAYS, allowed), rel=1e-12)
    hidden = masked.table(z).masked
    assert hidden is not None
    assert hidden(torch.arange(8)).any()


@pytest.mark.parametrize(("margin", "relative"), [(0.1, False), (0.3, True), (-0.2, False)])
def test_candidates_above_the_margin_are_no_negatives(margin, relative):
    z = pairs(5)
    mask = MaskAbove(margin, relative)
    loss = JointDirections(TAU, PairTable(negatives=NAMES[2:], terms=FOUR_WAYS), [mask])(z).loss
    x = {name: z[name].tolist() for name in NAMES}

    def allowed(name, other, i, j):
        own = cosine(x["anchor"][i], x["positive"][i])
        limit = own - (abs(own) if relative else 1) * margin
        is_own = {name, other} == {"anchor", "positive"} and i == j
        return is_own or cosine(x[name][i], x[other][j]) <= limit

    assert loss.item() == pytest.approx(loop(z, FOUR_WAYS, allowed), rel=1e-12)


def test_margin_needs_one_positive_an_anchor():
    from textcl.contrast.pairings import AllViews

    with pytest.raises(ValueError, match="one positive"):
        MaskAbove(0.1)(AllViews()(pairs(3), ALONE), pairs(3))


def test_own_row_alone_is_a_choice_among_own_texts():
    z = pairs(4)
    loss = Contrastive(PairTable(negatives=NAMES[2:]), TAU, [only_own_row])(z).loss
    want = loop(z, (), lambda name, other, i, j: i == j)
    assert loss.item() == pytest.approx(want, rel=1e-12)


def test_no_candidate_of_a_positive_leaves_its_row_out():
    z = pairs(1)
    loss = JointDirections(TAU, PairTable(terms=("positive_positive",)))(z).loss
    assert loss.item() == 0
    assert math.isfinite(loss)


@pytest.mark.parametrize("terms", [(), FOUR_WAYS])
@pytest.mark.parametrize("mask", [None, MaskAbove(0.05)])
def test_contract(terms, mask, monkeypatch):
    def make(world):
        masks = [MaskDuplicates(), *([mask] if mask else [])]
        pairing = PairTable(negatives=NAMES[2:], terms=terms, hardness=2.0 if not terms else 0.0)
        return JointDirections(TAU, pairing, masks, world=world)

    check_objective(make, pairs, uses=NAMES[:3], monkeypatch=monkeypatch)
