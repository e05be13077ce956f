"""Distillation from stored scores beside its loops."""

from __future__ import annotations

import math

import pytest
import torch
from contracts import check_objective
from made_up import cosine, log_sum_exp

from textcl.objectives.distillation import DistillEmbeddings
from textcl.objectives.score_distillation import DistillScores
from textcl.types import ABSENT, Embeddings

NAMES = ("anchor", "positive", "n1", "n2")


def scored(rows):
    """Rows whose second negative is missing in every other one."""
    g = torch.Generator().manual_seed(0)
    table = torch.randn((16, 4, 5), generator=g, dtype=torch.float64)
    scores = torch.randn((16, 3), generator=g, dtype=torch.float64)
    scores[::2, 2] = math.nan
    short = torch.where(torch.arange(rows) % 2 == 0, ABSENT, torch.arange(rows))
    vectors = {name: table[:rows, k] for k, name in enumerate(NAMES)}
    return Embeddings.of(groups={"n2": short}, given={"scores": scores[:rows]}, **vectors)


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def candidates(z, i, similarity):
    there = [k for k in range(3) if not math.isnan(z.given["scores"][i, k])]
    texts = [z[NAMES[1 + k]][i].tolist() for k in there]
    mine = [similarity(z["anchor"][i].tolist(), text) for text in texts]
    return mine, [z.given["scores"][i, k].item() for k in there]


def test_margins_are_those_of_loops():
    z, terms = scored(5), []
    for i in range(5):
        mine, taught = candidates(z, i, dot)
        terms += [
            ((mine[0] - s) - (taught[0] - t)) ** 2
            for s, t in zip(mine[1:], taught[1:], strict=True)
        ]
    loss = DistillScores(names=NAMES)(z).loss
    assert loss.item() == pytest.approx(sum(terms) / len(terms), rel=1e-12)


def test_divergence_is_that_of_loops():
    z, total = scored(5), 0.0
    for i in range(5):
        mine, taught = candidates(z, i, cosine)
        mine, taught = [s / 0.1 for s in mine], [t / 2 for t in taught]
        for s, t in zip(mine, taught, strict=True):
            log_p, log_q = t - log_sum_exp(taught), s - log_sum_exp(mine)
            total += math.exp(log_p) * (log_p - log_q)
    loss = DistillScores("kl", names=NAMES, cosine=True, temperature=0.1, teacher_temperature=2)(
        z
    ).loss
    assert loss.item() == pytest.approx(0.1**2 * total / 5, rel=1e-10)


def test_weights_of_rows_count():
    z = scored(4)
    weights = torch.tensor([0.0, 2.0, 0.0, 2.0])
    heavy = Embeddings.of(groups=dict(z.groups), given={**z.given, "weight": weights}, **z.by_name)
    odd = Embeddings.of(
        groups={"n2": z.groups["n2"][1::2]},
        given={"scores": z.given["scores"][1::2]},
        **{name: x[1::2] for name, x in z.by_name.items()},
    )
    objective = DistillScores("kl", names=NAMES)
    assert objective(heavy).loss.item() == pytest.approx(objective(odd).loss.item(), rel=1e-12)


def test_rows_without_scores_are_told():
    with pytest.raises(KeyError, match="needs the numbers 'scores'"):
        DistillScores()(
            Embeddings.of(**dict.fromkeys(("anchor", "positive", "negative"), torch.ones(2, 3)))
        )


@pytest.mark.parametrize("measure", ["margin-mse", "kl"])
def test_contract_of_scores(measure, monkeypatch):
    check_objective(
        lambda world: DistillScores(measure, names=NAMES, cosine=True, world=world),
        scored,
        uses=("anchor", "positive", "n1"),
        monkeypatch=monkeypatch,
    )


def with_vector(rows):
    z = scored(rows)
    vector = torch.randn((16, 5), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return Embeddings.of(given={"vector": vector[:rows]}, anchor=z["anchor"])


@pytest.mark.parametrize("metric", ["mse", "l2", "cosine"])
def test_contract_of_stored_vectors(metric):
    check_objective(
        lambda world: DistillEmbeddings(teacher=None, metric=metric, world=world),
        with_vector,
        uses=("anchor",),
    )
