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

from textcl.data.files import check_writable, write_json
from textcl.data.json_files import read_as
from textcl.data.lock import sole_writer
from textcl.data.sources import Source
from textcl.data.stream import StreamedRow
from textcl.encoder.to_file import EncodeOptions, EncodesFiles, encode_rows
from textcl.encoder.vector_folder import (
    MANIFEST_FILE,
    Manifest,
    Shard,
    Share,
    VectorFolder,
    VectorJob,
    file_sha256,
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
        file_sha256(target),
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
