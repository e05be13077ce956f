"""A classifier of several label columns: one encoder, and a head with classes of its own for each column."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Unpack, overload

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import nn

from textcl.classifier.classifier import Classifier, vectors_of
from textcl.classifier.columns_folder import columns_of, read_columns, write_columns
from textcl.data.arguments import checked_arguments
from textcl.data.texts import as_texts
from textcl.encoder.encoder import PARITY_TEXTS, Encoder
from textcl.encoder.hub import find_model
from textcl.encoder.peers import ReadingOptions
from textcl.errors import UserError


class ColumnsClassifier(nn.Module):
    """A `Classifier` for each of several label columns, around one encoder that reads a text once for all of them.

    `from_pretrained` loads one that `textcl train` or `save_pretrained` left.

    Args:
        parts: A classifier by the name of each column; all have the same encoder.

    Raises:
        UserError: If there are fewer than two, or they have different encoders.
    """

    @checked_arguments
    def __init__(self, parts: Mapping[str, Classifier]) -> None:
        super().__init__()
        self.columns = tuple(parts)
        self._parts = nn.ModuleList(parts.values())
        if len(parts) < 2:
            raise UserError(f"several label columns are two or more, got {len(parts)}")
        if len({id(part.encoder) for part in parts.values()}) > 1:
            raise UserError("classifiers of several label columns share one encoder, these do not")

    @property
    def parts(self) -> dict[str, Classifier]:
        """The classifier of each column, by its name."""
        parts = (part for part in self._parts if isinstance(part, Classifier))
        return dict(zip(self.columns, parts, strict=True))

    def __getitem__(self, column: str) -> Classifier:
        """The classifier of a column.

        Raises:
            UserError: If there is none of that name.
        """
        if column not in self.columns:
            raise UserError(
                f"the classifier has the label columns {', '.join(self.columns)}, and not {column}"
            )
        return self.parts[column]

    @property
    def encoder(self) -> Encoder:
        """The encoder of all columns."""
        return self.parts[self.columns[0]].encoder

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.encoder.device

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Names of the classes of each column, in the order of its logits."""
        return {name: part.classes for name, part in self.parts.items()}

    def gradient_checkpointing_enable(self) -> None:
        """Recompute the backbone's activations in the backward pass instead of keeping them."""
        self.encoder.gradient_checkpointing_enable()

    def logits(
        self, texts: Iterable[str], **options: Unpack[ReadingOptions]
    ) -> dict[str, Float32[np.ndarray, "N C"]]:
        """Class logits of texts in each column, not divided by the temperatures; every text is encoded once.

        Args:
            texts: Any number of texts.
            options: As of `Classifier.logits`.
        """
        vectors = vectors_of(self.encoder, as_texts(texts), **options)
        return {name: part.logits_of(vectors) for name, part in self.parts.items()}

    def predict_proba(
        self, texts: Iterable[str], **options: Unpack[ReadingOptions]
    ) -> dict[str, Float32[np.ndarray, "*N C"]]:
        """Probability of each class of each column, of one text its rows; every text is encoded once.

        Args:
            texts: Any number of texts, or one text.
            options: As of `Classifier.logits`.
        """
        if isinstance(texts, str):
            return {name: x[0] for name, x in self.predict_proba([texts], **options).items()}
        logits = self.logits(texts, **options)
        return {name: part.probabilities(logits[name]) for name, part in self.parts.items()}

    def predict_or_reject(
        self, texts: Iterable[str], **options: Unpack[ReadingOptions]
    ) -> dict[str, tuple[Float32[np.ndarray, "N C"], Bool[np.ndarray, " N"] | None]]:
        """Probability of each class of each column, and whether the text is rejected as one of none of them.

        Args:
            texts: Any number of texts.
            options: As of `Classifier.logits`.

        Returns:
            Both by column; None in place of the second where nothing was fitted that rejects.

        Raises:
            UserError: If nothing was fitted that rejects for any of the columns.
        """
        if all(part.rejection is None for part in self.parts.values()):
            raise UserError(
                f"this classifier has no threshold for rejecting texts: fit one on held-out rows with textcl reject "
                f"and --column label={self.columns[0]}, or textcl.fit_rejection"
            )
        vectors = vectors_of(self.encoder, as_texts(texts), **options)
        logits = {name: part.logits_of(vectors) for name, part in self.parts.items()}
        return {
            name: (
                part.probabilities(logits[name]),
                part.rejection and part.rejection.rejects(logits[name], vectors),
            )
            for name, part in self.parts.items()
        }

    @overload
    def predict(self, texts: str, **options: Unpack[ReadingOptions]) -> dict[str, str]: ...  # pyright: ignore[reportOverlappingOverload]

    @overload
    def predict(
        self, texts: Iterable[str], **options: Unpack[ReadingOptions]
    ) -> dict[str, list[str]]: ...

    def predict(
        self, texts: Iterable[str], **options: Unpack[ReadingOptions]
    ) -> dict[str, str] | dict[str, list[str]]:
        """The class of each text in each column, by the name of the column.

        Args:
            texts: Any number of texts, or one text.
            options: As of `Classifier.logits`.
        """
        if isinstance(texts, str):
            return {name: labels[0] for name, labels in self.predict([texts], **options).items()}
        probabilities = self.predict_proba(texts, **options)
        return {
            name: [part.classes[place] for place in probabilities[name].argmax(1)]
            for name, part in self.parts.items()
        }

    @checked_arguments
    def save_pretrained(
        self, directory: str | Path, *, card: Mapping[str, object] | None = None
    ) -> None:
        """Write a folder, whole or not at all; an older one is replaced.

        It is the sentence-transformers folder of the encoder with the names of the columns in classifier.json, and for
        each of them a folder, label-1, label-2, …, with what `Classifier.save_pretrained` writes beside an encoder.

        Args:
            directory: Folder to make or replace.
            card: Facts for the model card, as in `Encoder.save_pretrained`.

        Raises:
            UserError: If the place is not a folder.
        """
        vectors = vectors_of(self.encoder, PARITY_TEXTS, precision="float32")
        heads = {
            name: (part.as_parts, part.logits_of(vectors)) for name, part in self.parts.items()
        }
        write_columns(Path(directory), self.encoder, heads, card or {})

    @classmethod
    @checked_arguments
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        revision: str | None = None,
        device: str | torch.device | None = None,
    ) -> ColumnsClassifier:
        """Load a classifier of several label columns, in eval mode.

        Args:
            name_or_path: A run, a folder that `save_pretrained` wrote, or the name of one on the hub.
            revision: Branch, tag or commit on the hub.
            device: Where the model goes; a GPU if there is one when None.

        Raises:
            UserError: If there is no such model, or it has no label columns.
            RunError: If its logits differ from those saved with it.
        """
        folder = find_model(name_or_path, revision=revision)
        heads = read_columns(folder, device)
        parts: dict[str, Classifier] = {}
        for name, (head, parity) in heads.items():
            parts[name] = Classifier.of_parts(head)
            logits = parts[name].logits(parity.texts, precision="float32")
            parity.check(logits, folder)
        return cls(parts).eval()


@checked_arguments
def load_classifier(name_or_path: str | Path) -> Classifier | ColumnsClassifier:
    """A classifier of one label column, or of several, as a folder has it.

    Args:
        name_or_path: A run, a folder, or the name of one on the hub.

    Raises:
        UserError: If it is no classifier.
        RunError: If its logits differ from those saved with it.
    """
    kind = ColumnsClassifier if columns_of(find_model(name_or_path)) else Classifier
    return kind.from_pretrained(name_or_path)
