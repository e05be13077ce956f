"""Recipes: found by name or file, described, configured, copied."""

from __future__ import annotations

import pytest

from textcl.errors import UserError
from textcl.training import recipes as recipe


@pytest.mark.parametrize("name", recipe.names())
def test_every_recipe_describes_itself(name):
    found = recipe.find(name)
    assert found.name == name
    assert "Source" in found.doc
    assert len(found.summary) <= 55  # one line of `textcl recipes` in 80 columns
    assert found.roles
    settings = found.settings()
    for field in found.presets.values():
        assert all(hasattr(settings, key) for key in field), f"a preset of {name} names no setting"


def test_a_preset_follows_the_model_and_an_override_wins():
    found = recipe.find("unsup-simcse")
    assert found.settings().batch_size == 64
    large = found.settings("some-folder/roberta-large")
    assert (large.batch_size, large.learning_rate, large.model) == (
        512,
        3e-5,
        "some-folder/roberta-large",
    )
    assert found.settings("roberta-large", ["batch_size=8"]).batch_size == 8


@pytest.mark.parametrize(
    ("model", "overrides", "line"),
    [
        (
            "folder/all-MiniLM-L6-v2/",
            {"batch_size": 16},
            "learning_rate=0.0002, pooling=mean: the preset of all-MiniLM-L6-v2",
        ),
        (
            "runs/mine",
            {},
            "those for google/electra-base-discriminator: there is no preset for mine, only for all-MiniLM-L6-v2",
        ),
        ("google/electra-base-discriminator", {}, ""),
    ],
)
def test_the_preview_says_what_follows_from_the_name_of_a_model(model, overrides, line):
    found = recipe.find("cross-entropy")
    assert found.preset_line(found.settings(model, overrides)) == line
    few = recipe.find("few-shot")
    assert few.preset_line(few.settings(model)) == "", "it has no presets"


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(
        UserError, match=r"unknown recipe 'unsup-simsce'; did you mean .*unsup-simcse"
    ):
        recipe.find("unsup-simsce")
    with pytest.raises(UserError, match=r"recipe file mine\.py does not exist"):
        recipe.find("mine.py")


def test_a_copied_recipe_is_found_by_its_file(tmp_path):
    path = recipe.copy("unsup-simcse", tmp_path / "my_method.py")
    assert recipe.find(str(path)).name == "my-method"
    with pytest.raises(UserError, match="exists already"):
        recipe.copy("unsup-simcse", path)


def test_a_file_that_is_no_recipe_says_what_it_lacks(tmp_path):
    path = tmp_path / "empty.py"
    path.write_text('"""Nothing."""\n')
    with pytest.raises(UserError, match="lacks ROLES, Settings, build"):
        recipe.find(str(path))


FOREIGN = """from pathlib import Path

Path("ran").write_text("foreign code ran")
"""


@pytest.mark.parametrize(
    "name", ["evil.py", "./evil.py", "../evil", "recipes/../evil", "/tmp/evil"]
)
def test_a_recipe_that_a_run_folder_names_is_never_executed(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text(FOREIGN)
    with pytest.raises(UserError, match=r"not executed|unknown recipe"):
        recipe.find_again(name, None, None, tmp_path / "run")
    assert not (tmp_path / "ran").exists()


def test_a_name_cannot_leave_the_folder_of_recipes(tmp_path, monkeypatch):
    monkeypatch.setattr(recipe, "recipes_dir", lambda: tmp_path / "recipes")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "evil.py").write_text(FOREIGN)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="unknown recipe"):
        recipe.find("../evil")
    assert not (tmp_path / "ran").exists()


def test_the_file_of_a_recipe_is_the_one_that_was_used(tmp_path):
    mine = recipe.copy("unsup-simcse", tmp_path / "mine.py")
    used = recipe.find(str(mine)).sha256
    assert recipe.find_again("old/mine.py", used, mine, tmp_path).name == "mine"
    assert recipe.find("unsup-simcse").sha256 is None
    with mine.open("a") as file:
        file.write("\nChanged = True\n")
    with pytest.raises(UserError, match=r"is not the recipe of the run"):
        recipe.find_again("old/mine.py", used, mine, tmp_path)
    with pytest.raises(UserError, match="leave --recipe out"):
        recipe.find_again("unsup-simcse", None, mine, tmp_path)
