"""A folder of vectors: its manifest, and its shards, which are checked before they are used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float

from textcl.data.files import file_sha256
from textcl.data.json_files import read_as
from textcl.data.vectors import VECTOR_FORMATS, VectorType
from textcl.errors import UserError

MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True)
class VectorJob:
    """Facts that all shards of a folder of vectors share.

    Args:
        model_sha256: Hash of the model folder.
        data_sha256: Hash of the files of the input; None where it has none.
        columns: Role to column of the input, as they were asked for.
        limit: Rows of the input that are taken; all when None.
        prompt: Name of the prompt; the model's default when None.
        prompt_text: A text put in front instead.
        truncate_dim: Leading dimensions that are kept; the model's own way when None.
        normalize: Whether vectors have length 1; the model's own way when None.
        precision: Arithmetic of the encoder; what the machine is fast at when None.
        dtype: Type of the numbers.
        format: Ending of a shard's file.
        rows_per_shard: Rows of every shard but the last.
    """

    model_sha256: str
    data_sha256: str | None = None
    columns: dict[str, str] = field(default_factory=dict[str, str])
    limit: int | None = None
    prompt: str | None = None
    prompt_text: str | None = None
    truncate_dim: int | None = None
    normalize: bool | None = None
    precision: str | None = None
    dtype: VectorType = "float32"
    format: str = "npy"
    rows_per_shard: int = 100_000

    def __post_init__(self) -> None:
        if self.format not in VECTOR_FORMATS:
            raise UserError(
                f"expected shards of one of {', '.join(VECTOR_FORMATS)}, got {self.format!r}"
            )


@dataclass(frozen=True)
class Shard:
    """A finished file of vectors.

    Args:
        index: Its place in the folder's order.
        rows: Vectors.
        blank: Texts among them without a word.
        truncated: Texts among them that are longer than the model reads.
        bytes: Size of the file.
        modified_ns: When it was written, in nanoseconds.
        sha256: Hash of the file.
    """

    index: int
    rows: int
    blank: int
    truncated: int
    bytes: int
    modified_ns: int
    sha256: str


@dataclass(frozen=True)
class Share:
    """The shards that one job of an array takes: each `of`-th.

    Args:
        number: Which job, from 1.
        of: How many jobs there are.
    """

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Share:
        """Read "3/16".

        Raises:
            UserError: If it is something else.
        """
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise UserError(f"expected the job and how many there are, such as 3/16, got {text!r}")
        return cls(int(number), int(of))

    @property
    def manifest(self) -> str:
        """Name of the job's manifest."""
        return MANIFEST_FILE if self.of == 1 else f"manifest.{self.number}-of-{self.of}.json"

    def takes(self, index: int) -> bool:
        """Whether the job makes the shard of this index."""
        return index % self.of == self.number - 1


@dataclass(frozen=True)
class Manifest:
    """The content of a folder of shards.

    Args:
        job: What the vectors are.
        share_of: How many jobs wrote it together.
        complete: Whether every row of the input, or of the job's share of it, has its vector.
        shards: Those that are finished, in order.
    """

    job: VectorJob
    share_of: int = 1
    complete: bool = False
    shards: tuple[Shard, ...] = ()

    @property
    def rows(self) -> int:
        """Vectors of all finished shards."""
        return sum(shard.rows for shard in self.shards)

    @property
    def blank(self) -> int:
        """Texts without a word, of all finished shards."""
        return sum(shard.blank for shard in self.shards)

    @property
    def truncated(self) -> int:
        """Texts longer than the model reads, of all finished shards."""
        return sum(shard.truncated for shard in self.shards)


@dataclass(frozen=True)
class VectorFolder:
    """A folder of shards.

    Args:
        path: The folder.
        manifest: What it holds.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: str | Path) -> VectorFolder:
        """The finished vectors of a folder.

        Raises:
            UserError: If it is no such folder, it is damaged, or jobs that share it have not ended.
        """
        path = Path(path)
        if not (path / MANIFEST_FILE).is_file():
            begun = sorted(path.glob("manifest.*-of-*.json"))
            why = (
                f"only {len(begun)} of its jobs have ended" if begun else "it has no manifest.json"
            )
            raise UserError(f"{path} is not a whole folder of vectors: {why}")
        folder = cls(path, read_as(path / MANIFEST_FILE, Manifest))
        for shard in folder.manifest.shards:
            folder.check(shard)
        return folder

    def file(self, index: int) -> Path:
        """The file of a shard."""
        return self.path / f"{index:06d}.{self.manifest.job.format}"

    def check(self, shard: Shard) -> None:
        """Refuse a shard that is not as it was written; reads it only where its size or time differ.

        Raises:
            UserError: If it is gone or changed.
        """
        path = self.file(shard.index)
        if not path.is_file():
            raise UserError(f"{path} is gone: copy it back, or --overwrite to encode anew")
        state = path.stat()
        if (state.st_size, state.st_mtime_ns) == (shard.bytes, shard.modified_ns):
            return
        if state.st_size != shard.bytes or file_sha256(path) != shard.sha256:
            raise UserError(
                f"{path} was changed since it was written: copy it back, remove the line of shard {shard.index} in "
                f"{self.path / MANIFEST_FILE}, or --overwrite to encode anew"
            )

    def vectors(self) -> Iterator[Float[np.ndarray, "N D"]]:
        """The vectors of every shard in order, mapped into memory.

        Raises:
            UserError: If the shards are no npy files.
        """
        if self.manifest.job.format != "npy":
            raise UserError(
                f"{self.path} holds {self.manifest.job.format} files: read them with their own library"
            )
        for shard in self.manifest.shards:
            yield np.load(self.file(shard.index), mmap_mode="r")
