"""A plugin of pytest that runs every n-th test, so that n processes share them: PART=i/n pytest -p every_nth."""

from __future__ import annotations

import os

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    part, processes = map(int, os.environ["PART"].split("/"))
    items[:] = items[part::processes]
