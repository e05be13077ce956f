import pytest

from textcl import resources
from textcl.errors import RunError
from textcl.resources import published_path, recipes_dir, sample_dir, tasks_dir


def test_checkout_has_every_resource():
    assert recipes_dir().is_dir()
    assert (tasks_dir() / "suites.toml").is_file()
    assert published_path().is_file()
    assert sample_dir().is_dir()


def test_wheel_comes_before_the_folders_around_it(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "textcl"
    for folder in ("_recipes", "_eval/tasks", "sample"):
        (package / folder).mkdir(parents=True)
    (package / "_eval" / "published.json").write_text("[]")
    for folder in ("recipes", "eval/tasks"):
        (package.parent / folder).mkdir(parents=True)
    monkeypatch.setattr(resources, "_PACKAGE", package)
    assert recipes_dir() == package / "_recipes"
    assert tasks_dir() == package / "_eval" / "tasks"
    assert published_path() == package / "_eval" / "published.json"
    assert sample_dir() == package / "sample"


@pytest.mark.parametrize("find", [recipes_dir, tasks_dir, published_path, sample_dir])
def test_broken_installation_says_so(find, tmp_path, monkeypatch):
    monkeypatch.setattr(resources, "_PACKAGE", tmp_path / "textcl")
    with pytest.raises(RunError, match=r"installation of textcl is incomplete: .* is missing"):
        find()
