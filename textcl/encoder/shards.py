"""A folder of vectors in shards: continued by the same command, shared by the jobs of an array.

Shard k holds rows k·R to (k + 1)·R of the input. It appears whole under its name, and then in the manifest; a process
that dies loses the shard it was at. The jobs of an array take shards in turn, each with a manifest of its own, and the
last one to end joins them.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, count, islice
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from textcl.data.files import check_writable, write_json
from textcl.data.lock import sole_writer
from textcl.data.sources import Source
from textcl.data.stream import StreamedRow
from textcl.data.typed_json import read_as
from textcl.data.vectors import VECTOR_FORMATS
from textcl.encoder.to_file import EncodeOptions, EncodesFiles, encode_rows
from textcl.errors import UserError

MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True)
class VectorJob:
    """What the vectors of a folder are; all of its shards have it in common.

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
        format: Ending of a shard's file.
        rows_per_shard: Rows of every shard but the last.
    """

    model_sha256: str
    data_sha256: str | None = None
    columns: dict[str, str] = dataclasses.field(default_factory=dict[str, str])
    limit: int | None = None
    prompt: str | None = None
    prompt_text: str | None = None
    truncate_dim: int | None = None
    normalize: bool | None = None
    precision: str | None = None
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
    """What a folder of shards holds.

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
        if state.st_size != shard.bytes or _sha256(path) != shard.sha256:
            raise UserError(
                f"{path} was changed since it was written: copy it back, remove the line of shard {shard.index} in "
                f"{self.path / MANIFEST_FILE}, or --overwrite to encode anew"
            )

    def vectors(self) -> Iterator[Float32[np.ndarray, "N D"]]:
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


def encode_shards(
    encoder: Callable[[], EncodesFiles],
    rows: Iterator[StreamedRow],
    path: Path,
    job: VectorJob,
    *,
    source: Source,
    share: Share | None = None,
    overwrite: bool = False,
    batch_tokens: int | None = None,
    progress: Callable[[int], None] = lambda rows: None,
    stop: Callable[[], bool] = lambda: False,
) -> Manifest:
    """Write the vectors of rows into a folder of shards, and go on where an earlier process stopped.

    Args:
        encoder: Loads what makes the vectors; not called if nothing is left to do.
        rows: All rows of the input.
        path: The folder.
        job: What the vectors are.
        source: The input, for the types of its columns.
        share: The shards to make; all when None.
        overwrite: Whether vectors of another job may be replaced.
        batch_tokens: As for `encoder.encode`.
        progress: Called with the rows that were done since the last call.
        stop: Asked after every shard; True ends the job there.

    Returns:
        The manifest of the share.

    Raises:
        UserError: If the folder holds other vectors, a shard was changed, or another process writes it.
        RunError: If the disk fills up, or a vector is not finite.
    """
    share = share or Share()
    if overwrite and share.of > 1:
        raise UserError(
            f"--overwrite would remove what the other jobs write: remove {path} before they start"
        )
    check_writable(path)
    with sole_writer(path / f".{share.manifest}.lock", f"{path}"):
        if overwrite:
            _clear(path)
        folder = VectorFolder(path, _begin(path, job, share))
        done = {shard.index: shard for shard in folder.manifest.shards}
        for shard in done.values():
            folder.check(shard)
        if folder.manifest.complete:
            return folder.manifest
        loaded: EncodesFiles | None = None
        rows = islice(rows, job.limit)
        for index in count():
            if stop():
                return folder.manifest
            block = islice(rows, job.rows_per_shard)
            first = next(block, None)
            if first is None:
                folder = _save(folder, share, done, complete=True)
                break
            if index in done or not share.takes(index):
                deque(block, maxlen=0)
                continue
            loaded = loaded or encoder()
            block = chain([first], block)
            done[index] = _write(folder, index, loaded, block, source, batch_tokens, progress)
            folder = _save(folder, share, done, complete=False)
    if share.of > 1:
        _join(path, job, share)
    return folder.manifest


def finished_rows(path: Path, share: Share) -> int:
    """Rows that earlier processes of a job have finished in a folder."""
    file = path / share.manifest
    return read_as(file, Manifest).rows if file.is_file() else 0


def _begin(path: Path, job: VectorJob, share: Share) -> Manifest:
    """The manifest of an earlier process, or an empty one."""
    whole_first = sorted(path.glob("manifest*.json"), key=lambda file: file.name != MANIFEST_FILE)
    for file in whole_first:
        other = read_as(file, Manifest)
        if other.job != job:
            raise UserError(f"{path} holds other vectors ({_difference(other.job, job)}): {_WAYS}")
        if file.name == share.manifest or (file.name == MANIFEST_FILE and other.complete):
            return other
        if other.share_of != share.of:
            raise UserError(
                f"{path} was begun by {other.share_of} jobs together, not {share.of}: {_WAYS}"
            )
    return Manifest(job, share.of)


_WAYS = "give the same options and input as before, name another folder, or --overwrite"


def _difference(old: VectorJob, new: VectorJob) -> str:
    for field in dataclasses.fields(VectorJob):
        before, now = getattr(old, field.name), getattr(new, field.name)
        if before != now:
            if field.name == "model_sha256":
                return "of another model"
            if field.name == "data_sha256":
                return "the input was changed since they were begun"
            return f"{field.name} was {before!r} and is {now!r}"
    return ""


def _write(
    folder: VectorFolder,
    index: int,
    encoder: EncodesFiles,
    rows: Iterator[StreamedRow],
    source: Source,
    batch_tokens: int | None,
    progress: Callable[[int], None],
) -> Shard:
    job, target = folder.manifest.job, folder.file(index)
    options: EncodeOptions = {}
    if job.normalize is not None:
        options["normalize"] = job.normalize
    if job.precision is not None:
        options["precision"] = job.precision
    if batch_tokens is not None:
        options["batch_tokens"] = batch_tokens
    summary = encode_rows(
        encoder,
        rows,
        target,
        schema=source.schema(),
        overwrite=True,
        progress=progress,
        prompt=job.prompt,
        prompt_text=job.prompt_text,
        truncate_dim=job.truncate_dim,
        **options,
    )
    state = target.stat()
    return Shard(
        index,
        summary.rows,
        summary.blank,
        summary.truncated,
        state.st_size,
        state.st_mtime_ns,
        _sha256(target),
    )


def _save(
    folder: VectorFolder, share: Share, done: dict[int, Shard], *, complete: bool
) -> VectorFolder:
    shards = tuple(done[index] for index in sorted(done))
    manifest = Manifest(folder.manifest.job, share.of, complete, shards)
    write_json(folder.path / share.manifest, dataclasses.asdict(manifest))
    return VectorFolder(folder.path, manifest)


def _join(path: Path, job: VectorJob, share: Share) -> None:
    """Make one manifest of those of all jobs, once the last has ended."""
    files = [path / Share(number, share.of).manifest for number in range(1, share.of + 1)]
    if not all(file.is_file() for file in files):
        return
    manifests = [read_as(file, Manifest) for file in files]
    if all(manifest.complete for manifest in manifests):
        done = {shard.index: shard for manifest in manifests for shard in manifest.shards}
        _save(VectorFolder(path, Manifest(job)), Share(), done, complete=True)


def _clear(path: Path) -> None:
    """Remove the manifests of a folder and the shards that they name, and nothing else."""
    files = sorted(path.glob("manifest*.json"))
    for file in files:
        folder = VectorFolder(path, read_as(file, Manifest))
        for shard in folder.manifest.shards:
            folder.file(shard.index).unlink(missing_ok=True)
    for file in files:
        file.unlink()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
