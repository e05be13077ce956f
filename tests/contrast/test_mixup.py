"""Mixup of anchors: the loss is the mixed cross-entropy towards two positives."""

from __future__ import annotations

import pytest
import torch
from contracts import check_objective
from made_up import rows

from textcl.arithmetic import unit
from textcl.contrast.draws import BetaMix, Mix
from textcl.contrast.masks import MaskDuplicates
from textcl.contrast.mixing import MixAnchors
from textcl.contrast.pairings import AllViews, AnchorPositive
from textcl.objectives.contrastive import Contrastive
from textcl.types import Embeddings


class Given:
    """Draws that are the same every time, as many as there are rows."""

    def __init__(self, level):
        self.level = level

    def __call__(self, anchors):
        count = len(anchors)
        share = torch.linspace(0.1, 0.9, count, dtype=anchors.dtype)[:, None]
        coefficient = share if self.level == "row" else torch.tensor(0.3, dtype=anchors.dtype)
        return Mix(coefficient, torch.arange(count).roll(1))


@pytest.mark.parametrize("level", ["row", "scalar"])
def test_loss_equals_the_naive_loop(level):
    z, draw = rows(5), Given(level)
    loss = Contrastive(AnchorPositive(), 0.2, [MixAnchors(draw)])(z).loss
    anchors, positives = unit(z["anchor"]), unit(z["positive"])
    mix = draw(anchors)
    share = mix.coefficient.expand(5, 1)
    values = []
    for i in range(5):
        j = int(mix.partners[i])
        mixed = unit((share[i] * anchors[i] + (1 - share[i]) * anchors[j])[None])[0]
        log_shares = torch.log_softmax(positives @ mixed / 0.2, 0)
        values.append(-(share[i, 0] * log_shares[i] + (1 - share[i, 0]) * log_shares[j]))
    torch.testing.assert_close(loss, torch.stack(values).mean())


def test_a_coefficient_of_one_changes_nothing():
    z = rows(4)
    plain = Contrastive(AnchorPositive(), 0.2)(z).loss
    keep = MixAnchors(lambda x: Mix(torch.ones((), dtype=x.dtype), torch.arange(len(x)).flip(0)))
    torch.testing.assert_close(Contrastive(AnchorPositive(), 0.2, [keep])(z).loss, plain)


def test_tables_without_one_positive_and_coefficients_by_element_are_refused():
    z = rows(4)
    with pytest.raises(ValueError, match="one positive an anchor"):
        Contrastive(AllViews(), 0.2, [MixAnchors(BetaMix(1.0))])(z)
    with pytest.raises(ValueError, match='not level="dimension"'):
        Contrastive(AnchorPositive(), 0.2, [MixAnchors(BetaMix(1.0, "dimension"))])(z)


@pytest.mark.parametrize("level", ["row", "scalar"])
def test_contract(level, monkeypatch):
    check_objective(
        lambda world: Contrastive(
            AnchorPositive(), 0.2, [MixAnchors(Given(level), world)], world=world
        ),
        rows,
        uses=("anchor", "positive"),
        permutable=False,  # partners are rows of the batch
        monkeypatch=monkeypatch,
    )


def test_texts_of_both_parents_of_a_mixed_anchor_are_masked():
    groups = torch.tensor([1, 2, 1, 2, 3])
    z = rows(5)
    z = Embeddings.of(groups={"anchor": groups, "positive": groups}, **z.by_name)

    def draw(anchors):
        return Mix(torch.tensor(0.25), torch.tensor([1, 2, 3, 4, 0]))

    table = Contrastive(AnchorPositive(), 0.2, [MixAnchors(draw), MaskDuplicates()]).table(z)
    hidden = torch.isneginf(table.block(torch.arange(5), 0.2).logits)
    # anchor 0 is made of rows 0 and 1, whose texts rows 2 and 3 have, too
    assert [row.nonzero().flatten().tolist() for row in hidden] == [
        [2, 3],
        [0, 3],
        [0, 1],
        [1],
        [2],
    ]
