"""Pairs as people write them: an anchor, a positive or several, any number of negatives, in columns or in lists.

However the negatives of a row are written (`negative`, `negative_1`, `negative_2`, … or a list `negatives`), they are
read as one list, in this order.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from textcl.data.formats import Part, Records, Values
from textcl.data.rows import columns_of
from textcl.data.sources import Source, open_source
from textcl.data.texts import is_missing
from textcl.errors import UserError

OPTIONAL = ("positive_id", "positive_ids", "negatives", "negative_ids", "weight", "scores")
"""Roles that pairs may have besides an anchor and a positive, or several positives."""

_NEGATIVE = re.compile(r"negative(_\d+)?")
_NEGATIVE_ID = re.compile(r"negative(_\d+)?_id")


@dataclass(frozen=True)
class PairSource:
    """Place of pairs, and the names of their columns.

    Args:
        source: What `load_rows` reads.
        roles: What its rows hold, of "anchor", "positive" or "positives", and those of `OPTIONAL` that are there.
        columns: Role to column name, where they differ.
    """

    source: Source
    roles: tuple[str, ...]
    columns: Mapping[str, str] = field(default_factory=dict[str, str])


def open_pairs(
    source: object,
    *,
    required: Sequence[str] = ("anchor", "positive"),
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
) -> PairSource:
    """Find out which columns hold what.

    Args:
        source: As for `load_rows`.
        required: Roles that must be there.
        columns: The user's choices: role to column name; "negative" and "negative_1" are roles here, too.
        split: Part of a hub data set or of a folder.

    Raises:
        UserError: If the columns contradict each other.
    """
    opened, chosen = open_source(source, split=split), dict(columns or {})
    first = columns_of(opened)
    by_role = {**{name: name for name in first}, **chosen}
    roles = dict.fromkeys(required)
    if "negative" in roles:
        roles = {"negatives" if role == "negative" else role: None for role in roles}
    if "positive" in roles and _several(by_role, first):
        roles = {"positives" if role == "positive" else role: None for role in roles}
        chosen.setdefault("positives", chosen.pop("positive", by_role.get("positives", "positive")))
    roles |= dict.fromkeys(role for role in OPTIONAL if role in by_role)
    for role, pattern in (("negatives", _NEGATIVE), ("negative_ids", _NEGATIVE_ID)):
        spread = [by_role[name] for name in sorted(by_role, key=_number) if pattern.fullmatch(name)]
        for name in [name for name in chosen if pattern.fullmatch(name)]:
            del chosen[name]
        if spread and role in by_role:
            raise UserError(
                f"the data has the columns {', '.join([by_role[role], *spread])}: keep the list or the single columns"
            )
        if spread:
            gathered = " + ".join(spread)
            opened = _gather(opened, spread, gathered)
            chosen[role] = gathered
            roles[role] = None
    return PairSource(opened, tuple(roles), chosen)


def named_sources(data: str) -> list[tuple[str, float | None]]:
    """The data sets that a text names, "a.jsonl=2 + b.jsonl=1", and how often each comes; None where it does not say.

    Raises:
        UserError: If a weight is not above 0.
    """
    if Path(data).exists():
        return [(data, None)]
    sources: list[tuple[str, float | None]] = []
    for part in data.split(" + "):
        name, equals, number = part.strip().rpartition("=")
        try:
            weight = float(number) if equals else None
        except ValueError:
            weight = None
        if weight is None:
            sources.append((part.strip(), None))
        elif 0 < weight < math.inf:
            sources.append((name, weight))
        else:
            raise UserError(f"--data {part.strip()}: a weight is a number above 0, not {number}")
    return sources


def same_roles(parts: Sequence[PairSource]) -> list[PairSource]:
    """Data sets that all have the roles of each: no negatives where one has none, lists of a single positive, weight 1.

    Raises:
        UserError: If one lacks ids or scores that another has.
    """
    roles = dict.fromkeys(role for part in parts for role in part.roles)
    if "positives" in roles:
        roles.pop("positive", None)
    return [_with_roles(part, tuple(roles)) for part in parts]


def _with_roles(part: PairSource, roles: tuple[str, ...]) -> PairSource:
    source, columns = part.source, dict(part.columns)
    positive = columns.get("positive", "positive")
    makers: dict[str, Callable[[Values], object]] = {
        "negatives": lambda row: [],
        "weight": lambda row: 1.0,
        "positives": lambda row: [] if _is_blank(row[positive]) else [row[positive]],
    }
    for role in roles:
        if role in part.roles:
            continue
        if role not in makers:
            raise UserError(
                f"{source.name} has no {role}, which another data set of the run has: give all of them, or none"
            )
        columns[role] = f"({role})"
        uses = [positive] if role == "positives" else []
        source = _added(source, columns[role], uses, makers[role])
    columns = {role: name for role, name in columns.items() if role in roles}
    return PairSource(source, roles, columns)


def _added(
    source: Source, column: str, uses: Sequence[str], make: Callable[[Values], object]
) -> Source:
    """The source with one column more, made of others."""

    def part_with(part: Part) -> Part:
        def read(columns: Sequence[str] | None) -> Records:
            wanted = columns
            if columns is not None:
                wanted = list(dict.fromkeys([*(c for c in columns if c != column), *uses]))
            for number, values in part.read(wanted):
                yield number, values if values is None else {**values, column: make(values)}

        return replace(part, read=read, columns=part.columns and (*part.columns, column))

    return replace(source, parts=tuple(map(part_with, source.parts)))


def _several(by_role: Mapping[str, str], first: Mapping[str, object]) -> bool:
    """Whether a row has a list of positives."""
    if "positive" not in by_role:
        return "positives" in by_role
    value = first.get(by_role["positive"])
    return isinstance(value, list | tuple) or hasattr(value, "tolist")


def _number(name: str) -> tuple[int, str]:
    digits = re.search(r"\d+", name)
    return (int(digits[0]) if digits else -1, name)


def _gather(source: Source, names: Sequence[str], gathered: str) -> Source:
    """The source with some columns as one list, without what is missing in them."""
    return replace(
        source, parts=tuple(_gather_part(part, names, gathered) for part in source.parts)
    )


def _gather_part(part: Part, names: Sequence[str], gathered: str) -> Part:
    def read(columns: Sequence[str] | None) -> Records:
        wanted = columns
        if columns is not None and gathered in columns:
            wanted = [name for name in columns if name != gathered] + list(names)
        for number, values in part.read(wanted):
            if values is not None:
                listed = [values.get(name) for name in names]
                values = {**values, gathered: [x for x in listed if not _is_blank(x)]}
            yield number, values

    known = part.columns and (*(name for name in part.columns if name not in names), gathered)
    return replace(part, read=read, columns=known)


def _is_blank(value: object) -> bool:
    return is_missing(value) or (isinstance(value, str) and not value.strip())
