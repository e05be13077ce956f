"""What a run says when something is wrong, and that a healthy one says nothing."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
import torch
from families import tiny_model_dir
from rich.console import Console

import textcl
from textcl.contrast.masks import MaskDuplicates
from textcl.contrast.pairings import AllViews, AnchorPositive
from textcl.contrast.temperature import LearnableTemperature
from textcl.distributed import ALONE
from textcl.objectives.combine import WeightedSum
from textcl.objectives.contrastive import Contrastive
from textcl.objectives.hard_negative import HardNegative
from textcl.objectives.joint import JointDirections
from textcl.objectives.label_aware import LabelAware
from textcl.objectives.matryoshka import Matryoshka
from textcl.objectives.ranking import RankingPairs, cosine_of_pairs
from textcl.objectives.sup_con import sup_con
from textcl.training.alarms import Alarms
from textcl.types import Embeddings


def healthy(labels=None):
    x = torch.randn((6, 16), generator=torch.Generator().manual_seed(0))
    labels = None if labels is None else torch.tensor(labels)
    return Embeddings.of(labels=labels, anchor=x)


def look(z, norm=1.0, terms=None):
    return Alarms(["anchor"]).look(z, torch.tensor(norm), terms or {})[0]


def test_a_healthy_batch_is_silent():
    assert look(healthy([0, 1, 0, 1, 2, 2]), terms={"without_positive": torch.tensor(0.0)}) == []


def test_trouble_is_named():
    z = healthy()
    assert look(z, norm=0.0) == ["zero gradient"]
    assert look(healthy([1] * 6)) == ["one-class batch"]
    near = z.with_vectors({"anchor": 1 + 1e-2 * z["anchor"]})
    assert look(near) == ["collapse"]
    assert look(z, terms=sup_con(0.1, names=("anchor",))(healthy([0, 0, 1, 1, 2, 3])).terms) == [
        "anchors without a positive"
    ]


def test_each_kind_is_said_once():
    alarms = Alarms(["anchor"])
    kinds, messages = alarms.look(healthy(), torch.tensor(0.0), {})
    assert kinds == ["zero gradient"]
    assert messages == ["alarm, zero gradient: nothing is learned from this batch"]
    assert alarms.look(healthy(), torch.tensor(0.0), {}) == (["zero gradient"], [])


# rows 0 and 3 share their text: each masks the other's column, in both views where there are two as candidates
@pytest.mark.parametrize(("pairing", "masked"), [(AnchorPositive(), 2 / 5), (AllViews(), 8 / 10)])
@pytest.mark.parametrize("sample", [2**24, 1])
def test_masked_duplicates_are_counted(pairing, masked, sample, monkeypatch):
    monkeypatch.setattr("textcl.contrast.statistics.SAMPLE", sample)
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn((2, 5, 4), generator=g)
    groups = torch.tensor([0, 1, 2, 0, 4])
    z = Embeddings.of(groups={"anchor": groups, "positive": groups}, anchor=x, positive=y)
    told = Contrastive(pairing, 0.1, [MaskDuplicates()], world=ALONE)(z).statistics()
    first_row = masked * 5 / 2
    assert told["masked"] == pytest.approx(masked if sample > 1 else first_row)
    assert "masked" not in Contrastive(pairing, 0.1)(z).statistics()


def test_a_run_on_one_sentence_says_what_is_wrong_once_and_logs_it_always(tmp_path):
    console = Console(file=io.StringIO(), width=200)
    textcl.train(
        "unsup-simcse", model=str(tiny_model_dir(tmp_path)), data=["a man plays a guitar"] * 8, dev="",
        output=tmp_path / "run", console=console,
        settings=["batch_size=4", "steps=3", "log_every=1", "dropout=0", "mask_duplicates=true", "precision=fp32"],
    )  # fmt: skip
    shown = console.file.getvalue()
    assert shown.count("update 1: alarm, zero gradient") == shown.count("alarm, zero gradient") == 1
    assert shown.count("alarm, collapse: the rows of 'anchor' are nearly equal") == 1
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["alarm"] for line in lines] == [["zero gradient", "collapse"]] * 3
    assert json.loads(lines[0])["masked"] == 3


LEARNED = {
    "contrastive": lambda t: Contrastive(AnchorPositive(), t),
    "hard negative": lambda t: HardNegative(AllViews(), t),
    "joint directions": lambda t: JointDirections(t),
    "label aware": lambda t: LabelAware(t),
    "ranking": lambda t: RankingPairs(cosine_of_pairs, t, names=("anchor", "positive")),
    "weighted": lambda t: WeightedSum([(0.5, Contrastive(AnchorPositive(), t)), (1.0, sup_con(t))]),
    "at several widths": lambda t: Matryoshka(Contrastive(AnchorPositive(), t), [8, 4]),
}


@pytest.mark.parametrize("name", LEARNED)
def test_a_learned_temperature_at_its_bound_is_told(name):
    draw = torch.Generator().manual_seed(0)
    names = ("anchor", "positive", "weigher_anchor", "weigher_positive")
    vectors = dict(zip(names, torch.randn(4, 4, 8, generator=draw), strict=True))
    labels, scores = torch.tensor([0, 0, 1, 1]), torch.tensor([0.0, 1.0, 2.0, 3.0])
    rows = replace(Embeddings.of(labels=labels, **vectors), scores=scores)
    for start, kinds in ((0.05, []), (0.01, ["temperature at its bound"])):
        terms = LEARNED[name](LearnableTemperature(start))(rows).terms
        assert Alarms(["anchor"]).look(rows, torch.tensor(1.0), terms)[0] == kinds
