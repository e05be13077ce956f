"""The folder of a run: what was asked, what was measured, and the weights.

settings.json   recipe, settings, data, versions, command
metrics.jsonl   one line every few updates
scores.json     dev scores before, best and last, with protocol and seed
best/ last/     encoders, as sentence-transformers folders
checkpoints/    what `--resume` needs
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from textcl.errors import UserError


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run and the small files in it.

    Args:
        path: The folder.
    """

    path: Path

    @classmethod
    def create(cls, path: Path, facts: Mapping[str, Any], *, overwrite: bool = False) -> RunFolder:
        """A new run folder with its settings.

        Args:
            path: Where; must not exist or be empty, unless `overwrite`.
            facts: Content of settings.json.
            overwrite: Remove what is there, if it is a run.

        Raises:
            UserError: If something is there already.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            is_run = (path / "settings.json").exists()
            if not (overwrite and is_run):
                way = (
                    "--overwrite replaces it, --resume goes on with it"
                    if is_run
                    else "choose another"
                )
                raise UserError(f"output {path} exists already: {way}")
            shutil.rmtree(path)
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / "settings.json", facts)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run.

        Raises:
            UserError: If there is none.
        """
        if not (path / "settings.json").exists():
            raise UserError(f"{path} is no run: it has no settings.json")
        return cls(path)

    @property
    def facts(self) -> dict[str, Any]:
        """Content of settings.json."""
        return json.loads((self.path / "settings.json").read_text(encoding="utf-8"))

    @property
    def best(self) -> Path:
        """The encoder with the best dev score."""
        return self.path / "best"

    @property
    def last(self) -> Path:
        """The encoder at the end."""
        return self.path / "last"

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are."""
        return self.path / "checkpoints"

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return bool(self.scores().get("finished"))

    def scores(self) -> dict[str, Any]:
        """Content of scores.json, empty before it is written."""
        path = self.path / "scores.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def write_scores(self, scores: Mapping[str, Any]) -> None:
        """Replace scores.json."""
        write_json(self.path / "scores.json", scores)

    def log(self, line: Mapping[str, Any]) -> None:
        """Append a line to metrics.jsonl."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def logged(self) -> int:
        """Bytes in metrics.jsonl."""
        path = self.path / "metrics.jsonl"
        return path.stat().st_size if path.exists() else 0

    def truncate_log(self, size: int) -> None:
        """Forget what was logged after a checkpoint."""
        if self.logged() > size:
            os.truncate(self.path / "metrics.jsonl", size)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    part.replace(path)
