"""Pairs as people write them: an anchor, a positive or several, any number of negatives, in columns or in lists.

However the negatives of a row are written (`negative`, `negative_1`, `negative_2`, … or a list `negatives`), they are
read as one list, in this order.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from textcl.data.formats import Part, Records
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
    """Where pairs are, and how their columns are called.

    Args:
        source: What `load_rows` reads.
        roles: What its rows hold, of "anchor", "positive" or "positives", and those of `OPTIONAL` that are there.
        columns: Role to column name, where they differ.
    """

    source: Source
    roles: tuple[str, ...]
    columns: Mapping[str, str] = field(default_factory=dict[str, str])


def open_pairs(
    source: Any,
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


def _several(by_role: Mapping[str, str], first: Mapping[str, Any]) -> bool:
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


def _is_blank(value: Any) -> bool:
    return is_missing(value) or (isinstance(value, str) and not value.strip())
