"""Building the folder of an index: beside its place, block by block, and moved there when it is whole."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from textcl.data.files import (
    atomic_write,
    check_writable,
    full_disk_named,
    require_replaceable,
    whole_path,
    write_json,
)
from textcl.data.json_files import JsonObject
from textcl.data.lock import sole_writer
from textcl.data.stream import row_blocks
from textcl.errors import RunError, UserError
from textcl.progress import progress
from textcl.retrieval.documents import (
    Document,
    Documents,
    Survey,
    extended,
    require_space,
    with_text,
)
from textcl.retrieval.hnsw import Graph
from textcl.retrieval.models import Embeds, embed, model_hash, prompt_text, similarity_of
from textcl.retrieval.quantization import Ranges, to_bits
from textcl.retrieval.store import MANIFEST, Dtype, Kind, Manifest, StoredRows
from textcl.retrieval.writer import Writer
from textcl.terminal import counted

if TYPE_CHECKING:
    from rich.console import Console

_BLOCK, _BLOCK_CHARACTERS = 2048, 4_000_000
_CALIBRATION = "calibration.json"


@dataclass(frozen=True)
class Tools:
    """Tools for building: how documents are encoded, and where progress is shown.

    Args:
        batch_tokens: Of `encode`; a value that suits the device when None.
        precision: Of `encode`; bfloat16 where the machine is fast at it when None.
        show: Whether a bar is shown.
        console: Where to; standard error when None.
        log: Takes a line of what a reader should know.
    """

    batch_tokens: int | None = None
    precision: str | None = None
    show: bool = False
    console: Console | None = None
    log: Callable[[str], None] = lambda line: None


@dataclass(frozen=True)
class Source:
    """Documents, and the facts that a first pass over them gave."""

    documents: Documents
    about: Survey


def new_manifest(model: Embeds, name: str, dtype: Dtype, kind: Kind) -> Manifest:
    """The manifest of an index without a row."""
    return Manifest(
        model=name,
        model_sha256=model_hash(model),
        query_prompt=prompt_text(model, "query"),
        document_prompt=prompt_text(model, "document"),
        similarity=similarity_of(model),
        dtype=dtype,
        kind=kind,
        dimension=model.truncate_dim or model.dimension,
    )


def require_place(target: Path, kind: Kind, overwrite: bool) -> None:
    """Refuse, before a corpus is read, a folder that cannot be made.

    Raises:
        UserError: If it exists and may not be replaced, or holds something else than an index; see `require_means`.
    """
    if target.exists() and not overwrite:
        raise UserError(f"{target} exists already: name another folder or add --overwrite")
    require_replaceable(target, ("rows.jsonl",))
    require_means(target, kind)


def require_means(target: Path, kind: Kind) -> None:
    """Refuse a folder that cannot be written, and a kind of index whose library is missing.

    Raises:
        UserError: If it is so.
    """
    check_writable(target.absolute().parent)
    if kind == "hnsw":
        Graph.empty(1)


def build_folder(
    target: Path, source: Source, model: Embeds, manifest: Manifest, tools: Tools
) -> None:
    """Encode documents into a folder that appears under its name when it is whole.

    A build that was stopped left its blocks beside the target; they are used again where model and documents are the
    same.

    Raises:
        UserError: If the disk is too small, another process builds the same folder, or the model gives vectors that
            are not finite.
        RunError: If the disk fills up all the same.
    """
    target = target.absolute()
    place = target.with_name(f".{target.name}.building")
    kept = (
        "what is encoded so far is kept; once there is room the same command goes on with the rest"
    )
    with full_disk_named(kept), sole_writer(place / ".lock", f"the index {target}"):
        start = _resumed(place, source, manifest, tools)
        ahead = source.about.rows - start.rows
        require_space(place, ahead * manifest.row_bytes + source.about.text_bytes)
        with Writer(place, start) as writer:
            left = islice(with_text(source.documents()), start.rows, None)
            with progress(
                "encoding", "documents", total=ahead, show=tools.show, console=tools.console
            ) as advance:
                append_documents(writer, left, model, tools, after=advance)
            manifest = writer.manifest
        _finish(place, manifest)
    if source.about.blank:
        tools.log(f"{counted(source.about.blank, 'document')} without a text left out")
    with whole_path(target) as part:
        place.rename(part)


def append_documents(
    writer: Writer,
    documents: Iterable[Document],
    model: Embeds,
    tools: Tools,
    codes: Callable[[Tensor], Tensor | None] = lambda vectors: None,
    after: Callable[[int], object] | None = None,
) -> None:
    """Encode documents block by block.

    Args:
        writer: Takes them.
        documents: With a text each.
        model: Encodes them.
        tools: How.
        codes: Codes of some vectors, where the index has them already.
        after: Called with the rows of every block; given, each block counts at once.

    Raises:
        RunError: If a vector is not finite.
    """
    for block in row_blocks(documents, _BLOCK, _BLOCK_CHARACTERS):
        texts = [document.text for document in block]
        vectors = embed(
            model,
            texts,
            "document",
            writer.manifest.similarity,
            tools.batch_tokens,
            tools.precision,
        )
        _check_finite(vectors, block)
        writer.append(block, vectors, codes(torch.from_numpy(vectors)))
        if after is not None:
            writer.commit(writer.manifest)
            after(len(block))


def encode_codes(manifest: Manifest, folder: Path) -> Callable[[Tensor], Tensor | None]:
    """Function from vectors to the codes that an index of this dtype searches; None for one without codes."""
    if manifest.dtype == "int8":
        return read_ranges(folder).encode
    return to_bits if manifest.dtype == "binary" else lambda vectors: None


def read_ranges(folder: Path) -> Ranges:
    """The calibration of an int8 index.

    Raises:
        UserError: If it is missing or damaged.
    """
    stored = JsonObject.read(folder / _CALIBRATION)
    low, high = (torch.tensor(stored.require(name, list[float])) for name in ("low", "high"))
    if low.shape != high.shape or not (low <= high).all():
        raise UserError(f"{folder / _CALIBRATION} is damaged: build the index again")
    return Ranges(low, high)


def save_graph(folder: Path, manifest: Manifest, graph: Graph) -> Manifest:
    """Write a graph under a name of its own; the manifest that names it."""
    path = folder / f"graph-{manifest.rows}-{manifest.removed or 'whole'}"
    with whole_path(path) as part:
        graph.save(part)
    return replace(manifest, graph=path.name, graph_bytes=path.stat().st_size)


def _resumed(place: Path, source: Source, manifest: Manifest, tools: Tools) -> Manifest:
    """The manifest of what a stopped build left, where it fits; else that of an emptied folder."""
    if (place / MANIFEST).is_file():
        try:
            left = Manifest.read(place)
            StoredRows(place, replace(left, complete=False, graph=None))
            fits = left.as_begun() == manifest.as_begun() and left.rows <= source.about.rows
            same = islice(with_text(source.documents()), left.rows)
            if fits and extended(manifest.digest, same) == left.digest:
                if left.rows:
                    tools.log(f"going on after {left.rows:,} documents of a build that was stopped")
                return replace(left, complete=False, graph=None, graph_bytes=0)
        except UserError:
            pass
        tools.log("a build that was stopped had another model, corpus or settings: beginning anew")
    for path in place.iterdir():
        if not path.name.startswith("."):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return manifest


def _finish(place: Path, manifest: Manifest) -> None:
    vectors = StoredRows(place, manifest).vectors
    if manifest.dtype == "int8":
        ranges = _ranges(vectors)
        content = {"low": ranges.low.tolist(), "high": ranges.high.tolist()}
        write_json(place / _CALIBRATION, content)
    if manifest.code_width:
        encode = encode_codes(manifest, place)
        with atomic_write(place / "codes") as file:
            for block in vectors.split(_BLOCK):
                codes = encode(block)
                assert codes is not None
                file.write(codes.numpy().data)
    if manifest.kind == "hnsw":
        graph = Graph.empty(manifest.dimension)
        graph.add(0, vectors)
        manifest = save_graph(place, manifest, graph)
    replace(manifest, complete=True).write(place)


def _ranges(vectors: Tensor) -> Ranges:
    """Ranges of all vectors, block by block."""
    if len(vectors) < 2:
        raise UserError("an int8 index is calibrated on at least 2 documents: take --dtype float32")
    bounds = [block.aminmax(dim=0) for block in vectors.split(_BLOCK)]
    low = torch.stack([bound.min for bound in bounds]).amin(0)
    return Ranges(low, torch.stack([bound.max for bound in bounds]).amax(0))


def _check_finite(vectors: Float[np.ndarray, "N D"], block: list[Document]) -> None:
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        raise RunError(
            f"the model gave a vector that is not finite for the document {block[bad[0]].id!r}"
        )
