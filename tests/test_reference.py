"""Our numbers against those of the official implementations, for every file of the reference folder.

The folder is `TEXTCL_REFERENCE`, or `../shared/reference` beside the checkout; any other folder of the same format runs
too. A method's cases are computed by `reference_cases/<method>.py`, whose `run(case)` returns our values in the shape
of the case's `expected`.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from textcl.errors import UserError

FOLDER = Path(
    os.environ.get("TEXTCL_REFERENCE")
    or Path(__file__).resolve().parents[1] / ".." / "shared" / "reference"
)
FILES = sorted(FOLDER.glob("*.json"))
ABOUT = {"kind", "note"}
"""Keys of `expected` that describe it."""


def cases():
    for path in FILES:
        table = json.loads(path.read_text(encoding="utf-8"))
        for index in range(len(table["cases"])):
            yield pytest.param(table, index, id=f"{path.stem}-{index}")


@pytest.mark.skipif(not FILES, reason=f"no reference files in {FOLDER}: set TEXTCL_REFERENCE")
@pytest.mark.parametrize(("table", "index"), list(cases()))
def test_method_agrees_with_its_official_implementation(table, index):
    case, module = table["cases"][index], f"reference_cases.{table['method']}"
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"not yet implemented: {table['method']}")
    ours = outcome(importlib.import_module(module).run, case)
    differences = list(compare(ours, case["expected"], *tolerances(table), "expected"))
    assert not differences, "\n".join(differences)


def outcome(run, case):
    """What our code makes of a case: its values, or that it refused the input where that is expected.

    Where the official value is undefined and a policy's stands beside it, our loss is compared with that.
    """
    expected = case["expected"]
    try:
        ours = run(case)
    except (UserError, ValueError):
        if "error" not in expected:
            raise
        return {"error": expected["error"]}
    if "value" not in expected.get("policy_loss", {}) or "policy_loss" in ours:
        return ours
    defined = {key: value for key, value in ours.items() if not undefined(expected.get(key))}
    return defined | {"policy_loss": {"value": ours["loss"]}}


def tolerances(table):
    """Relative and absolute tolerance of a file."""
    if table["dtype"] == "float32":
        return max(1e-4, table.get("rtol") or 0), 1e-6
    return table.get("rtol") or 0.0, 1e-9


def compare(ours: Any, want: Any, rtol: float, atol: float, place: str):
    """One sentence for every place where our value is missing or differs."""
    if isinstance(want, dict):
        if not isinstance(ours, dict):
            yield f"{place}: expected a mapping, got {type(ours).__name__}"
            return
        for key in want.keys() - ABOUT:
            if key in ours:
                yield from compare(ours[key], want[key], rtol, atol, f"{place}.{key}")
            elif not (want.keys() & {"policy_loss", f"policy_{key}"} and undefined(want[key])):
                yield f"{place}.{key}: missing"
    elif isinstance(want, list):
        items = ours.tolist() if isinstance(ours, np.ndarray) else ours
        if not isinstance(items, list | tuple) or len(items) != len(want):
            yield f"{place}: expected {len(want)} items, got {ours!r}"
            return
        for k, (left, right) in enumerate(zip(items, want, strict=True)):
            yield from compare(left, right, rtol, atol, f"{place}[{k}]")
    elif not same(ours, want, rtol, atol):
        yield f"{place}: expected {want!r}, got {ours!r}"


def same(ours: Any, want: Any, rtol: float, atol: float) -> bool:
    """Text, whole numbers, truth and nothing exactly; anything else within the tolerance."""
    if isinstance(ours, np.generic | np.ndarray):
        ours = ours.item()
    if want in ("nan", "inf", "-inf") and not isinstance(ours, str):
        want = float(want)
    exact = want is None or isinstance(want, str | bool)
    if exact or isinstance(ours, bool) or not isinstance(ours, int | float):
        return type(ours) is type(want) and ours == want
    if isinstance(want, int) and isinstance(ours, int):
        return ours == want
    goal = float(want)
    if not math.isfinite(goal) or not math.isfinite(ours):
        return ours == goal or (math.isnan(ours) and math.isnan(goal))
    return abs(ours - goal) <= atol + rtol * abs(goal)


def undefined(want: Any) -> bool:
    """Whether the official function gives no finite number somewhere in this value; its policy stands beside it."""
    if isinstance(want, dict):
        return "policy_loss" not in want and any(undefined(value) for value in want.values())
    if isinstance(want, list):
        return any(undefined(value) for value in want)
    return want in ("nan", "inf", "-inf")


# the comparison itself

WANT = {"loss": 1.5, "grad": {"x": [[1.0, -2.0], [0.5]]}, "count": 3, "text": "a", "kind": "?"}
GOOD = {"loss": 1.5, "grad": {"x": [np.array([1.0, -2.0]), [0.5]]}, "count": 3, "text": "a"}


def differences(ours, want):
    return list(compare(ours, want, 1e-6, 1e-9, ""))


def test_equal_values_agree_and_descriptions_are_ignored():
    assert not differences(GOOD, WANT)
    assert not differences(GOOD | {"loss": 1.5 + 1e-6, "more": 1}, WANT)


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": 1.5 + 2e-6},
        {"loss": math.nan},
        {"loss": None},
        {"loss": "1.5"},
        {"count": 4},
        {"count": True},
        {"count": 3.1},
        {"text": "b"},
        {"grad": {}},
        {"grad": {"x": [[1.0, -2.0], [0.5, 0.0]]}},
        {"grad": {"x": [[1.0, -2.1], [0.5]]}},
        {"grad": np.zeros((2, 2))},
    ],
)
def test_every_difference_is_found(wrong):
    assert len(differences(GOOD | wrong, WANT)) == 1


def test_a_missing_key_is_a_difference():
    assert len(differences({}, WANT)) == 4


def test_nan_must_be_met_unless_a_policy_stands_beside_it():
    assert differences({}, {"loss": "nan"})
    assert not differences({"loss": math.nan}, {"loss": "nan"})
    want = {"loss": "nan", "grad": {"x": [["nan"]]}, "policy_loss": {"kind": "?", "skip": 1.0}}
    assert not differences({"policy_loss": {"skip": 1.0}}, want)
    assert not differences({"loss": math.nan, "policy_loss": {"skip": 1.0}}, want)
    assert differences({"loss": 1.0, "policy_loss": {"skip": 1.0}}, want)
    assert differences({"loss": math.nan}, want)
    assert differences({"policy_loss": {}}, want)


def test_a_policy_of_one_value_excuses_that_value_alone():
    want = {"auc": "nan", "cosine": "nan", "policy_auc": None}
    assert differences({"policy_auc": None}, want) == [".cosine: missing"]


def test_our_loss_is_compared_with_the_policy_where_the_official_is_undefined():
    case = {"expected": {"loss": "inf", "count": 2, "policy_loss": {"kind": "?", "value": 1.0}}}
    ours = outcome(lambda _: {"loss": 1.0, "count": 2}, case)
    assert not differences(ours, case["expected"])
    assert differences(outcome(lambda _: {"loss": 2.0, "count": 2}, case), case["expected"])


def test_a_refusal_counts_only_where_one_is_expected():
    def refuse(_):
        raise UserError("no")

    assert not differences(outcome(refuse, {"expected": {"error": "X"}}), {"error": "X"})
    with pytest.raises(UserError):
        outcome(refuse, {"expected": {"loss": 1.0}})
    assert differences(
        outcome(lambda _: {"loss": 1.0}, {"expected": {"error": "X"}}), {"error": "X"}
    )


def test_a_policy_excuses_nothing_that_is_defined():
    want = {"loss": "nan", "other": 2.0, "policy_loss": {"value": 0.0}}
    assert differences({"policy_loss": {"value": 0.0}}, want) == [".other: missing"]
