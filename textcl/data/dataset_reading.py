"""Reading data sets of the library `datasets`: those in the cache, and those that are streamed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, cast

from textcl.data.formats import Part, Records

if TYPE_CHECKING:
    import datasets


def dataset_part(name: str, data: datasets.Dataset | datasets.IterableDataset) -> Part:
    """Part of a source that is a data set.

    Args:
        name: What a message calls it.
        data: The data set.
    """
    columns = tuple(data.column_names or ()) or None  # of some streams unknown until a row is read
    if is_streamed(data):
        stream = DatasetStream(cast("datasets.IterableDataset", data))
        return Part(name, stream.read, columns, by_line=False, stream=stream)
    return Part(name, partial(read_dataset, cast("datasets.Dataset", data)), columns, by_line=False)


def is_streamed(data: object) -> bool:
    """Whether it is a `datasets.IterableDataset` or looks like one."""
    return hasattr(data, "select_columns") and hasattr(data, "load_state_dict")


def read_dataset(data: datasets.Dataset, columns: Sequence[str] | None) -> Records:
    """Read a `datasets.Dataset`, with class names in place of class ids."""
    chosen = list(data.column_names if columns is None else columns)
    data = data.select_columns(chosen)
    names = [_class_names(data.features[column]) for column in chosen]
    numbers = count(1)
    for batch in cast("Iterator[dict[str, list[object]]]", data.iter(batch_size=1000)):
        for values in zip(*(batch[column] for column in chosen), strict=True):
            named = (name(value) for name, value in zip(names, values, strict=True))
            yield next(numbers), dict(zip(chosen, named, strict=True))


class DatasetStream:
    """Reads a `datasets.IterableDataset`, once at a time, and row by row so that its place is that of the last row.

    Args:
        data: The data set.
    """

    def __init__(self, data: datasets.IterableDataset) -> None:
        self._data = self._open = data
        self._start: Mapping[str, object] | None = None
        self._before = 0

    @property
    def shuffles(self) -> bool:
        """Whether it was given a shuffle buffer, whose rows its place leaves out."""
        return _shuffles(getattr(self._data, "_ex_iterable", None))

    def go_on(self, state: Mapping[str, object] | None, before: int) -> None:
        """Begin the next reading at a place, or at the beginning when None.

        Args:
            state: What `state` gave there.
            before: Rows before it.
        """
        self._start, self._before = state, before

    def state(self) -> dict[str, object]:
        """The place behind the last row that was read."""
        return self._open.state_dict()

    def read(self, columns: Sequence[str] | None) -> Records:
        """Rows with class names in place of class ids."""
        self._open = self._data if columns is None else self._data.select_columns(list(columns))
        features = self._open.features or {}
        names = {column: _class_names(feature) for column, feature in features.items()}
        self._open.load_state_dict(cast("dict[str, object]", self._start))  # None: from the start
        for number, row in enumerate(self._open, self._before + 1):
            named = {k: names[k](v) if k in names else v for k, v in row.items()}
            yield number, cast("dict[str, object]", named)


def _shuffles(step: object) -> bool:
    """Whether one of the steps of a `datasets.IterableDataset` is a shuffle buffer."""
    from datasets.iterable_dataset import BufferShuffledExamplesIterable

    before = [*getattr(step, "ex_iterables", ()), getattr(step, "ex_iterable", None)]
    return isinstance(step, BufferShuffledExamplesIterable) or any(
        _shuffles(other) for other in before if other is not None
    )


def _class_names(feature: Any) -> Callable[[Any], object]:
    """Class ids of a `datasets` feature as the names they stand for; below 0 there is none."""
    inner = getattr(feature, "feature", feature)
    if not hasattr(inner, "int2str"):
        return lambda value: value
    if inner is feature:
        return lambda value: None if value is None or value < 0 else feature.int2str(value)
    return lambda values: (
        None if values is None else [None if v < 0 else inner.int2str(v) for v in values]
    )
