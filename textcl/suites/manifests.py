"""The manifests of a suite's tasks, and their files, checked against them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from textcl.errors import UserError
from textcl.evaluation.tasks import (
    SUITE_KINDS,
    Columns,
    DataFile,
    check_local,
    read_local,
    read_manifests,
)

_REMEDY = "put the original there"


@dataclass(frozen=True)
class SuiteManifest:
    """The manifest of one task of a suite, from `eval/tasks/*.toml`.

    Args:
        name: Name in scores and on the command line.
        label: Short name for the head of a table.
        kind: How it is scored, one of `SUITE_KINDS`.
        metric: What the papers report.
        protocol: Key of comparable published scores.
        licence: Terms of the data.
        citation: Whom to cite.
        local: A file in the folder TEXTCL_DATA for each part of the data.
        classes: Labels, in the order that gives them their numbers; empty where there are none.
        published_as: What published rows of this protocol call the task; its name when empty.
        note: Printed beside every score of this task.
    """

    name: str
    label: str
    kind: str
    metric: str
    protocol: str
    licence: str
    citation: str
    local: Mapping[str, DataFile]
    classes: Sequence[str] = field(default_factory=tuple[str, ...])
    published_as: str = ""
    note: str = ""

    def file(self, part: str) -> Path:
        """The file of a part of the data, once its rows and hash are checked.

        Raises:
            UserError: If there is no TEXTCL_DATA, or the file there is not the one of the manifest.
        """
        about = self.local[part]
        path = self._root() / about.path
        check_local(path, about.rows, about.sha256, _REMEDY)
        return path

    def columns(self, part: str) -> Columns:
        """Columns of a part by role.

        Raises:
            UserError: As `file`.
        """
        about = self.local[part]
        return read_local(self._root() / about.path, about.rows, about, _REMEDY)

    def source(self) -> str:
        """The copy that is read."""
        return ", ".join(f"TEXTCL_DATA/{about.path}" for about in self.local.values())

    def _root(self) -> Path:
        root = os.environ.get("TEXTCL_DATA")
        if not root:
            about = next(iter(self.local.values()))
            raise UserError(
                f"{self.name} has no copy on the hub: set TEXTCL_DATA to the folder that holds {about.path} "
                f"({about.rows:,} rows)"
            )
        return Path(root)


def suite_manifests() -> dict[str, SuiteManifest]:
    """Every task of a suite by name; graded pairs and labelled texts are in `textcl.evaluation`."""
    return {each.name: each for each in read_manifests(SuiteManifest, SUITE_KINDS)}
