"""Second views by name."""

from __future__ import annotations

from typing import get_args

import pytest
from stub_wordnet import use_stub_wordnet

from textcl.views import synonyms
from textcl.views.named import SecondView, second_view

TEXT = "a small happy dog eats good food in the big old city of seven hills"


@pytest.fixture(autouse=True)
def forget():
    synonyms._wordnet.cache_clear()
    synonyms._synonyms.cache_clear()
    yield
    synonyms._wordnet.cache_clear()
    synonyms._synonyms.cache_clear()


@pytest.mark.parametrize("name", [name for name in get_args(SecondView) if name != "dropout"])
def test_a_named_view_changes_the_text_the_same_way_again(name, monkeypatch):
    use_stub_wordnet(monkeypatch)
    view = second_view(name, "body", "<mask>")
    shown = [view.draw({"body": TEXT}, 0, epoch, 5, "positive") for epoch in (0, 1, 0)]
    assert shown[0] != TEXT
    assert shown[2] == shown[0]
    assert (shown[1] == shown[0]) == (name == "synonyms")
    assert ("<mask>" in shown[0]) == (name == "span-mask")


def test_dropout_shows_the_text_itself():
    assert second_view("dropout", "body").draw({"body": TEXT}, 0, 0, 5, "positive") == TEXT
