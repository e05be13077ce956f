"""The lines that a run shows while it trains."""

import io

import pytest
from rich.console import Console

from textcl.training.console import ConsoleReporter
from textcl.training.position import DevScore


def shown(total):
    stream = io.StringIO()
    reporter = ConsoleReporter(Console(file=stream))
    reporter.start(0, total)
    reporter.scored(0, DevScore(63.03), False)
    reporter.scored(125, DevScore(62.0), False)
    reporter.scored(250, DevScore(64.5), True)
    return stream.getvalue().splitlines()


def test_scores_are_shown_beside_the_start():
    assert shown(250) == [
        "update 0: dev 63.03 (before training)",
        "update 125: dev 62.00",
        "update 250: dev 64.50 (best so far)",
    ]


@pytest.mark.parametrize(("total", "short"), [(49, True), (50, False)])
def test_a_run_of_few_updates_says_so(total, short):
    assert ("scores say little" in shown(total)[0]) is short
