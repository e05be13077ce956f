"""Encoders for a backend: an exported folder, or a model for torch."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path

from textcl.encoder.backbone import EXPORT_FILE
from textcl.encoder.encoder import Encoder
from textcl.encoder.hub import find_model
from textcl.errors import UserError
from textcl.export.backends import find_backend
from textcl.export.exported import ExportedEncoder
from textcl.export.folder import Export
from textcl.export.write import export_encoder


def load_encoder(model: str | Path, backend: str | None = None) -> Encoder | ExportedEncoder:
    """An encoder for a backend: an export as it is, any other model converted on the way.

    Args:
        model: A run, a model folder, a name on the hub, or what `export_encoder` wrote.
        backend: "torch", "openvino" or "onnx"; that of the export, else torch, when None.

    Returns:
        An `Encoder` or an `ExportedEncoder`.

    Raises:
        UserError: If there is no such model or backend, or the model is an export for another backend.
    """
    if (Path(model).expanduser() / EXPORT_FILE).exists():
        made_for = Export.read(Path(model).expanduser()).backend
        if backend not in (None, made_for):
            raise UserError(
                f"{model} was exported for {made_for}, not for {backend}: leave --backend out, or name the model itself"
            )
        return ExportedEncoder.from_pretrained(model)
    if backend in (None, "torch"):
        return Encoder.from_pretrained(model)
    find_backend(backend)  # found missing in a moment; a model may take minutes to load
    loaded = Encoder.from_pretrained(find_model(model), device="cpu")
    place = tempfile.mkdtemp(prefix="textcl-export-")
    try:
        exported = export_encoder(loaded, Path(place) / "export", backend)
    except BaseException:
        shutil.rmtree(place)
        raise
    weakref.finalize(exported, shutil.rmtree, place, ignore_errors=True)
    return exported
