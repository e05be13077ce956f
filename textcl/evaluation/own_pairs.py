"""Graded pairs of a file of one's own, as a task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from textcl.data.roles import SYNONYMS
from textcl.data.rows import columns_of, load_rows
from textcl.data.sources import open_source
from textcl.evaluation.tasks import StsTask

ROLES = ("sentence1", "sentence2", "score")


def holds_pairs(data: str, columns: Mapping[str, str] | None = None) -> bool:
    """Whether a file has the columns of graded pairs.

    Args:
        data: The file.
        columns: Role to column, as the user named them.

    Raises:
        UserError: If it cannot be read.
    """
    chosen, names = columns or {}, set(columns_of(open_source(data)))
    return all(role in chosen or {role, *SYNONYMS.get(role, ())} & names for role in ROLES)


def own_pairs(data: str, columns: Mapping[str, str] | None = None) -> StsTask:
    """The pairs of a file, named after it.

    Args:
        data: The file.
        columns: Role to column; the columns `sentence1`, `sentence2` and `score` when None.

    Raises:
        UserError: If it cannot be read, or a score is no number.
    """
    rows = load_rows(data, roles=ROLES, columns=columns)
    return StsTask(
        name=Path(data).stem,
        sentences1=rows.strings("sentence1"),
        sentences2=rows.strings("sentence2"),
        scores=np.array(rows.column("score"), dtype=np.float64),
        source=data,
    )
