"""The folder of a classifier of several label columns: that of its encoder, with a folder for each head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from textcl.classifier.card import render_columns_card
from textcl.classifier.folder import (
    NOTE_FILE,
    ClassifierParts,
    is_classifier,
    read_head,
    write_head,
)
from textcl.data.files import replacing, write_json
from textcl.data.json_files import JsonObject
from textcl.encoder.encoder import Encoder
from textcl.encoder.parity import Parity
from textcl.errors import UserError


def columns_of(folder: Path) -> tuple[str, ...]:
    """Names of the label columns of a classifier's folder; none where it has one, or is no classifier.

    Raises:
        UserError: If its classifier.json is damaged.
    """
    if not is_classifier(folder):
        return ()
    return JsonObject.read(folder / NOTE_FILE).get("columns", tuple[str, ...]) or ()


def head_folder(folder: Path, column: int) -> Path:
    """Folder of the head of a column.

    Args:
        folder: Of the classifier.
        column: Number of the column, from 0. Folders have numbers, for a name may be anything.
    """
    return folder / f"label-{column + 1}"


def write_columns(
    target: Path,
    encoder: Encoder,
    heads: Mapping[str, tuple[ClassifierParts, Float32[np.ndarray, "N C"]]],
    card: Mapping[str, object],
) -> None:
    """Write the folder, whole or not at all; an older one is replaced.

    Args:
        target: Folder to make or replace.
        encoder: Of all columns.
        heads: What each column has beside it, and its logits of `PARITY_TEXTS`.
        card: Facts for the model card.

    Raises:
        UserError: If the place is not a folder.
    """
    classes = {name: parts.classes for name, (parts, _) in heads.items()}
    with replacing(target) as folder:
        written = replace(encoder.write(folder), transformer=target)
        for number, (parts, logits) in enumerate(heads.values()):
            head_folder(folder, number).mkdir()
            write_head(head_folder(folder, number), parts, logits)
        write_json(folder / NOTE_FILE, {"columns": list(heads)})
        text = render_columns_card(written, encoder.backbone.config, classes, card)
        (folder / "README.md").write_text(text, encoding="utf-8")


def read_columns(
    folder: Path, device: str | torch.device | None
) -> dict[str, tuple[ClassifierParts, Parity]]:
    """The parts of each column around one encoder, with the logits that it gave when it was saved.

    Args:
        folder: What `write_columns` wrote.
        device: Where the model goes; a GPU if there is one when None.

    Raises:
        UserError: If it is no such folder, a file is damaged, or the files do not fit together.
    """
    names = columns_of(folder)
    if len(names) < 2 or len(set(names)) < len(names):
        raise UserError(
            f"{folder} is no classifier of several label columns, which a {NOTE_FILE} names: train one with "
            "textcl train --recipe cross-entropy --column label=NAME,NAME"
        )
    encoder = Encoder.from_pretrained(folder, device=device)
    return {
        name: read_head(head_folder(folder, number), encoder) for number, name in enumerate(names)
    }
