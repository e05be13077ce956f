"""Every recipe trains, encodes and predicts on a card, pretended here, and no step waits for it."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from unittest.mock import patch

import golden
import numpy as np
import pytest
from accelerate import Accelerator
from families import FAMILIES, tiny_encoder
from pretended_card import CARD, PretendedCard, pretended_card
from recipe_rows import recipe_rows
from rich.console import Console
from torch.utils._python_dispatch import _disable_current_modes

import textcl
from textcl.classifier.classifier import Classifier
from textcl.classifier.head import make_head
from textcl.training import recipes
from textcl.training.loop import _Loop

CODE = Path(textcl.__file__).parent
RECIPES = recipes.find("quickstart").path.parent


# measuring coverage nearly doubles their time, and recipes/test_recipes.py runs the same lines
pytestmark = pytest.mark.no_cover


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return golden.make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def card(monkeypatch):
    with pretended_card(CODE, RECIPES) as card:
        monkeypatch.setattr(Accelerator, "device", property(lambda self: CARD))
        yield card


class _Enough(Exception):  # noqa: N818
    """Ends a run after its second update."""


def run_second_update(
    name: str, settings: dict[str, object], model: Path, folder: Path, card: PretendedCard
) -> None:
    """Leave in `card` the work of the second update of a recipe, without what is logged and saved after it.

    One layer stands for all of them where `settings` say nothing else.
    """

    def stopped(self: _Loop, *_: object) -> None:
        if self.at.step == 2:
            raise _Enough
        card.clear()

    found = recipes.find(name)
    one_layer = {"num_layers": 1} if hasattr(found.settings(), "num_layers") else {}
    with (
        patch.object(_Loop, "_write", stopped),
        pytest.raises(_Enough),
    ):
        textcl.train(
            name,
            model=str(model),
            data=recipe_rows(found.roles),
            dev="",
            output=folder,
            settings=golden.settings_of(name) | one_layer | settings,
            console=Console(file=io.StringIO()),
        )


def without_line(wait: str) -> str:
    """A wait by file and operator, which edits above it do not change."""
    return re.sub(r":\d+ ", " ", wait)


# What transformers asks of a mask for models that run with padding.
MASK = "_local_scalar_dense"

# Settings that other code runs for; the recipe, and what differs.
VARIANTS = [
    ("unsup-simcse", {"temperature": "learnable:0.05", "pooling": "mean"}),
    ("unsup-simcse", {"temperature": "cosine:0.1:0.05", "pooling": "first_last+max"}),
    ("unsup-simcse", {"chunk_size": 4, "pooling": "weightedmean"}),
    ("unsup-simcse", {"mlm_weight": 0.1}),
    ("proto-nce", {"columns": "unique"}),
    ("sup-simcse", {"accumulation": 2, "gradient_checkpointing": True}),
]


@pytest.mark.parametrize(
    ("name", "settings"), [(name, {}) for name in recipes.names()] + VARIANTS, ids=str
)
def test_no_step_waits_for_the_card(name, settings, model, tmp_path, card):
    run_second_update(name, settings, model, tmp_path / "run", card)
    assert not card.waits, "\n".join(sorted(set(card.waits)))


def test_a_step_is_little_work_for_the_host(model, tmp_path, card):
    run_second_update("unsup-simcse", {"num_layers": 3}, model, tmp_path / "run", card)
    assert len(card.copies) <= 1, "\n".join(card.copies)
    assert len(card.launches) <= 540  # three layers


@pytest.mark.slow
@pytest.mark.parametrize("name", recipes.names())
def test_a_recipe_trains_as_on_a_cpu(name, model, tmp_path):
    found, write = recipes.find(name), _Loop._write

    def stopped(self: _Loop, *args: object) -> None:
        write(self, *args)
        if self.at.step == 3:
            raise _Enough

    def losses(folder: Path) -> list[float]:
        alone: dict[str, object] = {} if name == "static" else {"dropout": 0.0}
        with patch.object(_Loop, "_write", stopped), pytest.raises(_Enough):
            textcl.train(
                name,
                model=str(model),
                data=recipe_rows(found.roles, 64),
                dev="",
                output=folder,
                settings=golden.settings_of(name) | {"save_every": 0} | alone,
                console=Console(file=io.StringIO()),
            )
        lines = (folder / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["loss"] for line in lines]

    on_cpu = losses(tmp_path / "cpu")
    with (
        pretended_card(CODE, RECIPES),
        patch.object(Accelerator, "device", property(lambda self: CARD)),
    ):
        assert losses(tmp_path / "card") == pytest.approx(on_cpu, abs=1e-5)


# DeBERTa changes views in place, which torch refuses here where nothing has a gradient.
@pytest.mark.parametrize("family", sorted({*FAMILIES} - {"deberta-v2"}))
def test_encoding_waits_once_a_block(family, card):
    encoder = tiny_encoder(family, pooling="cls+mean+max+lasttoken")
    texts = ["a dog runs", "", "two", "the man plays guitar in the street of the city"] * 3
    with _disable_current_modes():
        expected = encoder.encode(texts, precision="float32", batch_tokens=16)
    encoder.to(CARD)
    card.clear()
    vectors = encoder.encode(texts, precision="float32", batch_tokens=16)
    np.testing.assert_allclose(vectors, expected, atol=1e-5)
    waits = [without_line(w) for w in card.waits if not (family == "mpnet" and w.endswith(MASK))]
    assert waits == ["textcl/encoder/blocks.py synchronize"]


def test_a_classifier_predicts(card):
    encoder = tiny_encoder("bert")
    head = make_head("linear", "bert", encoder.dimension, 3)
    classifier = Classifier(encoder, head, ("food", "sport", "town")).eval()
    texts = ["a dog runs", "two", "the man plays guitar in the street of the city"]
    with _disable_current_modes():
        expected = classifier.predict_proba(texts, precision="float32")
    shares = classifier.to(CARD).predict_proba(texts, precision="float32")
    np.testing.assert_allclose(shares, expected, atol=1e-5)
