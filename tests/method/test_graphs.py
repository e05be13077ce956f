"""What makes a step a graph, on small modules of a CPU."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from graph_twin import Twin
from torch import nn

from textcl.contrast.draws import Stream
from textcl.method.calls import Calls, first_difference
from textcl.method.graphs import Graphs
from textcl.types import Batch, Embeddings, LossOutput, Tokens


class Rows(nn.Module):
    """A vector for each row, and a loss of them; `change` is what a step does besides."""

    def __init__(self, change=lambda self: 1.0):
        super().__init__()
        self.used, self.unused = nn.Linear(2, 2), nn.Linear(2, 2)
        self.change, self.number, self.stream = change, 1.0, Stream(0)

    def __call__(self, embedder, objective, batch, backward):
        x = torch.stack([batch.rows.float(), batch.rows.float() ** 2], 1)
        vectors = self.used(x) * self.change(self)
        loss = vectors.square().mean()
        backward(loss)
        return LossOutput(loss), Embeddings({"anchor": vectors.detach()}, batch.rows)


def batch_of(*rows):
    ids = torch.tensor(rows)
    tokens = Tokens(ids, torch.ones(len(rows), dtype=torch.long))
    return Batch({"text": tokens}, ids, {}, inputs={"online": replace(tokens, ids=ids + 1)})


def steps(graphs, model, batches, lowered=0.1):
    losses = []
    for batch in batches:
        output, _ = graphs(model, model, batch, lambda loss: loss.backward())
        losses.append(output.loss)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.grad is not None:
                    parameter -= lowered * parameter.grad
        model.zero_grad()
    return losses


def run(change, batches, **options):
    torch.manual_seed(0)
    model, twin, told = Rows(change), Twin(), []
    losses = steps(Graphs(model, twin, told.append, **options), model, batches)
    torch.manual_seed(0)
    plain = Rows(change)
    assert torch.equal(torch.stack(losses), torch.stack(steps(plain, plain, batches)))
    for name, parameter in plain.named_parameters():
        assert torch.equal(model.get_parameter(name), parameter), name
    assert model.unused.weight.grad is None
    return twin, told


SIX = [batch_of(i % 3, 1, 2) for i in range(7)]


def test_a_step_is_repeated_on_other_rows():
    twin, told = run(lambda self: 1.0, SIX)
    assert (twin.recorded, twin.replayed, told) == (1, 2, [])


def test_a_size_is_recorded_by_itself_and_at_most_so_many_are():
    batches = [batch_of(*range(1 + i % 3)) for i in range(21)]
    twin, _ = run(lambda self: 1.0, batches, most=2)
    assert (twin.recorded, twin.replayed) == (2, 4)


def grown(self):
    self.number += 0.01
    return self.number


def drawn(self):
    self.stream.next()
    return 1.0


def read(self):
    return float(self.used.weight.detach().sum().to("meta").device.type == "meta")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (grown, "mul is called with other arguments each time; it is tried again later"),
        (drawn, "each of them moves a count on the host"),
        (read, "_to_copy needs the host"),
    ],
)
def test_a_step_that_the_host_takes_part_in_is_none(change, why):
    twin, told = run(change, SIX)
    assert not twin.recorded
    assert len(told) == 1
    assert why in told[0]


def test_what_hooks_change_between_epochs_is_seen():
    torch.manual_seed(0)
    model, twin = Rows(lambda self: self.number), Twin()
    graphs = Graphs(model, twin, lambda line: None)
    steps(graphs, model, SIX, lowered=0.0)
    assert twin.replayed == 2
    model.number = 3.0
    graphs.before_epoch(1, lambda: torch.zeros(0))
    losses = steps(graphs, model, [SIX[0]], lowered=0.0)
    assert losses[0] == steps(model, model, [SIX[0]], lowered=0.0)[0]
    assert twin.replayed == 2


def test_memory_that_was_replaced_is_another_call():
    table, noted = torch.ones(3), []
    for x in (table, table, table.clone()):
        with Calls(x.device) as calls:
            torch.mul(x + 1, 2)
        noted.append(calls.made)
    assert not first_difference(noted[0], noted[1])
    assert first_difference(noted[1], noted[2]) == "add is called with other arguments each time"


def test_gradients_of_several_batches_add_up():
    torch.manual_seed(0)
    model = Rows()
    graphs = Graphs(model, Twin(), lambda line: None)
    for _ in range(3):
        for batch in SIX:
            graphs(model, model, batch, lambda loss: loss.backward())
        repeated, model.used.weight.grad = model.used.weight.grad, None
        for batch in SIX:
            model(model, model, batch, lambda loss: loss.backward())
        torch.testing.assert_close(repeated, model.used.weight.grad)
        model.zero_grad()


def test_sizes_that_never_come_again_end_it():
    model, told = Rows(), []
    graphs = Graphs(model, Twin(), told.append)
    steps(graphs, model, [batch_of(*range(1 + i)) for i in range(260)], lowered=0.0)
    assert "hardly any batch has the size of another" in told[0]


def test_a_recording_that_fails_is_none():
    @dataclass
    class Broken(Twin):
        def record(self, run):
            raise RuntimeError("operation not permitted when stream is capturing\nmore")

    torch.manual_seed(0)
    model, told = Rows(), []
    losses = steps(Graphs(model, Broken(), told.append), model, SIX)
    assert torch.isfinite(torch.stack(losses)).all()
    assert told == [
        "graphs=true: steps are not repeated as graphs (operation not permitted when stream is capturing)"
    ]
