"""Two real processes over gloo: gathering, its gradient, and the mean are those of one process."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from textcl.contrast import AllViews, AnchorPositive, MaskDuplicates
from textcl.distributed import ALONE, AllRanks
from textcl.objectives.contrastive import Contrastive
from textcl.types import Embeddings

SHARES = [slice(0, 4), slice(4, 7)]  # unequal on purpose


def embeddings():
    g = torch.Generator().manual_seed(0)
    x = torch.randn((7, 2, 5), generator=g, dtype=torch.float64)
    return x, torch.tensor([0, 1, 0, 2, 1, 3, 0]), torch.tensor([0, 1, 2, 3, 4, 0, 1])


OBJECTIVES = {
    "info_nce": lambda world: Contrastive(AnchorPositive(), 0.2, world=world),
    "masked": lambda world: Contrastive(AnchorPositive(), 0.2, [MaskDuplicates()], world=world),
    "sup_con": lambda world: Contrastive(AllViews(same="labels"), 0.2, world=world),
}


def loss_of(name, world, share):
    x, labels, groups = embeddings()
    x = x[share].requires_grad_()
    mine = {"anchor": groups[share], "positive": groups[share]}
    z = Embeddings.of(labels=labels[share], groups=mine, anchor=x[:, 0], positive=x[:, 1])
    loss = OBJECTIVES[name](world)(z).loss
    loss.backward()
    return loss.detach(), x.grad


def one_rank(rank, port, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    results = {name: loss_of(name, AllRanks(), SHARES[rank]) for name in OBJECTIVES}
    ids = AllRanks().gather(torch.arange(SHARES[rank].stop - SHARES[rank].start) + 10 * rank)
    torch.save({"results": results, "ids": ids}, Path(folder) / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.distributed
def test_two_processes_equal_one(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(one_rank, (port, str(tmp_path)), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert ranks[0]["ids"].tolist() == ranks[1]["ids"].tolist() == [0, 1, 2, 3, 10, 11, 12]
    for name in OBJECTIVES:
        loss, gradient = loss_of(name, ALONE, slice(0, 7))
        losses, gradients = zip(*(rank["results"][name] for rank in ranks), strict=True)
        torch.testing.assert_close(sum(losses) / 2, loss, rtol=1e-12, atol=1e-12)
        # parameters see the average over processes, rows of a process its own half of it
        torch.testing.assert_close(torch.cat(gradients) / 2, gradient, rtol=1e-12, atol=1e-12)
