"""A batch whose tensors are views of one buffer, as on its way to a card, trains as any other: here on the CPU."""

from __future__ import annotations

import golden
import pytest

from textcl.training import recipes
from textcl.training.parts import Parts
from textcl.transfer import in_one_buffer, tensors_of

BY_DEFAULT = {"unsup-simcse", "gist"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return golden.make_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize(
    "name",
    [n if n in BY_DEFAULT else pytest.param(n, marks=pytest.mark.slow) for n in recipes.names()],
)
def test_losses_are_the_golden_ones(name, model, tmp_path, monkeypatch):
    """Views of one buffer share what autograd knows of changes in place, so a change of one would show."""

    def ready(self: Parts, batch):
        made = in_one_buffer(self.method.plan(batch), pin=False)
        assert len({x.untyped_storage().data_ptr() for x in tensors_of(made) if x.numel()}) == 1
        return made

    monkeypatch.setattr(Parts, "ready", ready)
    losses = golden.measure(name, model, tmp_path / "run")
    assert losses == pytest.approx(golden.read()[name], rel=1e-5)
