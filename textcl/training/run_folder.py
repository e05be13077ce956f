"""The folder of a run: what was asked, what was measured, and the weights.

settings.json   recipe, settings, data, versions, command
metrics.jsonl   one line every few updates
scores.json     dev scores before, best and last, with protocol and seed
best/ last/     encoders, as sentence-transformers folders
checkpoints/    what `--resume` needs
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from textcl.data.files import write_json
from textcl.data.json_files import parse, read_as, read_text
from textcl.data.json_text import to_json_line
from textcl.data.lock import sole_writer
from textcl.errors import UserError
from textcl.training.facts import LogLine, RunFacts, Scores, log_lines
from textcl.training.replaced import set_aside


def model_card(facts: RunFacts) -> dict[str, object]:
    """Facts of a run for its model card: enough to do it again, and no folder of this machine."""
    data, common = facts.data, facts.common
    start, source = _last_part(common.model), _last_part(data.source)
    return {
        "name": f"{start}, {_last_part(facts.recipe)}",
        "recipe": _last_part(facts.recipe),
        "data": f"{source}, {data.extent}, sha256 {data.sha256}",
        "dev": facts.dev,
        "seed": facts.seed,
        "precision": facts.precision,
        "processes": facts.processes,
        "command": facts.command,
        "settings": {
            **facts.settings,
            "model": start,
            "data": source,
            "dev": _last_part(common.dev),
        },
    }


def _last_part(name: str) -> str:
    return Path(name).name if Path(name).is_absolute() else name


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run and the small files in it.

    Args:
        path: The folder.
    """

    path: Path

    @classmethod
    def create(cls, path: Path, facts: RunFacts, *, overwrite: bool = False) -> RunFolder:
        """A new run folder with its settings.

        Args:
            path: Where; must not exist or be empty, unless `overwrite`.
            facts: Content of settings.json.
            overwrite: Set aside what is there, if it is a run: see `textcl.training.replaced`.

        Raises:
            UserError: If something is there already.
        """
        cls.require_free(path, overwrite=overwrite)
        if path.exists() and any(path.iterdir()):
            set_aside(path, cls(path).has_saved)
        path.mkdir(parents=True, exist_ok=True)
        write_json(path / "settings.json", facts.to_json())
        return cls(path)

    @staticmethod
    def require_free(path: Path, *, overwrite: bool = False) -> None:
        """Refuse a folder that no run may be written to, before any work is done for it.

        Args:
            path: Where; must not exist or be empty, unless `overwrite`.
            overwrite: Whether a run that is there may be replaced.

        Raises:
            UserError: If something is there already.
        """
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            return
        is_run = (path / "settings.json").exists()
        if not (overwrite and is_run):
            way = (
                "--overwrite replaces it, --resume goes on with it" if is_run else "choose another"
            )
            raise UserError(f"output {path} exists already: {way}")

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run.

        Raises:
            UserError: If there is none.
        """
        if not (path / "settings.json").exists():
            raise UserError(f"{path} is no run: it has no settings.json")
        return cls(path)

    def sole_writer(self) -> AbstractContextManager[None]:
        """Keep a second process from training into the folder."""
        return sole_writer(self.checkpoints / ".lock", f"the run in {self.path}")

    @property
    def facts(self) -> RunFacts:
        """The request of the run.

        Raises:
            UserError: If settings.json cannot be read; names the place.
        """
        path = self.path / "settings.json"
        return RunFacts.from_json(parse(read_text(path), str(path)), str(path))

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
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def has_saved(self) -> bool:
        """Whether there is anything to go on from, or a result."""
        kept = self.checkpoints.is_dir() and any(self.checkpoints.glob("step-*[0-9]"))
        return kept or self.best.is_dir() or self.last.is_dir()

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.scores().finished

    def scores(self) -> Scores:
        """The scores, all undefined before scores.json is written.

        Raises:
            UserError: If scores.json cannot be read; names the place.
        """
        path = self.path / "scores.json"
        return read_as(path, Scores) if path.exists() else Scores()

    def write_scores(self, scores: Scores) -> None:
        """Replace scores.json."""
        write_json(self.path / "scores.json", scores.to_json())

    def log_lines(self) -> list[LogLine]:
        """Lines of metrics.jsonl; none before it is written.

        Raises:
            UserError: If a line but a half-written last one cannot be read; names the line.
        """
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        return log_lines(content, str(path))

    def log(self, line: Mapping[str, object]) -> None:
        """Append a line to metrics.jsonl."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(to_json_line(line) + "\n")

    def empty_log(self) -> None:
        """Leave a log without a line, which a run without an update has."""
        (self.path / "metrics.jsonl").write_bytes(b"")

    def logged(self) -> int:
        """Bytes in metrics.jsonl."""
        path = self.path / "metrics.jsonl"
        return path.stat().st_size if path.exists() else 0

    def truncate_log(self, size: int) -> None:
        """Forget what was logged after a checkpoint."""
        if self.logged() > size:
            os.truncate(self.path / "metrics.jsonl", size)
