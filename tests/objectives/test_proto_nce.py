"""ProtoNCE beside loops; the concentration estimate; the clustering."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
import pytest
import torch
from contracts import check_objective

from textcl.contrast.clustering import KMeansClusters
from textcl.contrast.density import density
from textcl.contrast.draws import Subset
from textcl.contrast.pairings import AnchorPositive
from textcl.contrast.prototypes import Clusters, Prototypes
from textcl.errors import UserError
from textcl.method.hooks import Recluster
from textcl.objectives.combine import WeightedSum
from textcl.objectives.contrastive import Contrastive
from textcl.objectives.matryoshka import Matryoshka
from textcl.objectives.proto_nce import ProtoNce
from textcl.types import Embeddings

DIM = 5
ASSIGNMENTS = [[0, 1, 2, 1, 3, 4, 5, 6, 0, 2, 5, 0], [0, 1, 2, 3, 0, 1, 2, 3, 4, 4, 0, 1]]


def rows(n):
    g = torch.Generator().manual_seed(0)
    table = torch.randn((12, DIM), generator=g, dtype=torch.float64)
    order = [3, 0, 1, 8, 4, 2, 9, 7]
    return Embeddings({"anchor": table[:n]}, torch.tensor(order)[:n])


def filled():
    g = torch.Generator().manual_seed(1)
    levels = []
    for assignment in ASSIGNMENTS:
        count = max(assignment) + 1
        centroids = torch.randn((count, DIM), generator=g, dtype=torch.float64) * 3
        phi = 0.1 + 0.2 * torch.rand(count, generator=g, dtype=torch.float64)
        levels.append(Clusters(centroids, phi, torch.tensor(assignment)))
    prototypes = Prototypes(len(levels), DIM).double()
    prototypes.fill(levels)
    return prototypes


def first_two(free):
    return torch.argsort(~free, stable=True)[:2]  # a cluster that is not free where there are fewer


def unit(v):
    return [x / math.hypot(*v) for x in v]


def slow_proto_nce(z, prototypes, unique):
    losses = []
    for level in prototypes.levels:
        assignment, phi = level.assignment.tolist(), level.density.tolist()
        centres = [unit(c) for c in level.centroids.tolist()]
        mine = [assignment[n] for n in z.rows.tolist()]
        negatives = [c for c in range(len(centres)) if c not in mine and c in assignment][:2]
        columns = (sorted(set(mine)) if unique else mine) + negatives
        total = 0.0
        for i, anchor in enumerate(z["anchor"].tolist()):
            logits = [
                sum(x * y for x, y in zip(unit(anchor), centres[c], strict=True)) / phi[c]
                for c in columns
            ]
            target = columns.index(mine[i]) if unique else i
            total += math.log(sum(math.exp(x) for x in logits)) - logits[target]
        losses.append(total / len(mine))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("columns", ["official", "unique"])
@pytest.mark.parametrize("count", [1, 4, 8])
def test_proto_nce_equals_loops(columns, count):
    z, prototypes = rows(count), filled()
    loss = ProtoNce(prototypes, first_two, columns=columns)(z).loss
    assert loss.item() == pytest.approx(
        slow_proto_nce(z, prototypes, columns == "unique"), rel=1e-10
    )


def test_negatives_belong_to_no_row_of_the_batch():
    offered = []

    def draw(free):
        ids = free.nonzero()[:, 0]
        offered.append(ids.tolist())
        return ids[:0]

    ProtoNce(filled(), draw)(rows(4))  # rows 3, 0, 1, 8 are in clusters 1, 0, 1, 0 and 3, 0, 1, 4
    assert offered == [[2, 3, 4, 5, 6], [2]]


def test_empty_clusters_are_not_drawn():
    prototypes = Prototypes(1, DIM).double()
    level = Clusters(
        torch.ones((9, DIM), dtype=torch.float64),
        torch.ones(9, dtype=torch.float64),
        torch.tensor([0, 1, 2, 1, 3, 4, 7, 6, 0, 2, 7, 0]),
    )
    prototypes.fill([level])
    offered = []
    ProtoNce(
        prototypes, lambda free: offered.append(free.nonzero()[:, 0].tolist()) or first_two(free)
    )(rows(2))
    assert offered == [[2, 3, 4, 6, 7]]


def test_one_cluster_costs_nothing_or_ln_b():
    prototypes = Prototypes(1, DIM).double()
    one = torch.ones((1, DIM), dtype=torch.float64)
    prototypes.fill([Clusters(one, one[0, :1], torch.zeros(12, dtype=torch.long))])
    official, unique = (
        ProtoNce(prototypes, Subset(3), columns=c)(rows(4)).loss.item()
        for c in ("official", "unique")
    )
    assert official == pytest.approx(math.log(4))
    assert unique == 0


def test_warm_up_loses_nothing():
    anchor = rows(3)["anchor"].clone().requires_grad_()
    output = ProtoNce(Prototypes(1, DIM), Subset(2))(Embeddings.of(anchor=anchor))
    output.loss.backward()
    assert output.loss.item() == 0
    assert anchor.grad.abs().max().item() == 0


def test_seeded_draws_repeat_from_the_state():
    objective = ProtoNce(filled(), Subset(2, seed=1))
    state = objective.state_dict()
    losses = [objective(rows(2)).loss.item() for _ in range(4)]
    assert len(set(losses)) > 1
    other = ProtoNce(filled(), Subset(2, seed=1))
    other.load_state_dict(state)
    assert other(rows(2)).loss.item() == losses[0]


def test_matryoshka_cuts_the_prototypes():
    z, prototypes = rows(4), filled()
    cut = Prototypes(prototypes.count, 3).double()
    cut.fill([Clusters(c.centroids[:, :3], c.density, c.assignment) for c in prototypes.levels])
    narrow = z.with_vectors({"anchor": z["anchor"][:, :3]})
    want = ProtoNce(cut, first_two)(narrow).loss.item()
    assert Matryoshka(ProtoNce(prototypes, first_two), [3])(z).loss.item() == pytest.approx(want)


@pytest.mark.parametrize("columns", ["official", "unique"])
def test_contract(columns, monkeypatch):
    prototypes = filled()
    check_objective(
        lambda w: ProtoNce(prototypes, first_two, columns=columns, world=w),
        rows,
        uses=("anchor",),
        monkeypatch=monkeypatch,
    )


def slow_density(features, assignment, centroids, temperature, smoothing):
    phi, lonely = [], []
    for c in range(len(centroids)):
        distances = [
            math.dist(f, centroids[c]) for f, a in zip(features, assignment, strict=True) if a == c
        ]
        spread = sum(distances)
        if len(distances) > 1 and spread > 1e-6:
            phi.append(spread / (len(distances) * math.log(len(distances) + smoothing)))
        else:
            phi.append(0.0)
            lonely.append(c)
    phi = [max(phi) if c in lonely else x for c, x in enumerate(phi)]
    low, high = np.percentile(phi, [10, 90])
    phi = [min(max(x, low), high) for x in phi]
    return [temperature * x / (sum(phi) / len(phi)) for x in phi]


def test_density_equals_loops():
    g = torch.Generator().manual_seed(0)
    features = torch.nn.functional.normalize(torch.randn((40, 4), generator=g, dtype=torch.float64))
    assignment = torch.randint(6, (40,), generator=g)
    assignment[assignment == 5] = 4
    assignment[0], assignment[1:3], features[1:3] = 5, 6, features[1]  # one row; two equal rows
    centroids = torch.stack([features[assignment == c].mean(0) for c in range(7)])
    phi = density(features, assignment, centroids, 0.2, 10.0)
    want = slow_density(features.tolist(), assignment.tolist(), centroids.tolist(), 0.2, 10.0)
    assert phi.tolist() == pytest.approx(want)
    assert phi.mean().item() == pytest.approx(0.2)


def test_density_without_any_spread_is_the_temperature():
    features = torch.eye(3)
    assert density(features, torch.arange(3), features, 0.2).tolist() == pytest.approx([0.2] * 3)


def blobs():
    g = torch.Generator().manual_seed(0)
    centres = torch.eye(4)
    return (centres[:, None] + 0.05 * torch.randn((4, 12, 4), generator=g)).reshape(48, 4)


def check_clusters_of_blobs(levels, tolerance=1e-4):
    assert [len(level.centroids) for level in levels] == [4, 2]
    of_blobs = levels[0].assignment.reshape(4, 12)
    assert all(len(set(ids.tolist())) == 1 for ids in of_blobs)
    assert len(set(of_blobs[:, 0].tolist())) == 4
    assert levels[0].density.mean().item() == pytest.approx(0.1)
    unit_rows = torch.nn.functional.normalize(blobs())
    mean = unit_rows[levels[0].assignment == 0].mean(0)
    torch.testing.assert_close(levels[0].centroids[0], mean, rtol=0, atol=tolerance)


LIBRARIES = [
    "scikit-learn",
    pytest.param(
        "faiss",
        marks=pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="needs faiss"),
    ),
]


@pytest.mark.parametrize("library", LIBRARIES)
def test_k_means_finds_the_blobs_and_repeats_with_its_seed(library):
    clustering = KMeansClusters([4, 2], temperature=0.1, library=library)
    levels = clustering(3 * blobs())
    check_clusters_of_blobs(levels)
    again = clustering(blobs())
    assert all(torch.equal(a.assignment, b.assignment) for a, b in zip(levels, again, strict=True))
    sampled = KMeansClusters([4, 2], temperature=0.1, points_per_centroid=8, library=library)
    check_clusters_of_blobs(sampled(blobs()), tolerance=0.1)  # centres of 32 of the 48 rows


@pytest.mark.parametrize("library", LIBRARIES)
def test_k_means_draws_anew_with_another_seed(library):
    g = torch.Generator().manual_seed(0)
    rows = torch.randn(
        (200, 8), generator=g
    )  # no clusters: what is found depends on where it starts
    found = [
        KMeansClusters([20], seed=seed, restarts=1, library=library)(rows)[0].assignment
        for seed in (0, 0, 1)
    ]
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_both_libraries_agree_on_clusters_far_apart():
    pytest.importorskip("faiss")
    g = torch.Generator().manual_seed(1)
    centres = torch.nn.functional.normalize(torch.randn((12, 16), generator=g))
    rows = (centres[:, None] + 0.02 * torch.randn((12, 30, 16), generator=g)).reshape(360, 16)
    (ours,), (theirs,) = (
        KMeansClusters([12], restarts=40, library=library)(rows)
        for library in ("scikit-learn", "faiss")
    )
    pairs = set(zip(ours.assignment.tolist(), theirs.assignment.tolist(), strict=True))
    assert len(pairs) == 12  # the same clusters under other names
    there = dict(pairs)
    order = torch.tensor([there[c] for c in range(12)])
    torch.testing.assert_close(ours.centroids, theirs.centroids[order], rtol=0, atol=1e-5)
    torch.testing.assert_close(ours.density, theirs.density[order], rtol=1e-4, atol=0)


def test_without_faiss_scikit_learn_clusters_and_faiss_is_asked_for(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    check_clusters_of_blobs(KMeansClusters([4, 2], temperature=0.1)(blobs()))
    with pytest.raises(UserError, match=r"not installed: pip install 'textcl-train\[faiss\]'"):
        KMeansClusters([4], library="faiss")


def test_fewer_distinct_rows_than_clusters_still_cluster():
    rows = torch.eye(3).repeat(4, 1)
    (level,) = KMeansClusters([5])(rows)
    assert len({tuple(ids) for ids in level.assignment.reshape(4, 3).tolist()}) == 1
    assert torch.isfinite(level.density).all()
    assert (level.density > 0).all()


def test_more_clusters_than_rows_are_refused():
    with pytest.raises(
        UserError, match="5 clusters need at least as many training rows, there are 3"
    ):
        KMeansClusters([2, 5])(torch.eye(3))


def test_method_of_the_paper_runs_from_warm_up_to_prototypes():
    prototypes, features = Prototypes(2, 4), blobs()
    objective = WeightedSum(
        [(1.0, Contrastive(AnchorPositive(), 0.2)), (1.0, ProtoNce(prototypes, Subset(2)))]
    )
    hook = Recluster(prototypes, KMeansClusters([4, 2]), warmup_epochs=1)
    z = Embeddings({"anchor": features[::8], "positive": features[1::8]}, torch.arange(0, 48, 8))
    shares = []
    for epoch in range(2):
        hook.before_epoch(epoch, lambda: features)
        shares.append(objective(z).terms["loss/ProtoNce"].item())
    assert shares[0] == 0 < shares[1]
