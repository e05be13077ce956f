"""Labelled rows for a classifier of several label columns: some of them may lack a label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from textcl.classifier.columns import ColumnsClassifier
from textcl.data.label_columns import column_role, split_label
from textcl.data.rows import Rows, load_rows
from textcl.errors import UserError


@dataclass(frozen=True)
class LabelledPart:
    """The rows that have a label in one column.

    Args:
        places: Of these rows among all.
        rows: Themselves, with the roles text and label.
    """

    places: Int[np.ndarray, " n"]
    rows: Rows


def load_column_rows(
    source: str,
    classifier: ColumnsClassifier,
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
) -> tuple[Rows, dict[str, LabelledPart]]:
    """The rows of a file, and by column those that have a label in it; rows without any label are left out.

    Args:
        source: The file.
        classifier: Whose label columns are read.
        columns: Role to column name; for "label" the columns in the order of the classifier's, where they differ.
        split: Of a hub data set or folder.

    Raises:
        UserError: If a column is missing or has no label, or a label is none of its classes.
    """
    roles, named = split_label(("text", "label"), columns or {}, classifier.columns)
    rows = load_rows(source, roles=roles, columns=named, split=split, drop_unlabelled=True)
    parts: dict[str, LabelledPart] = {}
    for name, part in classifier.parts.items():
        labels = rows.column(column_role(name))
        places = np.flatnonzero([label is not None for label in labels])
        if not len(places):
            raise UserError(f"{source}: no row has a label in the column {name}")
        parts[name] = LabelledPart(places, rows.of_label_column(name))
        part.targets(parts[name].rows.column("label"), f"{source}, column {name}")
    return rows, parts
