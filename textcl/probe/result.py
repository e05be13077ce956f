"""The result of a probe: all models that were measured on the same texts, and its file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from textcl.data.json_files import read_as
from textcl.probe.numbers import Space
from textcl.probe.texts import TextFacts

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class ProbedModel(Space):
    """A model's space on the texts of a probe.

    Args:
        model: As the user named it.
        whitening: What the whitening was fitted on; None without one.
    """

    model: str
    whitening: str | None


@dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """The file that `textcl probe --json` writes.

    Args:
        data: What the texts are.
        bins: Of all histograms.
        range: Of all histograms: the lowest and the highest cosine.
        models: In the order given.
        precision: Of the encoders.
        versions: Versions of the libraries that decide a number.
        command: Command line.
        kind: What the file is.
        format: Version of the layout.
    """

    data: TextFacts
    bins: int
    range: Sequence[float]
    models: Sequence[ProbedModel]
    precision: str
    versions: Mapping[str, str]
    command: str
    kind: Literal["textcl-probe"] = "textcl-probe"
    format: int = FORMAT

    @classmethod
    def read(cls, path: Path) -> ProbeResult:
        """The result that a file holds.

        Raises:
            UserError: If there is no such file, or it holds anything else.
        """
        return read_as(path, cls)
