"""Documents to search: texts with ids, read from any source row by row, in flat memory."""

from __future__ import annotations

import shutil
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple, TypeGuard, cast

import numpy as np

from textcl.data.sources import open_source
from textcl.data.stream import stream_rows
from textcl.errors import UserError


class Document(NamedTuple):
    """A text that can be retrieved.

    Args:
        id: Its name, of which there is no other.
        text: What is encoded and shown; may be blank until it is surveyed.
        row: Its number in the source, from 1.
    """

    id: str
    text: str
    row: int


_BLOCK = 1024
_SURVEYED = 64  # documents at once, so few that Python does not look for garbage among them

START = blake2b(b"textcl index", digest_size=16).hexdigest()
"""The digest of no document."""

Documents = Callable[[], Iterable[Document]]
"""A pass over documents, the same each time it is called."""


@dataclass(frozen=True)
class Survey:
    """Facts that a first pass over documents gives.

    Args:
        rows: Documents with a text.
        text_bytes: Bytes of their texts and ids.
        blank: Documents without a text, which are left out.
        digest: Of all ids and texts, the same where they are the same; another than `extended` gives.
    """

    rows: int
    text_bytes: int
    blank: int
    digest: str


def extended(digest: str, documents: Iterable[Document]) -> str:
    """The digest of all ids and texts, after some more."""
    for document in documents:
        row = f"{digest}\x1f{document.id}\x1f{document.text}"
        digest = blake2b(row.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return digest


def key_of(name: str) -> int:
    """A signed 64-bit digest of an id."""
    raw = blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(raw, "little", signed=True)


def documents_of(
    source: object, *, columns: Mapping[str, str] | None = None, split: str | None = None
) -> Documents:
    """The documents of a file, a folder, a hub data set, a list or a table.

    An id is the value of the column `_id` or `id`, else the number of the row. In the layout of BEIR (`_id`, `title`,
    `text`) a title is put before its text.

    Args:
        source: As for `load_rows`, but not standard input, which can be read only once.
        columns: Columns of the roles text and id, where they have other names.
        split: Part of a hub data set or of a folder.

    Raises:
        UserError: If there is no such source, or it is standard input.
    """
    if str(source) == "-":
        raise UserError(
            "a corpus is read twice, so it cannot be standard input: write it to a file"
        )
    opened = open_source(source, split=split)
    if _is_text_list(source) and not columns:
        return partial(_numbered, source)
    chosen = dict(columns or {})
    id_column = chosen.pop("id", None)

    def read() -> Iterator[Document]:
        for number, row in enumerate(stream_rows(opened, columns=chosen), 1):
            values, text = row.values, row.text
            if "_id" in values and not chosen:
                title = values.get("title")
                text = f"{title} {text}" if isinstance(title, str) and title else text
            name = _id(values, id_column, opened.name, number)
            yield Document(name, text.strip(), number)

    return read


def _is_text_list(value: object) -> TypeGuard[list[str]]:
    """Whether a value is a list of nothing but texts that need no look one by one."""
    if not isinstance(value, list):
        return False
    texts = cast("list[object]", value)
    return all(_usable(texts[start : start + _BLOCK]) for start in range(0, len(texts), _BLOCK))


def _usable(texts: list[object]) -> bool:
    try:
        whole = "".join(cast("list[str]", texts))  # refuses what is no text
        if not whole.isascii():
            whole.encode()
    except (TypeError, UnicodeEncodeError):
        return False
    return "\0" not in whole


def _numbered(texts: list[str]) -> Iterator[Document]:
    values = zip(map(str, count(1)), map(str.strip, texts), count(1))  # counts have no end
    return map(Document._make, values)


def _id(values: Mapping[str, object], column: str | None, source: str, number: int) -> str:
    if column is None:
        column = "_id" if "_id" in values else "id" if "id" in values else None
        if column is None:
            return str(number)
    elif not values:
        return str(number)
    if column not in values:
        raise UserError(f"{source}, row {number:,} has no column {column!r} for the id")
    value = values[column]
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise UserError(
            f"{source}, row {number:,}: an id is a text or a whole number, got {value!r:.60}"
        )
    return str(value)


def with_text(documents: Iterable[Document]) -> Iterator[Document]:
    """The documents that have a text."""
    return (document for document in documents if document.text)


def survey(documents: Documents, name: str) -> Survey:
    """Count documents and check their ids, before a model is loaded.

    Args:
        documents: What is to be indexed.
        name: Of the source, for the messages.

    Raises:
        UserError: If an id comes twice, or no document has a text.
    """
    keys = array("q")
    rows = size = blank = 0
    digest = blake2b(digest_size=16)
    read = iter(documents())
    while block := list(islice(read, _SURVEYED)):
        full = [document for document in block if document.text]
        blank += len(block) - len(full)
        rows += len(full)
        names, texts = [document.id for document in full], [document.text for document in full]
        keys.extend(map(hash, names))
        for part in (names, texts):
            raw = "".join(part).encode("utf-8", "surrogatepass")
            size += len(raw)
            digest.update(np.array([*map(len, part)], "<i8").tobytes() + raw)
    _check_ids(np.frombuffer(keys, np.int64), documents, name)
    if not rows:
        raise UserError(f"{name} has no document with a text")
    return Survey(rows, size, blank, digest.hexdigest())


def _check_ids(keys: np.ndarray, documents: Documents, name: str) -> None:
    values, counts = np.unique(keys, return_counts=True)
    suspects = set(values[counts > 1].tolist())
    if not suspects:
        return
    first: dict[str, int] = {}
    for document in with_text(documents()):
        if hash(document.id) in suspects:
            earlier = first.setdefault(document.id, document.row)
            if earlier != document.row:
                raise UserError(
                    f"{name}: the id {document.id!r} comes twice, in rows {earlier:,} and {document.row:,}: "
                    "ids must differ"
                )


def require_space(folder: Path, needed: int) -> None:
    """Refuse, before any work, what the disk of a folder cannot hold.

    Args:
        folder: It, or one of its parents, exists.
        needed: Bytes.

    Raises:
        UserError: If fewer are free.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise UserError(
            f"{folder} needs about {needed / 1e6:,.0f} MB and its disk has {free / 1e6:,.0f} MB free: free some space, "
            "name a folder on another disk, or take a smaller dtype (float16)"
        )
