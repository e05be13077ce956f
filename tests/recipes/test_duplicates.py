"""Every recipe that pushes texts apart can leave equal ones out of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from families import tiny_model_dir

from textcl.distributed import ALONE
from textcl.training import recipes
from textcl.training.build import build_method
from textcl.types import Embeddings

WITHOUT_NEGATIVES = {
    *("ascl-byol", "byol", "cosent", "cross-entropy", "simsiam"),
    *("distill", "distill-scores", "distill-vectors", "static"),
    *("sapbert", "triplets"),
}
"""Recipes in which no text is the negative of another, or only one of another concept, or one that is given as such."""

ON = {"gist", "hard-contrastive", "pairs"}
"""Recipes that mask unless told otherwise: the hardest negatives would be the equal texts, and pairs repeat theirs."""

CONTRASTS = sorted(set(recipes.names()) - WITHOUT_NEGATIVES)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_model_dir(tmp_path_factory.mktemp("model")))


def masked(name, model, *, mask):
    """Candidates of equal text that an anchor of a batch with such ones is not pushed from, by term of the loss."""
    settings = replace(recipes.find(name).settings(model), mask_duplicates=mask, num_layers=None)
    if hasattr(settings, "classes"):
        settings = replace(settings, classes=("a", "b", "c", "d"))
    method = build_method(recipes.find(name), settings, ALONE)
    texts = torch.tensor([1, 2, 1, 3])  # rows 0 and 2 are equal
    draw = torch.Generator().manual_seed(0)
    z = Embeddings(
        {
            route: torch.randn(4, method.encoders[to.encoder].dimension, generator=draw)
            for route, to in method.routes.items()
        },
        torch.arange(4),
        dict.fromkeys(method.routes, texts),
        labels=torch.arange(4) if hasattr(settings, "classes") else None,
    )
    if "queue" in method.state:
        method.state["queue"].enqueue(z["key"], z.group("key"))
    output = method.objective(z)
    assert torch.isfinite(output.loss)
    return [value for key, value in output.statistics().items() if key.endswith("masked")]


@pytest.mark.parametrize("name", CONTRASTS)
def test_equal_texts_can_be_masked(name, model):
    assert recipes.find(name).settings(model).mask_duplicates is (name in ON)
    before = masked(name, model, mask=False)
    assert before == [] or name == "gist"  # whose guide masks, too
    found = masked(name, model, mask=True)
    assert found
    assert all(value > (before or [0.0])[0] for value in found)
