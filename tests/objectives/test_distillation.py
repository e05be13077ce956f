"""Distillation beside loops."""

from __future__ import annotations

import math

import pytest
import torch
from contracts import check_objective, loss_and_gradients
from torch import nn

from textcl.distributed import ALONE
from textcl.objectives.distillation import DistillEmbeddings
from textcl.objectives.similarity_distillation import DistillSimilarity
from textcl.types import Embeddings


def rows(n, width=5):
    g = torch.Generator().manual_seed(0)
    student = torch.randn((64, 5), generator=g, dtype=torch.float64)
    teacher = torch.randn((64, width), generator=g, dtype=torch.float64)
    return Embeddings.of(anchor=student[:n], teacher=teacher[:n])


def wide(n):
    return rows(n, 8)


def cosines(rows, others):
    return [
        [
            sum(x * y for x, y in zip(a, b, strict=True)) / (math.hypot(*a) * math.hypot(*b))
            for b in others
        ]
        for a in rows
    ]


def test_embeddings_equal_loops():
    z = rows(4)
    pairs = zip(z["anchor"].tolist(), z["teacher"].tolist(), strict=True)
    want = [(x - y) ** 2 for s, t in pairs for x, y in zip(s, t, strict=True)]
    assert DistillEmbeddings()(z).loss.item() == pytest.approx(sum(want) / len(want), rel=1e-12)


def test_projection_bridges_different_widths_and_learns():
    torch.manual_seed(0)
    project = nn.Linear(5, 8).double()
    z = wide(4)
    loss = DistillEmbeddings(project=project)(z).loss
    want = torch.nn.functional.mse_loss(project(z["anchor"]), z["teacher"])
    assert loss.item() == pytest.approx(want.item(), rel=1e-12)
    loss.backward()
    assert project.weight.grad.abs().max() > 0
    with pytest.raises(ValueError, match="student has 5 dimensions, the teacher 8: give project=…"):
        DistillEmbeddings()(z)


@pytest.mark.parametrize("names", [("anchor", "anchor"), ("anchor", "other")])
def test_similarities_equal_loops(names):
    z = wide(4)
    z = z.with_vectors(
        {**z.by_name, "other": rows(8)["anchor"][4:], "taught": wide(8)["teacher"][4:]}
    )
    teacher = ("teacher", "taught" if names[1] == "other" else "teacher")
    s, t = (cosines(*(z[name].tolist() for name in pair)) for pair in (names, teacher))
    squares = [(s[i][j] - t[i][j]) ** 2 for i in range(4) for j in range(4)]
    mse = DistillSimilarity(student=names, teacher=teacher)(z).loss
    assert mse.item() == pytest.approx(sum(squares) / 16, rel=1e-12)

    total = 0.0
    for i in range(4):
        p, q = ([math.exp(x / 0.3) for x in table[i]] for table in (t, s))
        p, q = ([x / sum(row) for x in row] for row in (p, q))
        total += sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))
    kl = DistillSimilarity("kl", student=names, teacher=teacher, temperature=0.3)(z).loss
    assert kl.item() == pytest.approx(0.3**2 * total / 4, rel=1e-10)


@pytest.mark.parametrize("measure", ["mse", "kl"])
def test_a_perfect_student_loses_nothing(measure):
    x = rows(5)["anchor"]
    loss, grads = loss_and_gradients(
        DistillSimilarity(measure), Embeddings.of(anchor=x, teacher=2 * x)
    )
    assert loss.item() == pytest.approx(0, abs=1e-12)
    assert grads["anchor"].abs().max().item() < 1e-12


@pytest.mark.parametrize(
    "make",
    [
        lambda w: DistillEmbeddings(world=w),
        lambda w: DistillSimilarity(world=w),
        lambda w: DistillSimilarity("kl", temperature=0.2, world=w),
    ],
    ids=["embeddings", "mse", "kl"],
)
def test_contract(make, monkeypatch):
    check_objective(make, rows, uses=("anchor",), monkeypatch=monkeypatch)
    _, grads = loss_and_gradients(make(ALONE), rows(4))
    assert grads["teacher"].abs().max().item() == 0


def test_temperature_must_be_positive():
    with pytest.raises(ValueError, match="temperature must be > 0 and finite, not 0"):
        DistillSimilarity("kl", temperature=0)
