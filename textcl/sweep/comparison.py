"""Comparison of the settings and recipes of a sweep: paired tests over the seeds that two rows share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

from textcl.evaluation.significance import PairedTest, holm, paired_test
from textcl.sweep.table import Row


@dataclass(frozen=True, kw_only=True)
class Comparison(PairedTest):
    """A paired test of two rows of a table.

    Args:
        differs: In what the two differ.
        row: Group of the row.
        against: Group of the row that it is compared with.
        p_holm: Its p-value after Holm's correction for all comparisons; None as `p_value`.
    """

    differs: Literal["setting", "recipe"]
    row: str
    against: str
    p_holm: float | None = None


def compare(rows: Sequence[Row], defaults: Mapping[str, Mapping[str, str]]) -> list[Comparison]:
    """Paired tests of the rows of a table.

    Every setting is compared with one reference of its recipe: its default where that is among them, else the first.
    Every recipe is compared with the first one at the same settings. The reference is fixed before the scores are
    known: to test everything against the best row would find differences that are not there.

    Args:
        rows: As `sweep.table` gives them.
        defaults: Default values of the varied settings, by recipe.

    Source: Holm 1979, https://www.jstor.org/stable/4615733
    """
    tests: list[Comparison] = []
    first: dict[str, Row] = {}
    for row in rows:
        mine = [other for other in rows if other.recipe == row.recipe]
        usual = [r for r in mine if _equal(r.settings, defaults.get(row.recipe, {}))]
        reference = (usual or mine)[0]
        if row is not reference:
            tests += _test("setting", row, reference)
        key = repr(sorted(row.settings.items()))
        if key in first and first[key].recipe != row.recipe:
            tests += _test("recipe", row, first[key])
        first.setdefault(key, row)
    adjusted = holm([test.p_value for test in tests])
    return [replace(test, p_holm=p) for test, p in zip(tests, adjusted, strict=True)]


def _equal(settings: Mapping[str, str], defaults: Mapping[str, str]) -> bool:
    return all(_same(value, defaults.get(key, "")) for key, value in settings.items())


def _same(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return one == other


def _test(differs: Literal["setting", "recipe"], row: Row, reference: Row) -> list[Comparison]:
    seeds = [seed for seed in row.scores if seed in reference.scores]
    result = paired_test(
        [row.scores[seed] for seed in seeds], [reference.scores[seed] for seed in seeds]
    )
    if result is None:
        return []
    return [Comparison(**asdict(result), differs=differs, row=row.group, against=reference.group)]
