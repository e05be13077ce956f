"""Rows in, a folder of shards out: continued by the same command, shared by the jobs of an array.

Shard k holds rows k·R to (k + 1)·R of the input. It appears whole under its name, and then in the manifest; a process
that dies loses the shard it was at. The jobs of an array take shards in turn, each with a manifest of its own, and the
last one to end joins them.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain, count, islice
from pathlib import Path

from textcl.data.files import check_writable, full_disk_named, write_json
from textcl.data.json_files import read_as
from textcl.data.lock import sole_writer
from textcl.data.sources import Source
from textcl.data.stream import StreamedRow
from textcl.encoder.shard_workers import Block, ShardWriter, ThisProcess, Workers
from textcl.encoder.to_file import EncodesFiles
from textcl.encoder.vector_folder import (
    MANIFEST_FILE,
    Manifest,
    Shard,
    Share,
    VectorFolder,
    VectorJob,
)
from textcl.errors import UserError


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
    workers: Workers | None = None,
    progress: Callable[[int], None] = lambda rows: None,
    stop: Callable[[], bool] = lambda: False,
) -> Manifest:
    """Write the vectors of rows into a folder of shards, and go on where an earlier process stopped.

    Args:
        encoder: Loads what makes the vectors, in each worker; not called if nothing is left to do.
        rows: All rows of the input.
        path: The folder.
        job: What the vectors are.
        source: The input, for the types of its columns.
        share: The shards to make; all when None.
        overwrite: Whether vectors of another job may be replaced.
        batch_tokens: As for `encoder.encode`.
        workers: Where shards are made; in this process when None.
        progress: Called with the rows that were done since the last call.
        stop: Asked before every shard; True begins no other.

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
    _check_vectors_alone(path)
    kept = f"the finished shards of {path} are kept; once there is room the same command goes on with the rest"
    with full_disk_named(kept), sole_writer(path / f".{share.manifest}.lock", f"{path}"):
        if overwrite:
            _clear(path)
        folder = VectorFolder(path, _begin(path, job, share))
        done = {shard.index: shard for shard in folder.manifest.shards}
        for shard in done.values():
            folder.check(shard)
        if folder.manifest.complete:
            return folder.manifest
        left = _Blocks(rows, job, share, frozenset(done), stop)
        writer = ShardWriter(folder, source.schema(), batch_tokens)
        for shard in (workers or ThisProcess()).write(encoder, writer, iter(left), progress):
            done[shard.index] = shard
            folder = _save(folder, share, done, complete=False)
        if not left.ended:
            return folder.manifest
        folder = _save(folder, share, done, complete=True)
    if share.of > 1:
        _join(path, job, share)
    return folder.manifest


class _Blocks:
    """The rows of each shard that is still to be made, read as they are asked for.

    Args:
        rows: All rows of the input.
        job: What the vectors are.
        share: The shards to make.
        done: Those that are finished.
        stop: Whether to begin no other.
    """

    def __init__(
        self,
        rows: Iterator[StreamedRow],
        job: VectorJob,
        share: Share,
        done: frozenset[int],
        stop: Callable[[], bool],
    ) -> None:
        self.rows, self.job, self.share, self.done, self.stop = rows, job, share, done, stop
        self.ended = False
        """Whether the input came to its end."""

    def __iter__(self) -> Iterator[Block]:
        rows = islice(self.rows, self.job.limit)
        for index in count():
            if self.stop():
                return
            block = islice(rows, self.job.rows_per_shard)
            first = next(block, None)
            if first is None:
                self.ended = True
                return
            if index not in self.done and self.share.takes(index):
                yield index, chain([first], block)
            deque(block, maxlen=0)  # what was not asked for


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


def _check_vectors_alone(path: Path) -> None:
    """Refuse a folder of something else, such as a model or the working directory, before anything is put into it."""
    known = any(path.glob("manifest*.json"))
    other = (
        []
        if known or not path.is_dir()
        else [file for file in path.iterdir() if file.name[0] != "."]
    )
    if other:
        raise UserError(
            f"{path} holds other files, such as {min(other).name}, and no manifest of vectors: name a new folder"
        )


def _clear(path: Path) -> None:
    """Remove the manifests of a folder and the shards that they name, and nothing else."""
    files = sorted(path.glob("manifest*.json"))
    for file in files:
        folder = VectorFolder(path, read_as(file, Manifest))
        for shard in folder.manifest.shards:
            folder.file(shard.index).unlink(missing_ok=True)
    for file in files:
        file.unlink()
