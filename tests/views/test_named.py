"""Second views by name."""

from __future__ import annotations

from typing import get_args

import pytest
from wordnet_files import write_database

from textcl.views.named import SecondView, second_view

TEXT = "a small happy dog eats good food in the big old city of seven hills"


@pytest.mark.parametrize("name", [name for name in get_args(SecondView) if name != "dropout"])
def test_a_named_view_changes_the_text_the_same_way_again(name, tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTCL_WORDNET", str(write_database(tmp_path)))
    view = second_view(name, "body", "<mask>")
    shown = [view.draw({"body": TEXT}, 0, epoch, 5, "positive") for epoch in (0, 1, 0)]
    assert shown[0] != TEXT
    assert shown[2] == shown[0]
    assert (shown[1] == shown[0]) == (name == "synonyms")
    assert ("<mask>" in shown[0]) == (name == "span-mask")


def test_dropout_shows_the_text_itself():
    assert second_view("dropout", "body").draw({"body": TEXT}, 0, 0, 5, "positive") == TEXT
