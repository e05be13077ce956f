"""No recipe changes its numbers unnoticed."""

from __future__ import annotations

import golden
import pytest

from textcl.training import recipes as recipe

# measuring coverage nearly doubles their time, and test_recipes.py runs the same lines
pytestmark = pytest.mark.no_cover


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return golden.make_model(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize("name", recipe.names())
def test_a_recipe_repeats_its_golden_losses(name, model, tmp_path):
    losses = golden.measure(name, model, tmp_path / "run")
    assert losses == pytest.approx(golden.read()[name], rel=1e-6, abs=1e-6)


def test_every_golden_loss_is_of_a_recipe():
    assert sorted(golden.read()) == sorted(recipe.names())
