"""The folder of a classifier: that of its encoder, with the head, the classes and a few known logits beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from textcl.classifier.card import render_classifier_card
from textcl.classifier.head import ClassificationHead, HeadShape
from textcl.classifier.rejection import Rejection, read_rejection
from textcl.classifier.sequence_classification import why_not, write_sequence_classifier
from textcl.data.files import replacing, write_json
from textcl.data.json_files import JsonObject
from textcl.encoder.encoder import Encoder
from textcl.encoder.parity import PARITY_TEXTS, Parity
from textcl.errors import UserError

HEAD_FILE, NOTE_FILE = "classifier.safetensors", "classifier.json"


def is_classifier(folder: Path) -> bool:
    """Whether a model folder holds a classifier."""
    return (folder / NOTE_FILE).is_file()


def has_several_labels(folder: Path) -> bool:
    """Whether the classifier of a folder gives a text any number of its classes; False where there is none."""
    return is_classifier(folder) and JsonObject.read(folder / NOTE_FILE).require(
        "multi_label", bool
    )


@dataclass(frozen=True, eq=False)
class ClassifierParts:
    """Parts of a classifier, as its folder holds them.

    Args:
        encoder: From texts to vectors.
        head: From vectors to class logits.
        classes: Names of the classes, in the order of the logits.
        multi_label: Whether a text has any number of the classes instead of exactly one.
        temperature: Divides the logits.
        thresholds: Probability from which a class is predicted, one for each class.
        rejection: What rejects texts of none of the classes; None where nothing was fitted.
    """

    encoder: Encoder
    head: ClassificationHead
    classes: tuple[str, ...]
    multi_label: bool
    temperature: float
    thresholds: tuple[float, ...]
    rejection: Rejection | None


def write_classifier(
    target: Path,
    parts: ClassifierParts,
    logits: Float32[np.ndarray, "N C"],
    card: Mapping[str, object],
) -> None:
    """Write the folder, whole or not at all; an older one is replaced.

    Args:
        target: Folder to make or replace.
        parts: What it holds.
        logits: Of `PARITY_TEXTS`, which loading compares.
        card: Facts for the model card.

    Raises:
        UserError: If the place is not a folder.
    """
    encoder, head = parts.encoder, parts.head
    with replacing(target) as folder:
        written = replace(encoder.write(folder), transformer=target)
        apart = why_not(encoder.backbone, encoder.pooling, len(encoder.dense), head)
        if not apart:
            write_sequence_classifier(
                folder, encoder.backbone, head, parts.classes, parts.multi_label
            )
        write_head(folder, parts, logits)
        config, classes = encoder.backbone.config, parts.classes
        text = render_classifier_card(
            written, config, classes, parts.multi_label, card, apart=apart
        )
        (folder / "README.md").write_text(text, encoding="utf-8")


def write_head(folder: Path, parts: ClassifierParts, logits: Float32[np.ndarray, "N C"]) -> None:
    """Write what a classifier has beside its encoder: head, classes, logits of `PARITY_TEXTS`, and rejection.

    Args:
        folder: Where to.
        parts: What is written, the encoder left out.
        logits: Of these texts.
    """
    head = parts.head
    note = {
        "classes": list(parts.classes),
        "multi_label": parts.multi_label,
        "temperature": parts.temperature,
        "thresholds": list(parts.thresholds),
        "head": asdict(head.shape),
        "default_prompt": parts.encoder.default_prompt,
        "parity": {"texts": list(PARITY_TEXTS), "logits": logits.tolist()},
    }
    weights = {k: w.detach().float().cpu().contiguous() for k, w in head.state_dict().items()}
    save_file(weights, folder / HEAD_FILE)
    write_json(folder / NOTE_FILE, note)
    if parts.rejection is not None:
        parts.rejection.write(folder)


def read_classifier(
    folder: Path, device: str | torch.device | None
) -> tuple[ClassifierParts, Parity]:
    """The parts of a classifier, and the logits that it gave when it was saved.

    Args:
        folder: A folder that holds a classifier.
        device: Where the model goes; a GPU if there is one when None.

    Raises:
        UserError: If a file is damaged, or the files do not fit together.
    """
    note = JsonObject.read(folder / NOTE_FILE)
    if names := note.get("columns", tuple[str, ...]):
        raise UserError(
            f"the classifier in {folder} has several label columns ({', '.join(names)}), and one is wanted here: "
            "ColumnsClassifier in Python has a Classifier for each"
        )
    encoder = Encoder.from_pretrained(folder, device=device)
    if "default_prompt" not in note.values:  # an older folder, whose classifier read without
        encoder.default_prompt = None
    return read_head(folder, encoder)


def read_head(folder: Path, encoder: Encoder) -> tuple[ClassifierParts, Parity]:
    """A classifier of an encoder and what `write_head` wrote, and the logits that it gave when it was saved.

    Args:
        folder: Where head and classes are.
        encoder: What stands before the head.

    Raises:
        UserError: If a file is damaged, or the files do not fit together.
    """
    note = JsonObject.read(folder / NOTE_FILE)
    saved = note.inner("parity")
    texts = saved.require("texts", tuple[str, ...])
    parity = Parity(texts, saved.table("logits", len(texts)))
    classes = note.require("classes", tuple[str, ...])
    parts = ClassifierParts(
        encoder,
        _read_head(folder, note.require("head", HeadShape), encoder, classes).to(encoder.device),
        classes,
        note.require("multi_label", bool),
        note.require("temperature", float),
        note.require("thresholds", tuple[float, ...]),
        read_rejection(folder, encoder.dimension),
    )
    return parts, parity


def _read_head(
    folder: Path, shape: HeadShape, encoder: Encoder, classes: Sequence[str]
) -> ClassificationHead:
    try:
        if (shape.dimension, shape.classes) != (encoder.dimension, len(classes)):
            raise ValueError(f"{shape} stands before {len(classes)} classes")
        head = ClassificationHead(**asdict(shape))
        head.load_state_dict(load_file(folder / HEAD_FILE))
    except (RuntimeError, OSError, ValueError, SafetensorError) as error:
        fault = f"{folder / NOTE_FILE} and {HEAD_FILE} do not fit together ({error})"
        raise UserError(f"{fault}: take both from the same training") from error
    return head
