"""Encoding on a Ray cluster, whose scheduling, retries and spilling are Ray's: its data sets, or a folder's shards."""

from __future__ import annotations

import importlib.util
import logging
import socket
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Unpack, cast
from urllib.parse import urlsplit

import numpy as np

from textcl.encoder.hub import name_anywhere
from textcl.encoder.shard_workers import Block, Loader, ShardMaker, ShardWriter
from textcl.encoder.to_file import EncodeOptions
from textcl.encoder.vector_folder import Shard
from textcl.errors import RunError, UserError
from textcl.export.load import load_encoder

if TYPE_CHECKING:
    from ray.data import Dataset
    from ray.util import ActorPool

RETRIES = 3
"""Times that Ray makes a shard again whose worker died."""

VECTOR_COLUMN = "vector"

_PATIENCE = 10.0  # seconds


def encode(
    dataset: Dataset,
    model: str,
    *,
    column: str = "text",
    workers: int | None = None,
    batch_size: int = 4096,
    **options: Unpack[EncodeOptions],
) -> Dataset:
    """A data set of Ray with a further column `vector`, which holds the vector of each text.

    Args:
        dataset: Rows with a column of texts.
        model: A model folder, a run or an export that every node can read, or a name on the hub.
        column: The column of texts.
        workers: Actors that encode, each with a model of its own; one for each GPU of the cluster, else one for each
            core, when None.
        batch_size: Rows that an actor takes at a time; within them batches are made by tokens.
        options: Further arguments of `Encoder.encode`.

    Returns:
        The data set, which is computed when it is read: vectors are float32 of shape (D,).

    Raises:
        UserError: If Ray is not installed, or the data set has no such column, or one named `vector`.
    """
    _need_ray()
    import ray

    names = dataset.columns() or []
    if column not in names:
        raise UserError(
            f"expected a column {column!r} in the data set, got {', '.join(map(repr, names)) or 'none'}"
        )
    if VECTOR_COLUMN in names:
        raise UserError(f"the data set has a column {VECTOR_COLUMN!r} already: rename or drop it")
    gpus, actors = _devices(workers)
    return dataset.map_batches(
        _Encodes,
        fn_constructor_kwargs={"model": name_anywhere(model), "column": column, "options": options},
        batch_size=batch_size,
        batch_format="numpy",
        compute=ray.data.ActorPoolStrategy(size=actors),
        num_cpus=1,
        num_gpus=gpus,
    )


class RayWorkers:
    """Makes the shards of a folder on a Ray cluster; the folder lies where every node can write.

    Args:
        address: The cluster, such as "auto" or "ray://host:10001"; one on this machine when "local".
        workers: Actors, each with a model of its own; one for each GPU of the cluster, else for each core, when None.

    Raises:
        UserError: If Ray is not installed, or no cluster answers.
    """

    def __init__(self, address: str, workers: int | None = None) -> None:
        _need_ray()
        _refuse_silent(address)
        import ray

        try:
            ray.init(
                address=address,
                ignore_reinit_error=True,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise UserError(f"no Ray cluster answers at {address!r}: {error}") from error
        self.workers = workers

    def write(
        self,
        load: Loader,
        writer: ShardWriter,
        blocks: Iterator[Block],
        progress: Callable[[int], None],
    ) -> Iterator[Shard]:
        """As `Workers.write`: a shard whose worker dies is made anew, `RETRIES` times at most."""
        import ray
        from ray.exceptions import RayActorError, RayTaskError
        from ray.util import ActorPool

        gpus, actors = _devices(self.workers)
        actor = ray.remote(num_cpus=1, num_gpus=gpus, max_restarts=-1, max_task_retries=RETRIES)(
            ShardMaker
        )
        writer = writer.from_anywhere()
        pool = ActorPool([actor.remote(load, writer) for _ in range(actors)])
        try:
            for index, rows in blocks:
                if not pool.has_free():
                    yield _next(pool, progress)
                pool.submit(lambda worker, block: worker.make.remote(*block), (index, list(rows)))
            while pool.has_next():
                yield _next(pool, progress)
        except RayTaskError as error:
            cause = error.cause
            if isinstance(cause, UserError | RunError):
                raise cause from None
            raise
        except RayActorError as error:
            raise RunError(
                f"a worker died more than {RETRIES} times at one shard, perhaps out of memory; the same command goes "
                f"on with the shards that are missing ({str(error).splitlines()[0]})"
            ) from error


def _next(pool: ActorPool, progress: Callable[[int], None]) -> Shard:
    shard = cast(Shard, pool.get_next_unordered())  # it says List
    progress(shard.rows)
    return shard


class _Encodes:
    """An actor with a model, for batches of a data set."""

    def __init__(self, model: str, column: str, options: EncodeOptions) -> None:
        self.encoder, self.column, self.options = load_encoder(model), column, options

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        texts = ["" if text is None else str(text) for text in batch[self.column]]
        return {**batch, VECTOR_COLUMN: self.encoder.encode(texts, **self.options)}


def _devices(workers: int | None) -> tuple[int, int]:
    """GPUs of an actor, and how many actors."""
    import ray

    resources = ray.cluster_resources()
    gpus, cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 1))
    return (1 if gpus else 0), workers or gpus or cores


def _refuse_silent(address: str) -> None:
    """Refuse an address where nobody listens, which Ray itself would ask for minutes."""
    try:
        place = urlsplit(address if "://" in address else f"//{address}")
        if place.hostname and place.port is not None:
            socket.create_connection((place.hostname, place.port), _PATIENCE).close()
    except (OSError, ValueError) as error:
        raise UserError(f"no Ray cluster answers at {address!r}: {error}") from error


def _need_ray() -> None:
    if importlib.util.find_spec("ray") is None:
        raise UserError("Ray is not installed: pip install 'textcl-train[ray]'")
