"""Invariants of every objective: `check_objective` is called by each objective's test."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
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


@dataclass(frozen=True)
class Case:
    """An objective with a batch, and its loss and gradients there.

    Args:
        make: Builds the objective for a world, the same one every time.
        make_rows: Embeddings of n rows in float64, the first k of them the same for every n >= k.
        uses: Names that must receive a gradient.
        rows: Size of the batch.
    """

    make: Make
    make_rows: MakeRows
    uses: tuple[str, ...]
    rows: int

    @cached_property
    def objective(self) -> nn.Module:
        torch.manual_seed(0)
        return self.make(ALONE)

    @cached_property
    def z(self) -> Embeddings:
        return self.make_rows(self.rows)

    @cached_property
    def loss_and_grads(self):
        return loss_and_gradients(self.objective, self.z)


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
    """Assert the invariants of an objective, and name all that are broken.

    Args:
        make: As of `Case`.
        make_rows: As of `Case`.
        uses: As of `Case`.
        rows: As of `Case`.
        permutable: The order of the rows does not matter.
        ranks: Two ranks equal one process.
        monkeypatch: Given for objectives over a table: also checks that tiled equals dense.
    """
    case = Case(make, make_rows, uses, rows)
    checks = [
        gradients_reach_what_it_uses,
        nothing_but_the_loss_changes,
        what_is_logged_has_no_graph,
        the_state_survives_a_round_trip,
        tiny_batches_are_finite,
        *([the_order_of_the_rows_does_not_matter] if permutable else []),
        float32_agrees_also_under_autocast,
        *([partial(blocks_give_what_the_whole_table_gives, monkeypatch)] if monkeypatch else []),
        cached_gradients_are_those_of_the_whole_batch,
        *([two_ranks_give_the_gradient_of_one_process] if ranks else []),
    ]
    broken: list[AssertionError] = []
    for check in checks:
        try:
            check(case)
        except AssertionError as error:
            name = getattr(check, "func", check).__name__.replace("_", " ")
            error.add_note(f"broken: {name}")
            broken.append(error)
    if broken:
        raise broken[0] if len(broken) == 1 else ExceptionGroup("several invariants", broken)


def gradients_reach_what_it_uses(case: Case):
    """A scalar, finite, with a gradient in everything it claims to use."""
    loss, grads = case.loss_and_grads
    assert loss.shape == ()
    assert torch.isfinite(loss)
    for name in case.uses:
        assert grads[name].abs().max() > 0, f"no gradient reaches {name}"
        assert torch.isfinite(grads[name]).all()


def nothing_but_the_loss_changes(case: Case):
    """The same numbers again, and the same state."""
    (loss, grads), state = case.loss_and_grads, copy.deepcopy(case.objective.state_dict())
    again, grads_again = loss_and_gradients(case.objective, case.z)
    assert torch.equal(loss, again)
    assert all(torch.equal(grads[name], grads_again[name]) for name in grads)
    for key, value in case.objective.state_dict().items():
        assert torch.equal(value, state[key])


def what_is_logged_has_no_graph(case: Case):
    terms = case.objective(with_leaves(case.z)[0]).terms
    assert all(not torch.as_tensor(term).requires_grad for term in terms.values())


def the_state_survives_a_round_trip(case: Case):
    loss, _ = case.loss_and_grads
    other = case.make(ALONE)
    other.load_state_dict(copy.deepcopy(case.objective.state_dict()), strict=True)
    assert torch.equal(other(case.z).loss, loss)


def tiny_batches_are_finite(case: Case):
    """Gradients, too."""
    for few in (1, 2):
        loss, grads = loss_and_gradients(case.make(ALONE), case.make_rows(few))
        assert torch.isfinite(loss), f"loss of {few} rows is {loss}"
        assert all(torch.isfinite(g).all() for g in grads.values())


def the_order_of_the_rows_does_not_matter(case: Case):
    loss, grads = case.loss_and_grads
    order = torch.randperm(case.rows, generator=torch.Generator().manual_seed(1))
    moved, moved_grads = loss_and_gradients(case.objective, rows_of(case.z, order))
    torch.testing.assert_close(moved, loss, rtol=1e-10, atol=1e-10)
    assert_close({n: g[order] for n, g in grads.items()}, moved_grads)


def float32_agrees_also_under_autocast(case: Case):
    (loss, _), single = case.loss_and_grads, in_float32(case.z)
    plain = copy.deepcopy(case.objective).float()(single).loss
    with torch.autocast("cpu", torch.bfloat16):
        cast = copy.deepcopy(case.objective).float()(single).loss
    assert cast.dtype == torch.float32
    torch.testing.assert_close(plain.double(), loss.double(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(cast, plain, rtol=1e-5, atol=1e-5)


def in_float32(z: Embeddings) -> Embeddings:
    single = z.with_vectors({name: x.float() for name, x in z.by_name.items()})
    if z.scores is None and (z.labels is None or not z.labels.is_floating_point()):
        return single
    return Embeddings(
        single.by_name,
        z.rows,
        z.groups,
        z.labels.float() if z.labels is not None and z.labels.is_floating_point() else z.labels,
        None if z.scores is None else z.scores.float(),
        z.given,
    )


def blocks_give_what_the_whole_table_gives(monkeypatch, case: Case):
    loss, grads = case.loss_and_grads
    with monkeypatch.context() as patch:
        patch.setattr(textcl.contrast.table, "TILE_ELEMENTS", 3 * case.rows)
        tiled, tiled_grads = loss_and_gradients(case.objective, case.z)
    torch.testing.assert_close(tiled, loss, rtol=1e-10, atol=1e-10)
    assert_close(tiled_grads, grads)


def cached_gradients_are_those_of_the_whole_batch(case: Case):
    """For weights on both sides of the cut; a BatchNorm in a predictor is no exception, as it sees all rows at once."""
    embedder, batch = batch_of(case.z)
    whole, want = trained_gradients(embedder, copy.deepcopy(case.objective), batch, FullBatch())
    chunk = GradCache(case.rows // 2 + 1)
    cached, got = trained_gradients(embedder, copy.deepcopy(case.objective), batch, chunk)
    torch.testing.assert_close(cached, whole, rtol=1e-10, atol=1e-10)
    assert_close(got, want)
    assert all(want[f"encoders.{name}.mix"].abs().max() > 0 for name in case.uses)


def two_ranks_give_the_gradient_of_one_process(case: Case):
    """With unequal shares."""
    loss, grads = case.loss_and_grads
    z_all, leaves = with_leaves(case.z)
    cut = case.rows // 2 + 1
    shares = [slice(0, cut), slice(cut, case.rows)]

    def work(world):
        mine = case.make(world)
        return mine, mine(rows_of(z_all, shares[world.rank])).loss

    objectives, losses = zip(*on_ranks(work, 2), strict=True)
    together = (losses[0] + losses[1]) / 2
    torch.testing.assert_close(together.detach(), loss, rtol=1e-10, atol=1e-10)
    together.backward()
    for name, leaf in leaves.items():
        gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
        torch.testing.assert_close(gradient, grads[name], rtol=1e-10, atol=1e-10)
    alone = copy.deepcopy(case.objective)
    if any(p.requires_grad for p in alone.parameters()):
        alone(case.z).loss.backward()
    for name, parameter in alone.named_parameters():
        # ranks that were built around one head share its gradient
        parts = {id(p): p.grad for mine in objectives for p in [mine.get_parameter(name)]}
        total = sum(g for g in parts.values() if g is not None)
        torch.testing.assert_close(total, parameter.grad, rtol=1e-10, atol=1e-10)
