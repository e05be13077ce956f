"""A trained classifier: encoder, head and classes; texts in, class probabilities out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Unpack, overload

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32
from torch import Tensor, nn

from textcl.classifier.folder import (
    NOTE_FILE,
    ClassifierParts,
    is_classifier,
    read_classifier,
    write_classifier,
)
from textcl.classifier.head import ClassificationHead
from textcl.classifier.rejection import Rejection
from textcl.classifier.targets import Targets, targets_of
from textcl.data.arguments import checked_arguments
from textcl.encoder.encoder import PARITY_TEXTS, Encoder
from textcl.encoder.hub import find_model
from textcl.encoder.peers import ReadingOptions
from textcl.errors import UserError
from textcl.types import Tokens

_HEAD_ROWS = 8192


class Classifier(nn.Module):
    """Rows of tokens to class logits.

    `from_pretrained` loads one that `textcl train` or `save_pretrained` left.

    Args:
        encoder: From texts to vectors.
        head: From vectors to class logits.
        classes: Names of the classes, in the order of the logits.
        multi_label: Whether a text has any number of the classes instead of exactly one.
        temperature: Divides the logits in front of the softmax or sigmoid; fitted by calibration.
        thresholds: Probability from which a class is predicted, one for each class, where texts have several; 0.5 for
            all when None.

    Raises:
        UserError: If a class has two places, or the numbers do not fit together.
    """

    @checked_arguments
    def __init__(
        self,
        encoder: Encoder,
        head: ClassificationHead,
        classes: Sequence[str],
        *,
        multi_label: bool = False,
        temperature: float = 1.0,
        thresholds: Sequence[float] | None = None,
        rejection: Rejection | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.head, self.rejection = encoder, head, rejection
        self.classes, self.multi_label = tuple(classes), multi_label
        self.temperature = float(temperature)
        self.thresholds = np.asarray(
            [0.5] * len(classes) if thresholds is None else thresholds, dtype=np.float64
        )
        if len(set(self.classes)) < len(self.classes):
            raise UserError(f"a class is named twice among {', '.join(self.classes)}")
        if head.output.out_features != len(classes) or len(self.thresholds) != len(classes):
            raise UserError(
                f"{len(classes)} classes do not fit {head.output.out_features} logits and "
                f"{len(self.thresholds)} thresholds: each class has one of both"
            )
        if not self.temperature > 0:
            raise UserError(f"temperature must be above 0, not {temperature}")

    @property
    def dimension(self) -> int:
        """Number of classes: the length of a row of logits."""
        return len(self.classes)

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        return self.encoder.device

    def forward(self, tokens: Tokens) -> Float[Tensor, "B classes"]:
        """Class logits of each row, not divided by the temperature."""
        return self.head(self.encoder(tokens))

    def gradient_checkpointing_enable(self) -> None:
        """Recompute the backbone's activations in the backward pass instead of keeping them."""
        self.encoder.gradient_checkpointing_enable()

    def logits(
        self, texts: Iterable[str], **options: Unpack[ReadingOptions]
    ) -> Float32[np.ndarray, "*N C"]:
        """Class logits of texts, not divided by the temperature; of one text, its logits.

        Args:
            texts: Any number of texts, or one text.
            options: As of `Encoder.encode`: batch_tokens, precision, show_progress.
        """
        if isinstance(texts, str):
            return self.logits([texts], **options)[0]
        return self.logits_of(vectors_of(self.encoder, texts, **options))

    def logits_of(self, vectors: Float[np.ndarray, "N D"]) -> Float32[np.ndarray, "N C"]:
        """Class logits of what `vectors_of` gave."""
        training = self.head.training
        self.head.eval()
        try:
            with torch.inference_mode():
                parts = [
                    self.head(torch.from_numpy(part).to(self.device)).cpu()
                    for part in np.split(vectors, range(_HEAD_ROWS, len(vectors), _HEAD_ROWS))
                ]
        finally:
            self.head.train(training)
        return torch.cat(parts).numpy()

    def probabilities(
        self, logits: Float[np.ndarray, "*N C"], temperature: float | None = None
    ) -> Float32[np.ndarray, "*N C"]:
        """Softmax of logits / temperature; sigmoid where texts have several labels.

        Args:
            logits: What `logits` gave.
            temperature: The classifier's own when None.
        """
        scaled = torch.from_numpy(np.asarray(logits, dtype=np.float64)) / (
            self.temperature if temperature is None else temperature
        )
        shares = torch.sigmoid(scaled) if self.multi_label else torch.softmax(scaled, -1)
        return shares.float().numpy()

    def predict_proba(
        self, texts: Iterable[str], **options: Unpack[ReadingOptions]
    ) -> Float32[np.ndarray, "*N C"]:
        """Probability of each class, of one text its row; rows sum to 1 unless texts have several labels.

        Args:
            texts: Any number of texts, or one text.
            options: As of `logits`.
        """
        return self.probabilities(self.logits(texts, **options))

    def predict_or_reject(
        self, texts: Iterable[str], **options: Unpack[ReadingOptions]
    ) -> tuple[Float32[np.ndarray, "*N C"], Bool[np.ndarray, "*N"]]:
        """Probability of each class, and whether the text is rejected as one of none of them.

        Args:
            texts: Any number of texts, or one text.
            options: As of `logits`.

        Raises:
            UserError: If nothing was fitted that rejects.
        """
        if self.rejection is None:
            raise UserError(
                "this classifier has no threshold for rejecting texts: fit one on held-out rows with textcl reject, "
                "or textcl.fit_rejection"
            )
        if isinstance(texts, str):
            probabilities, rejected = self.predict_or_reject([texts], **options)
            return probabilities[0], rejected[0]
        vectors = vectors_of(self.encoder, texts, **options)
        logits = self.logits_of(vectors)
        return self.probabilities(logits), self.rejection.rejects(logits, vectors)

    def decide(self, probabilities: Float[np.ndarray, "N C"]) -> Targets:
        """The most probable class of each row; where texts have several labels, those that reach their threshold."""
        if self.multi_label:
            return probabilities >= self.thresholds
        return probabilities.argmax(1)

    def names(self, decisions: Targets) -> list[str] | list[list[str]]:
        """Decisions, or targets, as names of classes: one for each row, or a list of them."""
        if decisions.ndim == 1:
            return [self.classes[index] for index in decisions]
        return [[self.classes[index] for index in np.flatnonzero(row)] for row in decisions]

    @overload
    def predict(self, texts: str, **options: Unpack[ReadingOptions]) -> str | list[str]: ...  # pyright: ignore[reportOverlappingOverload]

    @overload
    def predict(
        self, texts: Iterable[str], **options: Unpack[ReadingOptions]
    ) -> list[str] | list[list[str]]: ...

    def predict(
        self, texts: Iterable[str], **options: Unpack[ReadingOptions]
    ) -> str | list[str] | list[list[str]]:
        """The class of each text, or where texts have several labels a list of those that reach their threshold.

        Args:
            texts: Any number of texts, or one text.
            options: As of `logits`.
        """
        if isinstance(texts, str):
            return self.predict([texts], **options)[0]
        return self.names(self.decide(self.predict_proba(texts, **options)))

    def targets(self, labels: Iterable[object], place: str = "the data") -> Targets:
        """Names as class ids, or as rows of the classes that hold; see `targets_of`."""
        return targets_of(labels, self.classes, self.multi_label, place)

    @property
    def as_parts(self) -> ClassifierParts:
        """The parts, as a folder holds them."""
        return ClassifierParts(
            self.encoder,
            self.head,
            self.classes,
            self.multi_label,
            self.temperature,
            tuple(self.thresholds.tolist()),
            self.rejection,
        )

    @classmethod
    def of_parts(cls, parts: ClassifierParts) -> Classifier:
        """A classifier of parts, in eval mode."""
        return cls(
            parts.encoder,
            parts.head,
            parts.classes,
            multi_label=parts.multi_label,
            temperature=parts.temperature,
            thresholds=parts.thresholds,
            rejection=parts.rejection,
        ).eval()

    @checked_arguments
    def save_pretrained(
        self, directory: str | Path, *, card: Mapping[str, object] | None = None
    ) -> None:
        """Write a folder, whole or not at all; an older one is replaced.

        It is the sentence-transformers folder of the encoder with the head in classifier.safetensors, and classes,
        temperature, thresholds and the logits of a few texts in classifier.json. Where the head has the shape of the
        architecture's own (cls pooling, `head="own"` in a recipe), `AutoModelForSequenceClassification` of transformers
        loads the folder too, with equal logits; the model card says so, or why not.

        Args:
            directory: Folder to make or replace.
            card: Facts for the model card, as in `Encoder.save_pretrained`.

        Raises:
            UserError: If the place is not a folder.
        """
        logits = self.logits(PARITY_TEXTS, precision="float32")
        write_classifier(Path(directory), self.as_parts, logits, card or {})

    @classmethod
    @checked_arguments
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        revision: str | None = None,
        device: str | torch.device | None = None,
    ) -> Classifier:
        """Load a classifier, in eval mode.

        Args:
            name_or_path: A run, a folder that `save_pretrained` wrote, or the name of one on the hub.
            revision: Branch, tag or commit on the hub.
            device: Where the model goes; a GPU if there is one when None.

        Raises:
            UserError: If there is no such model, or it has no classes.
            RunError: If its logits differ from those saved with it.
        """
        folder = find_model(name_or_path, revision=revision)
        if not is_classifier(folder):
            raise UserError(
                f"{name_or_path} is no classifier, it has no {NOTE_FILE}: train one with "
                "textcl train --recipe few-shot, cross-entropy, supcon or lcl"
            )
        parts, parity = read_classifier(folder, device)
        classifier = cls.of_parts(parts)
        parity.check(classifier.logits(parity.texts, precision="float32"), folder)
        return classifier


def vectors_of(
    encoder: Encoder, texts: Iterable[str], **options: Unpack[ReadingOptions]
) -> Float32[np.ndarray, "N D"]:
    """Vectors as a head reads them: whole, and not normalised.

    Args:
        encoder: From texts to vectors.
        texts: N texts.
        options: As of `Encoder.encode`: batch_tokens, precision, show_progress.
    """
    whole = encoder.dimension
    return encoder.encode(texts, normalize=False, truncate_dim=whole, **options)
