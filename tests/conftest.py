"""Settings of every test run, made before torch is imported, and the order of the files."""

import gc
import os
from functools import cache
from pathlib import Path

import pytest
import typer.testing
from jaxtyping import install_import_hook

# Tiny tensors gain nothing from a second thread and lose to its start; processes that tests start inherit this.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Nothing in the default run may need a network.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Types and shapes of the mathematics are checked at every call. Elsewhere pyright has to do: checking every call of the
# package takes half as much time again (TEXTCL_CHECKED=textcl does it).
CHECKED = "textcl.arithmetic,textcl.contrast,textcl.objectives,textcl.method"
install_import_hook(
    os.environ.get("TEXTCL_CHECKED", CHECKED).split(","),
    "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))",
)

HERE = Path(__file__).parent
LONGEST = (
    "test_packaging.py",
    "docs/test_snippets.py",
    "test_distributed.py",
    "training/test_session.py",
    "test_on_card.py",
    "recipes/test_recipes.py",
    "classifier/test_training.py",
    "classifier/test_comparison.py",
    "encoder/test_damaged_folders.py",
    "export/test_export.py",
    "recipes/test_served_is_trained.py",
    "report/test_browser.py",
    "test_golden.py",
    "sweep/test_sweep.py",
    "report/test_report.py",
    "classifier/test_estimator.py",
    "encoder/test_shard_workers.py",
    "test_heap.py",
    "cli/test_encode.py",
    "data/test_odd_inputs.py",
    "export/test_served.py",
    "bench/test_gpu.py",
)

# No test pulls the plug: what it writes need not reach the disk, which takes 10 ms a file.
os.fsync = lambda fd: None

# The commands are built once, and not at every call of one.
typer.testing._get_command = cache(typer.main.get_command)  # pyright: ignore[reportPrivateUsage]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first: begun last, one would keep a worker busy when the others are done."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(str(item.path).removeprefix(f"{HERE}/"), len(order)))


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """One browser for all files of a worker: its start costs more than what most of them do with it."""
    from browsing import Browser

    opened = Browser(tmp_path_factory.mktemp("profile"))
    yield opened
    opened.driver.quit()


@pytest.fixture
def browser(chromium):
    """The browser, as if it had been opened just now."""
    chromium.forget()
    return chromium


def pytest_collection_finish() -> None:
    """Leave the objects of the libraries out of every garbage collection to come: they live to the end."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Let plugins see all objects again."""
    gc.unfreeze()
