"""The wheel carries recipes and benchmarks, and they are found in it, in an editable install and in a checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHOW = (
    "import textcl, textcl.training.recipes as r, textcl.resources as s; "
    "print(textcl.__file__); print(s.recipes_dir()); print(s.tasks_dir()); print(' '.join(r.names()))"
)


def found_from(place: Path, **environment: str) -> list[Path | str]:
    """Where a fresh interpreter finds the package and its resources."""
    result = subprocess.run(
        [sys.executable, "-c", SHOW], cwd=place, capture_output=True, text=True, check=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    package, recipes, tasks, names = result.stdout.splitlines()
    return [Path(package), Path(recipes), Path(tasks), names]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_what_the_package_needs_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "textcl/_recipes/unsup_simcse.py",
        "textcl/_eval/tasks/stsbenchmark_dev.toml",
        "textcl/_eval/published.json",
        "textcl/sample/sentences.txt",
    ):
        assert wanted in names
    assert all(name.startswith(("textcl/", "textcl-")) for name in names)
    assert not [name for name in names if "results" in name or "bench/" in name]


def test_resources_are_found_in_a_wheel(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    package, recipes, tasks, names = found_from(tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert package == tmp_path / "site" / "textcl" / "__init__.py"
    assert recipes == tmp_path / "site" / "textcl" / "_recipes"
    assert tasks == tmp_path / "site" / "textcl" / "_eval" / "tasks"
    assert "unsup-simcse" in names.split()


def test_resources_are_found_in_a_checkout(tmp_path):
    package, recipes, tasks, _ = found_from(tmp_path, PYTHONPATH=str(ROOT))
    assert package == ROOT / "textcl" / "__init__.py"
    assert recipes == ROOT / "recipes"
    assert tasks == ROOT / "eval" / "tasks"


def test_resources_are_found_in_an_editable_install(tmp_path):
    url = metadata.distribution("textcl").read_text("direct_url.json") or "{}"
    if not json.loads(url).get("dir_info", {}).get("editable"):
        pytest.skip("textcl is not installed with pip install -e here")
    package, recipes, tasks, names = found_from(tmp_path)
    assert package == ROOT / "textcl" / "__init__.py"
    assert recipes == ROOT / "recipes"
    assert tasks == ROOT / "eval" / "tasks"
    assert "quickstart" in names.split()
