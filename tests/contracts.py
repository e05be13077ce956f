"""What must hold for every objective: `check_objective` is called by each objective's test."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import textcl.contrast.table
from textcl.distributed import ALONE, World
from textcl.method.backprop import Backprop, FullBatch, GradCache
from textcl.method.routes import Embedder, Route
from textcl.types import Batch, Embeddings, Tokens

Make = Callable[[World], nn.Module]
MakeRows = Callable[[int], Embeddings]


class ThreadWorld(World):
    """Ranks as threads of one process: gathering keeps one graph, so gradients can be compared exactly."""

    def __init__(self, rank, size, board, barrier):
        super().__init__(rank, size)
        object.__setattr__(self, "board", board)
        object.__setattr__(self, "barrier", barrier)

    def _exchange(self, value):
        self.board[self.rank] = value
        self.barrier.wait(30)
        parts = list(self.board)
        self.barrier.wait(30)
        return parts

    def gather(self, x):
        return torch.cat(self._exchange(x))

    def offset(self, rows):
        return sum(self._exchange(rows)[: self.rank])

    def sum(self, value):
        return sum(part.detach() for part in self._exchange(value))


def on_ranks(work: Callable[[World], Any], size: int) -> list[Any]:
    """Run `work` once for every rank, together."""
    board, barrier = [None] * size, threading.Barrier(size)
    results, errors = [None] * size, []

    def run(rank):
        try:
            results[rank] = work(ThreadWorld(rank, size, board, barrier))
        except Exception as error:
            errors.append(error)
            barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def with_leaves(z: Embeddings) -> tuple[Embeddings, dict[str, torch.Tensor]]:
    """The same rows as fresh leaves that collect gradients."""
    leaves = {name: x.detach().clone().requires_grad_() for name, x in z.by_name.items()}
    return z.with_vectors(leaves), leaves


def rows_of(z: Embeddings, index) -> Embeddings:
    """Some rows of `z`, with their graph."""
    return Embeddings(
        {name: x[index] for name, x in z.by_name.items()},
        z.rows[index],
        {name: g[index] for name, g in z.groups.items()},
        None if z.labels is None else z.labels[index],
        None if z.scores is None else z.scores[index],
        {role: numbers[index] for role, numbers in z.given.items()},
    )


def loss_and_gradients(objective, z):
    """Loss, and its gradient for every name (zeros where it has none)."""
    z, leaves = with_leaves(z)
    loss = objective(z).loss
    if not loss.requires_grad:
        return loss.detach(), {name: torch.zeros_like(x) for name, x in leaves.items()}
    grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    named = zip(leaves.items(), grads, strict=True)
    return loss.detach(), {n: torch.zeros_like(x) if g is None else g for (n, x), g in named}


class LookUp(nn.Module):
    """Row by row from a token to its vector, through a weight that all rows share."""

    def __init__(self, vectors):
        super().__init__()
        g = torch.Generator().manual_seed(vectors.shape[1])
        width = vectors.shape[1]
        noise = torch.randn((width, width), generator=g, dtype=vectors.dtype)
        self.vectors = nn.Parameter(vectors.detach().clone())
        self.mix = nn.Parameter(torch.eye(width, dtype=vectors.dtype) + 0.1 * noise)

    def forward(self, tokens):
        return self.vectors[tokens.ids] @ self.mix


def batch_of(z: Embeddings) -> tuple[Embedder, Batch]:
    """An embedder with an encoder for every name of `z`, and the batch it embeds."""
    encoders = {name: LookUp(x) for name, x in z.by_name.items()}
    tokens = Tokens(torch.arange(len(z)), torch.ones(len(z), dtype=torch.long))
    batch = Batch(
        dict.fromkeys(z.by_name, tokens),
        z.rows,
        {name: z.group(name) for name in z.by_name},
        z.labels,
        z.scores,
        z.given,
    )
    return Embedder(encoders, {name: Route(name, name) for name in z.by_name}), batch


def trained_gradients(
    embedder: nn.Module, objective: nn.Module, batch: Batch, backprop: Backprop
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Loss, and its gradient for every parameter of both (zeros where it has none), which are left without."""
    output, _ = backprop(embedder, objective, batch, lambda loss: loss.backward())
    named = [*embedder.named_parameters(), *objective.named_parameters()]
    grads = {n: torch.zeros_like(p) if p.grad is None else p.grad.clone() for n, p in named}
    for _, parameter in named:
        parameter.grad = None
    return output.loss.detach(), grads


def assert_close(left, right, tolerance=1e-10):
    for name in left:
        torch.testing.assert_close(left[name], right[name], rtol=tolerance, atol=tolerance)


def check_objective(
    make: Make,
    make_rows: MakeRows,
    *,
    uses: tuple[str, ...],
    rows: int = 6,
    permutable: bool = True,
    ranks: bool = True,
    monkeypatch=None,
):
    """Assert the invariants of an objective.

    Args:
        make: Builds the objective for a world, the same one every time.
        make_rows: Embeddings of n rows in float64, the first k of them the same for every n >= k.
        uses: Names that must receive a gradient.
        rows: Size of the batch.
        permutable: The order of the rows does not matter.
        ranks: Two ranks equal one process.
        monkeypatch: Given for objectives over a table: also checks that tiled equals dense.
    """
    torch.manual_seed(0)
    objective, z = make(ALONE), make_rows(rows)
    loss, grads = loss_and_gradients(objective, z)

    # a scalar, finite, with a gradient in everything it claims to use
    assert loss.shape == ()
    assert torch.isfinite(loss)
    for name in uses:
        assert grads[name].abs().max() > 0, f"no gradient reaches {name}"
        assert torch.isfinite(grads[name]).all()

    # no side effects: the same numbers again, and the same state
    state = copy.deepcopy(objective.state_dict())
    again, grads_again = loss_and_gradients(objective, z)
    assert torch.equal(loss, again)
    assert all(torch.equal(grads[name], grads_again[name]) for name in grads)
    for key, value in objective.state_dict().items():
        assert torch.equal(value, state[key])

    # what is logged has no graph
    terms = objective(with_leaves(z)[0]).terms
    assert all(not torch.as_tensor(term).requires_grad for term in terms.values())

    # the state survives a round trip
    other = make(ALONE)
    other.load_state_dict(state, strict=True)
    assert torch.equal(other(z).loss, loss)

    # tiny batches are finite, gradients too
    for few in (1, 2):
        small, small_grads = loss_and_gradients(make(ALONE), make_rows(few))
        assert torch.isfinite(small), f"loss of {few} rows is {small}"
        assert all(torch.isfinite(g).all() for g in small_grads.values())

    # the order of the rows does not matter
    if permutable:
        order = torch.randperm(rows, generator=torch.Generator().manual_seed(1))
        moved, moved_grads = loss_and_gradients(objective, rows_of(z, order))
        torch.testing.assert_close(moved, loss, rtol=1e-10, atol=1e-10)
        assert_close({n: g[order] for n, g in grads.items()}, moved_grads)

    # float32 agrees, also under autocast
    single = z.with_vectors({name: x.float() for name, x in z.by_name.items()})
    if z.scores is not None or (z.labels is not None and z.labels.is_floating_point()):
        single = Embeddings(
            single.by_name,
            z.rows,
            z.groups,
            z.labels.float() if z.labels is not None and z.labels.is_floating_point() else z.labels,
            None if z.scores is None else z.scores.float(),
            z.given,
        )
    plain = copy.deepcopy(objective).float()(single).loss
    with torch.autocast("cpu", torch.bfloat16):
        cast = copy.deepcopy(objective).float()(single).loss
    assert cast.dtype == torch.float32
    torch.testing.assert_close(plain.double(), loss.double(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(cast, plain, rtol=1e-5, atol=1e-5)

    # blocks of anchors give what the whole table gives
    if monkeypatch is not None:
        with monkeypatch.context() as patch:
            patch.setattr(textcl.contrast.table, "TILE_ELEMENTS", 3 * rows)
            tiled, tiled_grads = loss_and_gradients(objective, z)
        torch.testing.assert_close(tiled, loss, rtol=1e-10, atol=1e-10)
        assert_close(tiled_grads, grads)

    # gradients cached at the embeddings are those of the whole batch, for weights on both sides of the cut; a BatchNorm
    # in a predictor is no exception, because the objective sees all rows at once
    embedder, batch = batch_of(z)
    whole, want = trained_gradients(embedder, copy.deepcopy(objective), batch, FullBatch())
    chunk = GradCache(rows // 2 + 1)
    cached, got = trained_gradients(embedder, copy.deepcopy(objective), batch, chunk)
    torch.testing.assert_close(cached, whole, rtol=1e-10, atol=1e-10)
    assert_close(got, want)
    assert all(want[f"encoders.{name}.mix"].abs().max() > 0 for name in uses)

    # two ranks, with unequal shares, give the gradient of one process
    if ranks:
        z_all, leaves = with_leaves(z)
        shares = [slice(0, rows // 2 + 1), slice(rows // 2 + 1, rows)]

        def work(world):
            mine = make(world)
            return mine, mine(rows_of(z_all, shares[world.rank])).loss

        objectives, losses = zip(*on_ranks(work, 2), strict=True)
        together = (losses[0] + losses[1]) / 2
        torch.testing.assert_close(together.detach(), loss, rtol=1e-10, atol=1e-10)
        together.backward()
        for name, leaf in leaves.items():
            gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
            torch.testing.assert_close(gradient, grads[name], rtol=1e-10, atol=1e-10)
        alone = copy.deepcopy(objective)
        if any(p.requires_grad for p in alone.parameters()):
            alone(z).loss.backward()
        for name, parameter in alone.named_parameters():
            # ranks that were built around one head share its gradient
            parts = {id(p): p.grad for mine in objectives for p in [mine.get_parameter(name)]}
            total = sum(g for g in parts.values() if g is not None)
            torch.testing.assert_close(total, parameter.grad, rtol=1e-10, atol=1e-10)
