"""Which of the settings and recipes of a sweep differ: paired tests over the seeds that two rows of its table share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from textcl.evaluation.significance import holm, paired_test


def compare(
    rows: Sequence[Mapping[str, Any]], defaults: Mapping[str, Mapping[str, str]]
) -> list[dict[str, Any]]:
    """Paired tests of the rows of a table.

    Every setting is compared with one reference of its recipe: its default where that is among them, else the first.
    Every recipe is compared with the first one at the same settings. The reference is fixed before the scores are
    known: to test everything against the best row would find differences that are not there.

    Args:
        rows: As `sweep.table` gives them.
        defaults: Default values of the varied settings, by recipe.

    Returns:
        For each comparison the two rows, what differs, the numbers of `paired_test`, and `p_holm`, its p-value after
        Holm's correction for all comparisons of this list.

    Source: Holm 1979, https://www.jstor.org/stable/4615733
    """
    found: list[dict[str, Any]] = []
    first: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        mine = [other for other in rows if other["recipe"] == row["recipe"]]
        usual = [r for r in mine if _equal(r["settings"], defaults.get(row["recipe"], {}))]
        reference = (usual or mine)[0]
        if row is not reference:
            found += _test("setting", row, reference)
        key = repr(sorted(row["settings"].items()))
        if key in first and first[key]["recipe"] != row["recipe"]:
            found += _test("recipe", row, first[key])
        first.setdefault(key, row)
    for test, adjusted in zip(found, holm([test["p_value"] for test in found]), strict=True):
        test["p_holm"] = adjusted
    return found


def _equal(settings: Mapping[str, str], defaults: Mapping[str, str]) -> bool:
    return all(_same(value, defaults.get(key, "")) for key, value in settings.items())


def _same(one: str, other: str) -> bool:
    try:
        return float(one) == float(other)
    except ValueError:
        return one == other


def _test(kind: str, row: Mapping[str, Any], reference: Mapping[str, Any]) -> list[dict[str, Any]]:
    seeds = [seed for seed in row["scores"] if seed in reference["scores"]]
    result = paired_test(
        [row["scores"][seed] for seed in seeds], [reference["scores"][seed] for seed in seeds]
    )
    if result is None:
        return []
    return [{"differs": kind, "row": row["group"], "against": reference["group"], **asdict(result)}]
