"""Export of an encoder as a graph of another library, with the proof that it gives the same vectors."""

from __future__ import annotations

import copy
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from textcl.data.arguments import checked_arguments
from textcl.data.files import replacing
from textcl.data.texts import as_texts
from textcl.encoder.backbone import EXPORT_FILE, quiet
from textcl.encoder.encoder import PARITY_TEXTS, Encoder
from textcl.encoder.folder import ST_POOLINGS, library_versions
from textcl.encoder.folder_writing import write_modules, write_tokenizer
from textcl.encoder.static import is_static
from textcl.errors import UserError
from textcl.export.backends import BACKENDS, Padded, convert, find_backend
from textcl.export.exported import ExportedEncoder
from textcl.export.folder import Export
from textcl.export.program import exportable, program_of
from textcl.export.running import padded
from textcl.resources import sample_dir
from textcl.versions import version_of

CALIBRATION_ROWS = 300
"""Sentences that ranges of activations are read from, as many as NNCF takes by default."""


@checked_arguments
def export_encoder(
    encoder: Encoder,
    directory: str | Path,
    backend: str,
    *,
    int8: bool = False,
    fp16: bool = False,
    calibration: Iterable[str] | None = None,
) -> ExportedEncoder:
    """Write an encoder as a graph of another library, whole or not at all; an older export is replaced.

    Args:
        encoder: What to export; it is not changed.
        directory: Folder to make or replace.
        backend: "openvino" or "onnx".
        int8: Whether weights and activations get 8 bits.
        fp16: Whether weights get 16 bits, half of the file; the arithmetic stays as it is.
        calibration: Sentences like those to be encoded, which ranges of activations are read from; some of textcl's
            sample when None.

    Returns:
        The export, loaded.

    Raises:
        UserError: If there is no such backend, its packages are not installed, the encoder cannot be exported to it, or
            both kinds of weights are asked for.
        RunError: If the graph does not give the vectors of torch (see `LOWEST_COSINE`).
    """
    if int8 and fp16:
        raise UserError("--int8 and --fp16 are two kinds of weights: choose one of them")
    given = None if calibration is None else list(as_texts(calibration))
    library, target = find_backend(backend), Path(directory)
    if (target / "config.json").exists() and not (target / EXPORT_FILE).exists():
        raise UserError(f"{target} holds a model: name another folder for the export")
    if encoder.device.type != "cpu":
        raise UserError(
            f"only an encoder on the CPU can be exported, this one is on {encoder.device}"
        )
    texts = _parity_texts(encoder)
    export = Export(
        backend=backend,
        int8=int8,
        dimension=encoder.dimension,
        pooling=encoder.pooling,
        normalize=encoder.normalize,
        max_length=encoder.max_length,
        pad_id=getattr(encoder.backbone.config, "pad_token_id", None) or 0,
        prompts=encoder.prompts,
        default_prompt=encoder.default_prompt,
        truncate_dim=encoder.truncate_dim,
        texts=texts,
        vectors=encoder.encode(texts, prompt="", precision="float32").tolist(),
        versions=library_versions() | {name: version_of(name) for name in BACKENDS[backend]},
    )
    with replacing(target) as folder, tempfile.TemporaryDirectory() as scratch:
        graph_file = folder / library.FILE
        exact_graph = Path(scratch) / library.FILE if int8 or fp16 else graph_file
        with exportable(encoder) as graph, warnings.catch_warnings(), quiet():
            warnings.simplefilter("ignore")  # of the exporters, to their own makers
            convert(
                library, program_of(graph, encoder), exact_graph, encoder.backbone.config.model_type
            )
        _write_settings(encoder, folder)
        if int8:
            rows = (given or sample_sentences())[:CALIBRATION_ROWS]
            library.quantize(exact_graph, graph_file, _single_rows(encoder, rows, export.pad_id))
        elif fp16:
            library.halve(exact_graph, graph_file)
        export.write(folder)
        ExportedEncoder(folder, export, encoder.tokenizer).check("float32")
    return ExportedEncoder.from_pretrained(target)


def opens_elsewhere(encoder: Encoder) -> bool:
    """Whether sentence-transformers pools the last states of an exported graph to the vectors of the encoder."""
    known = all(part in ST_POOLINGS for part in encoder.saved_pooling.split("+"))
    return known and not is_static(encoder.backbone)


def _write_settings(encoder: Encoder, folder: Path) -> None:
    """Write the files that other loaders read beside a graph: the configuration, the tokenizer and the modules."""
    config = copy.deepcopy(encoder.backbone.config)
    config.architectures, config.dtype = [type(encoder.backbone).__name__], torch.float32
    with quiet():
        config.save_pretrained(folder)
    write_tokenizer(folder, encoder.tokenizer, encoder.max_length)
    if opens_elsewhere(encoder):
        write_modules(folder, config, encoder.describe(folder), encoder.saved_dense)


def sample_sentences() -> list[str]:
    """The sentences that come with textcl."""
    return (sample_dir() / "sentences.txt").read_text(encoding="utf-8").splitlines()


def _parity_texts(encoder: Encoder) -> list[str]:
    """Texts of many lengths, the longest row among them."""
    rows = sample_sentences()[: 2 * encoder.max_length : 16]
    return [*PARITY_TEXTS, *rows[:32], " ".join(sample_sentences()[: encoder.max_length])]


def _single_rows(encoder: Encoder, texts: Sequence[str], pad_id: int) -> list[Padded]:
    """Batches of one row each, to quantise over: a padded position must not widen a range."""
    tokens = encoder.tokenize([*texts, ""])  # the shortest row has states of its own
    return list(padded(tokens.take(torch.argsort(tokens.lengths, stable=True)), pad_id, budget=1))
