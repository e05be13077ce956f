"""The site of the documentation is built without a warning, and holds what the package says about itself."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib

import pytest
from snippets import ROOT
from typer.main import get_command

import textcl
from textcl.cli.app import app


@pytest.fixture(scope="module")
def docs():
    """The module that builds the site."""
    spec = importlib.util.spec_from_file_location("build_docs", ROOT / "docs" / "build.py")
    module = importlib.util.module_from_spec(spec)
    before = [*sys.path]
    spec.loader.exec_module(module)
    yield module
    sys.path[:] = before


@pytest.mark.skipif(importlib.util.find_spec("zensical") is None, reason="needs the extra `docs`")
def test_the_site_is_built_without_a_warning(docs, tmp_path):
    assert docs.build(tmp_path) == 0
    site = tmp_path / "site"
    built = {path.relative_to(site).as_posix() for path in site.rglob("*.html")}
    for page in (ROOT / "docs").rglob("*.md"):
        place = page.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert place.replace("README", "index") in built
    start = (site / "index.html").read_text()
    for page in built - {"404.html"}:
        if not page.startswith("reports/"):
            assert page in start, f"{page} is not in the navigation"


def test_a_link_to_nothing_ends_the_build(docs, tmp_path):
    page = ROOT / "docs" / "faq.md"
    with pytest.raises(docs.DeadLinkError, match=r"docs/faq\.md: none\.md does not exist"):
        docs.rewrite_links("see [this](none.md)", page, page, tmp_path)


def test_links_into_the_repository_lead_to_its_place_on_the_web(docs, tmp_path):
    page = ROOT / "docs" / "faq.md"
    text = (
        "[a](../eval/results) [b](../CONTRIBUTING.md#commits) [c](start.md)\n```\n[d](none)\n```\n"
    )
    assert docs.rewrite_links(text, page, page, tmp_path) == (
        f"[a]({docs.WEB}/tree/main/eval/results) [b](contributing.md#commits) [c](start.md)\n"
        "```\n[d](none)\n```\n"
    )


def test_what_asks_another_host_or_lacks_a_picture_is_told(docs, tmp_path):
    script = '<script src="https://cdn.example/x.js"></script>'
    (tmp_path / "a.html").write_text(f'{script}<img alt="" src="none.png"><a href="https://x.org">')
    wrong = docs.check_site(tmp_path)
    assert [line.split(":")[0] for line in wrong] == ["a.html asks another host", "a.html"]


def test_the_reference_names_every_command_recipe_and_public_name(docs):
    parts = docs.generate.PARTS
    commands, settings, python = (parts[name]() for name in ("commands", "settings", "python"))
    for name in get_command(app).commands:
        assert f"## `textcl {name}`" in commands
    for path in (ROOT / "recipes").glob("[!_]*.py"):
        assert f"### `{path.stem.replace('_', '-')}`" in settings
    for name in ("Encoder", "train", "evaluate", "Contrastive", "UserError", "ALONE"):
        assert hasattr(textcl, name)
        assert f"### `{name}`" in python


def test_the_decision_table_says_what_the_table_of_methods_says(docs):
    gains = docs.generate.gains()
    rows = (ROOT / "docs" / "which-recipe.md").read_text().splitlines()
    told = [re.findall(r"`([\w-]+)` \| \+([\d.]+)|`([\w-]+)`: \+([\d.]+)", row) for row in rows]
    pairs = [(a or c, b or d) for row in told for a, b, c, d in row]
    assert len(pairs) >= 6
    for name, gain in pairs:
        assert gains[name].startswith(f"+{gain}"), name


def test_the_table_of_extras_names_each():
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    table = (ROOT / "docs" / "start.md").read_text().partition("| extra |")[2].partition("\n\n")[0]
    rows = [row.split("|")[1] for row in table.splitlines()[2:]]
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == known.keys()
