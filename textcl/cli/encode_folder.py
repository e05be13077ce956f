"""The part of `textcl encode` that writes a folder of shards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from textcl.cli.command import StoppedError, finish_first
from textcl.errors import UserError
from textcl.progress import progress
from textcl.terminal import counted

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from textcl.data.sources import Source
    from textcl.data.stream import StreamedRow
    from textcl.encoder.shard_workers import Workers
    from textcl.encoder.to_file import EncodesFiles
    from textcl.encoder.vector_folder import Manifest, Share, VectorJob


def workers_of(devices: str | None, ray: str | None) -> Workers | None:
    """Workers that make the shards, by `--devices` and `--ray`; this process when None.

    Raises:
        UserError: If both are given, or the machine has not as many devices.
    """
    if devices is None and ray is None:
        return None
    if ray is not None:
        if devices is not None:
            raise UserError("--ray takes the devices of the cluster: leave --devices out")
        from textcl.ray import RayWorkers

        return RayWorkers(ray)
    from textcl.encoder.shard_workers import DeviceProcesses

    if devices == "all":
        return DeviceProcesses()
    if devices is None or not devices.isdecimal() or int(devices) < 1:
        raise UserError(f"--devices: expected all or a number from 1, got {devices!r}")
    return DeviceProcesses(int(devices))


def encode_folder(
    load: Callable[[], EncodesFiles],
    source: Source,
    rows: Iterator[StreamedRow],
    folder: Path,
    job: VectorJob,
    share: Share,
    start_workers: Callable[[], Workers | None],
    log: Console,
    *,
    overwrite: bool,
    batch_tokens: int | None,
    quiet: bool,
) -> None:
    """Write shards until none is left, or until the end of those in which a signal came.

    Vectors of a job without a precision are computed in that which the machine is fast at.

    Raises:
        UserError: If the source cannot be read twice, or as `encode_shards`.
        StoppedError: If a signal came.
    """
    from textcl.encoder.finished import finished_manifest

    if not source.files:
        raise UserError(
            f"{source.name} cannot be read a second time, as continuing needs: save it as a file, or write one file"
        )
    finished = None if overwrite else finished_manifest(folder, job, share)
    if finished is not None:
        log.print(f"{_extent(folder, finished)}; all of them were finished before")
        return
    from textcl.encoder.precision import usual_precision
    from textcl.encoder.shards import encode_shards, finished_rows

    workers = start_workers()
    job = replace(job, precision=job.precision or usual_precision())
    before = 0 if overwrite else finished_rows(folder, share)
    if before:
        log.print(f"{folder}: {before:,} rows are finished, going on")
    total = source.count_rows() if share.of == 1 else None
    if total is not None:
        total = min(total, job.limit or total) - before
    start = time.perf_counter()
    with finish_first(log, "the shard") as stop:
        with progress("encoding", "sentences", total=total, show=not quiet, console=log) as advance:
            manifest = encode_shards(
                load,
                rows,
                folder,
                job,
                source=source,
                share=share,
                overwrite=overwrite,
                batch_tokens=batch_tokens,
                workers=workers,
                progress=advance,
                stop=lambda: bool(stop.signal_number),
            )
        if not manifest.complete:
            shards = counted(len(manifest.shards), "shard")
            kept = f"{counted(manifest.rows, 'row')} in {shards} of {folder} are finished"
            raise StoppedError(
                f"stopped; {kept}: the same command goes on with the rest", stop.signal_number
            )
    seconds = time.perf_counter() - start
    log.print(
        f"{_extent(folder, manifest)}; {manifest.rows - before:,} of them now in {seconds:.1f} s"
    )


def _extent(folder: Path, manifest: Manifest) -> str:
    """Line on the contents of a folder."""
    notes = [
        f"{folder}: {counted(manifest.rows, 'row')} in {counted(len(manifest.shards), 'shard')}",
        f"{counted(manifest.truncated, 'text')} cut" if manifest.truncated else "",
        f"{manifest.blank:,} blank, taken as the empty text" if manifest.blank else "",
    ]
    return "; ".join(filter(None, notes))
