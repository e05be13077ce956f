"""Sources of rows: a file, a folder, standard input, the hub, a list, a table, or a data set of `datasets`."""

from __future__ import annotations

import difflib
import hashlib
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow
from pyarrow import parquet

from textcl.data.dataset_reading import dataset_part, is_streamed
from textcl.data.files import file_sha256
from textcl.data.formats import (
    COMPRESSED,
    FORMATS,
    Part,
    Reader,
    file_part,
    read_columns,
    read_list,
    text_reader,
)
from textcl.data.json_rows import starts_array
from textcl.data.texts import as_column, as_columns, refused_value
from textcl.errors import UserError

_SUPPORTED = "txt, csv, tsv, jsonl, json (each also .gz, .xz or .zst) and parquet"
STREAM, HUB = "stream:", "hf://"
"""Before a name: what is read on the way, and not into the cache first; a hub data set that is."""

_SPLITS = {"train", "training", "dev", "valid", "validation", "val", "test"}


@dataclass(frozen=True)
class Source:
    """Facts of a source that are known without reading its records.

    Args:
        name: As the user wrote it.
        format: One of `FORMATS`, "list", "table" or "dataset".
        parts: What to read, in order.
        files: The files among them.
        streamed: Whether training reads it on the way, and not into the cache first.
        commit: Of the hub, where it is streamed from there: the files may be others tomorrow.
    """

    name: str
    format: str
    parts: tuple[Part, ...]
    files: tuple[Path, ...] = ()
    streamed: bool = False
    commit: str | None = None

    def sha256(self) -> str | None:
        """Hash of the stored bytes: of the file, or of the lines `sha256sum *` would print for a folder.

        None where there are no files.
        """
        digests = {path.name: file_sha256(path) for path in self.files}
        if len(digests) < 2:
            return next(iter(digests.values()), None)
        listing = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
        return hashlib.sha256(listing.encode()).hexdigest()

    def count_rows(self) -> int | None:
        """Number of records, where it costs no more than reading the files once: parquet and lines of plain text.

        A blank line counts; None where only reading the records can tell, as of a JSON array.
        """
        if self.format == "parquet":
            return sum(parquet.read_metadata(path).num_rows for path in self.files)
        plain = all(path.suffix.lower() not in COMPRESSED for path in self.files)
        if not self.files or not plain or self.format not in ("txt", "jsonl"):
            return None
        if self.format == "jsonl" and any(map(_holds_array, self.files)):
            return None
        return sum(map(_count_lines, self.files))

    def schema(self) -> pyarrow.Schema | None:
        """Column types, where the format has them (parquet).

        Raises:
            UserError: If the files of a folder differ in them.
        """
        if self.format != "parquet":
            return None
        schemas = [parquet.read_schema(path) for path in self.files]
        for path, schema in zip(self.files, schemas, strict=True):
            if not schema.equals(schemas[0]):
                raise UserError(f"{path} has other columns or types than {self.files[0]}")
        return schemas[0]


def open_source(source: object, *, split: str | None = None, format: str | None = None) -> Source:
    """Find out what `source` is.

    Args:
        source: A file, a folder or a pattern such as "data/*.txt" (read in the order of their names), "owner/name",
            "owner/name:config" or "owner/name@revision:config" of a hub data set, a list or column of texts or of
            dicts, a table of pandas, polars or pyarrow, a dict of columns, a `datasets.Dataset`, or "-" for standard
            input. "stream:" in front of a name, "hf://" in front of a hub data set and a `datasets.IterableDataset`
            are streamed.
        split: Part of a hub data set, or of a folder whose file names say so (train.jsonl, nli-dev.csv).
        format: Format of standard input: txt (default), csv, tsv or jsonl.

    Raises:
        UserError: If there is no such thing, or its format is not known.
    """
    if isinstance(source, Source):
        return source
    if isinstance(source, (str, Path)) and str(source) == "-":
        return _open_stdin(format)
    if format is not None:
        raise UserError(
            f"the format ({format}) can be chosen for standard input only; a file has it in its name"
        )
    if isinstance(source, (str, Path)):
        return _open_name(str(source), split)
    if hasattr(source, "select_columns") or _holds_splits(source):
        return _open_dataset("data set", source, split)
    if isinstance(source, Iterator):
        raise UserError(
            f"{refused_value(source)} can be read only once, and training reads rows again and again: "
            "pass list(…) of it"
        )
    if (columns := as_columns(source)) is not None:
        return _in_memory("table", partial(read_columns, columns), tuple(columns))
    if (column := as_column(source)) is not None:
        return _in_memory("list", partial(read_list, column))
    raise UserError(
        "expected a file, a folder, a hub data set, a list, a table or a datasets.Dataset, "
        f"but got {refused_value(source)}"
    )


def _holds_splits(source: object) -> bool:
    """Whether it is a `datasets.DatasetDict` or looks like one."""
    return isinstance(source, Mapping) and all(hasattr(v, "features") for v in source.values())


def _in_memory(name: str, read: Reader, columns: tuple[str, ...] | None = None) -> Source:
    return Source(name, name, (Part(name, read, columns, by_line=False),))


def _open_stdin(format: str | None) -> Source:
    allowed = FORMATS[:-1]
    chosen = format or "txt"
    if chosen not in allowed:
        raise UserError(
            f"standard input can be read as {', '.join(allowed)}, but the format asked for is {chosen!r}"
        )
    read = text_reader("standard input", chosen, lambda: sys.stdin.buffer)
    return Source("standard input", chosen, (Part("standard input", read),))


def _open_name(name: str, split: str | None) -> Source:
    if name.startswith(HUB):
        return _open_hub(name.removeprefix(HUB), split, streaming=True)
    if name == f"{STREAM}-":
        raise UserError("standard input is read once, and a training goes on from any row: save it")
    if name.startswith(STREAM):
        opened = _open_path(name.removeprefix(STREAM), split, streaming=True)
        return replace(opened, name=name, streamed=True)
    return _open_path(name, split)


def _open_path(name: str, split: str | None, *, streaming: bool = False) -> Source:
    path = Path(name).expanduser()
    if path.is_dir():
        return _open_folder(name, path, split)
    if not path.exists() and "*" in name:
        return _open_files(name, path, split)
    if not path.exists():
        like_hub = re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w./-]+)?(:[\w.-]+)?", name)
        if like_hub and not path.parent.exists() and _format_of(path) is None:
            return _open_hub(name, split, streaming=streaming)
        raise UserError(_missing(name, path))
    format = _format_of(path)
    if format is None:
        raise UserError(f"{name}: {_advice(path)}")
    if split is not None:
        raise UserError(
            f"split {split!r} was asked for, but {name} is a single file: name the file of that split instead"
        )
    if path.stat().st_size == 0:
        raise UserError(f"{name} is empty (0 bytes): nothing to read")
    return Source(name, format, (file_part(path, format),), (path,))


def _open_files(name: str, pattern: Path, split: str | None) -> Source:
    """Every file that a pattern with * fits; ** crosses folders."""
    start = Path(pattern.anchor)
    matches = sorted(start.glob(str(pattern.relative_to(start))))
    files = [path for path in matches if path.is_file() and path.name[0] != "."]
    if not files:
        raise UserError(f"no file fits the pattern {name}")
    return _source_of(f"the files {name}", name, files, split)


def _open_folder(name: str, folder: Path, split: str | None) -> Source:
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and path.name[0] != "."]
    return _source_of(f"the folder {name}", name, files, split)


def _source_of(what: str, name: str, available: list[Path], split: str | None) -> Source:
    files = {path: format for path in available if (format := _format_of(path))}
    words = {path: set(re.split(r"[-_.]", path.name.lower())) for path in files}
    splits = sorted(_SPLITS & set[str]().union(*words.values()))
    if split is not None:
        files = {path: format for path, format in files.items() if split.lower() in words[path]}
    elif len(splits) > 1:
        raise UserError(
            f"{what} holds several splits ({', '.join(splits)}): say which one, "
            f"for example --split {splits[-1]}"
        )
    if not files:
        which = f" of the split {split!r}" if split else ""
        names = ", ".join(path.name for path in available[:10]) or "nothing"
        raise UserError(
            f"{what} has no data file{which}, it holds {names}; supported are {_SUPPORTED}"
        )
    if len(formats := sorted(set(files.values()))) > 1:
        raise UserError(
            f"{what} mixes formats ({', '.join(formats)}): name one file, or keep one format there"
        )
    parts = tuple(file_part(path, format) for path, format in files.items())
    return Source(name, formats[0], parts, tuple(files))


_SPREADSHEETS = {".xlsx", ".xls", ".xlsm", ".xlsb", ".ods", ".numbers"}


def _advice(path: Path) -> str:
    if path.suffix.lower() in _SPREADSHEETS:
        return (
            "a spreadsheet cannot be read: save it as csv in UTF-8, or pass what pandas.read_excel gives to "
            "textcl.train(data=…)"
        )
    return f"files of this ending are not known; supported are {_SUPPORTED}"


def _format_of(path: Path) -> str | None:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compressed = bool(suffixes) and suffixes[-1] in COMPRESSED
    last = suffixes[-2:-1] if compressed else suffixes[-1:]
    format = {".json": "jsonl"}.get(last[0], last[0][1:]) if last else None
    return format if format in FORMATS and not (compressed and format == "parquet") else None


def _missing(name: str, path: Path) -> str:
    if not path.parent.exists():
        return f"there is no file {name}: the folder {path.parent} does not exist"
    if path.is_symlink():
        return f"{name} is a link to {path.readlink()}, which does not exist"
    available = sorted(entry.name for entry in path.parent.iterdir() if entry.name[0] != ".")
    near = difflib.get_close_matches(path.name, available, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "hub data sets are written owner/name"
    return f"there is no file or folder {name}; {hint}"


def _holds_array(path: Path) -> bool:
    with path.open("rb") as file:
        return starts_array(file.read(64))


def _count_lines(path: Path) -> int:
    lines, last = 0, b"\n"
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            lines, last = lines + block.count(b"\n"), block[-1:]
    return lines + (last != b"\n")


def _open_hub(name: str, split: str | None, *, streaming: bool) -> Source:
    import datasets
    from datasets import config as datasets_config
    from huggingface_hub import HfApi

    path, _, config = name.partition(":")
    path, _, revision = path.partition("@")
    try:
        # the repository may move on, but not under a run that streams from it
        moving = streaming and not Path(path).exists() and not datasets_config.HF_HUB_OFFLINE
        commit = (
            HfApi(datasets_config.HF_ENDPOINT).dataset_info(path, revision=revision or None).sha
            if moving
            else revision or None
        )
        data = datasets.load_dataset(path, config or None, revision=commit, streaming=streaming)
    except (
        Exception
    ) as error:  # whatever the hub, the network or the data set's own files come up with
        reason = str(error).strip().split("\n")[0]
        raise UserError(
            f"{name} is neither a file or folder here nor a hub data set that can be reached ({reason})"
        ) from error
    if streaming:
        pinned = f"@{commit}" if commit else ""
        name = f"{HUB}{path}{pinned}{config and ':'}{config}"
    return replace(_open_dataset(name, data, split), commit=commit)


def _open_dataset(name: str, data: Any, split: str | None) -> Source:
    if isinstance(data, Mapping):  # several splits
        chosen = split or ("train" if "train" in data or len(data) != 1 else next(iter(data)))
        if chosen not in data:
            raise UserError(
                f"{name} has no split {chosen!r}; its splits are {', '.join(data)}: say which one with --split"
            )
        data = data[chosen]
    elif split is not None:
        raise UserError(f"split {split!r} was asked for, but {name} is one data set without splits")
    return Source(name, "dataset", (dataset_part(name, data),), streamed=is_streamed(data))
