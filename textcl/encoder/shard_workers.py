"""Workers that make shards: this process, or one process for each device."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import active_children, get_context
from multiprocessing.queues import SimpleQueue
from typing import Protocol, runtime_checkable

import pyarrow
import torch

from textcl.data.files import file_sha256
from textcl.data.stream import StreamedRow
from textcl.encoder.to_file import EncodeOptions, EncodesFiles, encode_rows
from textcl.encoder.vector_folder import Shard, VectorFolder
from textcl.errors import RunError, UserError

Block = tuple[int, Iterator[StreamedRow]]
"""Index of a shard, and its rows."""

Loader = Callable[[], EncodesFiles]
"""Loads an encoder."""

_STOPS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True)
class ShardWriter:
    """Writes single shards of a folder.

    Args:
        folder: The folder, with what its vectors are.
        schema: Types of the input's columns, for parquet.
        batch_tokens: As for `encoder.encode`.
    """

    folder: VectorFolder
    schema: pyarrow.Schema | None = None
    batch_tokens: int | None = None

    def from_anywhere(self) -> ShardWriter:
        """The same writer for processes that were started in another folder."""
        return replace(self, folder=replace(self.folder, path=self.folder.path.absolute()))

    def write(
        self,
        encoder: EncodesFiles,
        index: int,
        rows: Iterator[StreamedRow],
        progress: Callable[[int], None] = lambda rows: None,
    ) -> Shard:
        """Make one shard: it appears whole under its name, or not at all.

        Args:
            encoder: Makes the vectors.
            index: Which shard.
            rows: Its rows.
            progress: Called with the rows that were done since the last call.

        Raises:
            UserError: If a row is wrong, or the model has no such prompt.
            RunError: If the disk fills up, or a vector is not finite.
        """
        job, target = self.folder.manifest.job, self.folder.file(index)
        options: EncodeOptions = {}
        if job.normalize is not None:
            options["normalize"] = job.normalize
        if job.precision is not None:
            options["precision"] = job.precision
        if self.batch_tokens is not None:
            options["batch_tokens"] = self.batch_tokens
        summary = encode_rows(
            encoder,
            rows,
            target,
            schema=self.schema,
            overwrite=True,
            progress=progress,
            prompt=job.prompt,
            prompt_text=job.prompt_text,
            truncate_dim=job.truncate_dim,
            dtype=job.dtype,
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


@runtime_checkable
class Workers(Protocol):
    """Workers that make the shards of a folder."""

    def write(
        self,
        load: Loader,
        writer: ShardWriter,
        blocks: Iterator[Block],
        progress: Callable[[int], None],
    ) -> Iterator[Shard]:
        """Make a shard of every block, in any order.

        Args:
            load: Loads the encoder; not called if there is no block.
            writer: Writes a shard.
            blocks: What is to be made, read no further than workers are free.
            progress: Called with the rows that were done since the last call.
        """
        ...


class ThisProcess:
    """Makes one shard after the other."""

    def write(
        self,
        load: Loader,
        writer: ShardWriter,
        blocks: Iterator[Block],
        progress: Callable[[int], None],
    ) -> Iterator[Shard]:
        """As `Workers.write`."""
        encoder: EncodesFiles | None = None
        for index, rows in blocks:
            encoder = encoder or load()
            yield writer.write(encoder, index, rows, progress)


class DeviceProcesses:
    """Makes shards in one process for each GPU, or in several that share the cores of a machine without one.

    Args:
        devices: How many; all GPUs when None.

    Raises:
        UserError: If the machine has not as many.
    """

    def __init__(self, devices: int | None = None) -> None:
        self.gpus = _visible_gpus()
        self.devices = devices or len(self.gpus) or 1
        if self.gpus and self.devices > len(self.gpus):
            raise UserError(
                f"expected at most {len(self.gpus)} devices, as many GPUs as this machine shows, got {self.devices}"
            )
        cores = os.cpu_count() or 1
        if not self.gpus and self.devices > cores:
            raise UserError(
                f"this machine has no GPU and {cores} cores: expected at most as many processes, got {self.devices}"
            )

    def write(
        self,
        load: Loader,
        writer: ShardWriter,
        blocks: Iterator[Block],
        progress: Callable[[int], None],
    ) -> Iterator[Shard]:
        """As `Workers.write`; a block is sent to a process as soon as one is free."""
        context = get_context("spawn")
        places: SimpleQueue[str] = context.SimpleQueue()
        for place in range(self.devices):
            places.put(self.gpus[place] if self.gpus else "")
        threads = max(1, torch.get_num_threads() // self.devices)
        running: set[Future[Shard]] = set()
        try:
            with ProcessPoolExecutor(
                self.devices, context, _begin, (load, writer, places, threads)
            ) as pool:
                try:
                    for index, rows in blocks:
                        block = list(rows)
                        with (
                            _signals_held()
                        ):  # a process that starts would die of them in its imports
                            running.add(pool.submit(_make, index, block))
                        if len(running) > self.devices:  # one block waits, so that no device does
                            yield from _finished(running, progress)
                    while running:
                        yield from _finished(running, progress)
                except (
                    BaseException
                ):  # a second signal, or a shard that cannot be made: not to be waited for
                    for child in active_children():
                        child.kill()
                    raise
        except BrokenProcessPool as error:
            raise RunError(
                "an encoding process has died, perhaps out of memory: the same command goes on with the "
                "shards that are missing"
            ) from error


@contextmanager
def _signals_held() -> Generator[None]:
    """Let Ctrl-C and SIGTERM wait until the block is done; a process that it starts never gets them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _visible_gpus() -> list[str]:
    """Names of the GPUs as CUDA_VISIBLE_DEVICES would have them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if named and torch.cuda.is_available():
        return named.split(",")[: torch.cuda.device_count()]
    return [str(place) for place in range(torch.cuda.device_count())]


def _finished(running: set[Future[Shard]], progress: Callable[[int], None]) -> Iterator[Shard]:
    done, _ = wait(running, return_when=FIRST_COMPLETED)
    for future in done:
        running.remove(future)
        shard = future.result()
        progress(shard.rows)
        yield shard


@dataclass
class ShardMaker:
    """State that a process keeps between two shards: its encoder, loaded for the first of them.

    Args:
        load: Loads the encoder.
        writer: Writes a shard.
    """

    load: Loader
    writer: ShardWriter
    encoder: EncodesFiles | None = None

    def make(self, index: int, rows: list[StreamedRow]) -> Shard:
        """Make one shard."""
        self.encoder = self.encoder or self.load()
        return self.writer.write(self.encoder, index, iter(rows))


_process: ShardMaker | None = None
"""Set in the processes of `DeviceProcesses` alone."""


def _begin(load: Loader, writer: ShardWriter, places: SimpleQueue[str], threads: int) -> None:
    """Begin a process: it takes the next device, and leaves signals to the one that waits for it."""
    global _process
    for number in _STOPS:
        signal.signal(number, signal.SIG_IGN)
    place = places.get()
    if place:
        os.environ["CUDA_VISIBLE_DEVICES"] = place  # read when CUDA starts, which it has not
    torch.set_num_threads(threads)
    _process = ShardMaker(load, writer)


def _make(index: int, rows: list[StreamedRow]) -> Shard:
    assert _process
    return _process.make(index, rows)
