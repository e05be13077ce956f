"""The sentence encoder: texts in, vectors out; loaded from a folder or the hub, and saved."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from textcl.data.arguments import checked_arguments
from textcl.data.files import replacing
from textcl.encoder.card import render_card
from textcl.encoder.dense import pooler_layer
from textcl.encoder.folder import Description
from textcl.encoder.folder_writing import write_folder
from textcl.encoder.hub import push_folder
from textcl.encoder.loading import load_parts
from textcl.encoder.parity import PARITY_TEXTS as PARITY_TEXTS
from textcl.encoder.parity import Parity
from textcl.encoder.pooling import POOLINGS as POOLINGS
from textcl.encoder.precision import usable_device
from textcl.encoder.similarity import SIMILARITIES as SIMILARITIES
from textcl.encoder.storage import rounding_of
from textcl.encoder.text_encoder import TextEncoder
from textcl.errors import UserError


class Encoder(TextEncoder):
    """Texts, or rows of tokens, to one vector each.

    `from_pretrained` makes one from a HuggingFace or sentence-transformers folder or hub name.

    Args:
        backbone: HuggingFace text encoder; or a folder or hub name, as for `from_pretrained`, and nothing else.
        tokenizer: Its tokenizer.
        pooling: One of `POOLINGS`, or several joined by "+".
        max_length: Longer texts are cut to so many tokens, special ones included; what the model takes when None.
        normalize: Whether `encode` scales vectors to length 1.
        dense: Layers behind the pooling that belong to the model.
        prompts: Texts that `encode` can put in front, by name.
        default_prompt: Name of the prompt that is used when none is asked for.
        truncate_dim: Leading dimensions that `encode` keeps by default; all when None.
        similarity_name: What `similarity` computes, one of `SIMILARITIES`.
        kept: Settings of a sentence-transformers folder that are written again as they were.
        include_prompt: Whether the tokens of a prompt are part of the pooling, and not only seen by those of the text.
    """

    @checked_arguments
    def __init__(
        self,
        backbone: PreTrainedModel | str | Path,
        tokenizer: PreTrainedTokenizerBase | None = None,
        *,
        pooling: str = "mean",
        max_length: int | None = None,
        normalize: bool = False,
        dense: Sequence[nn.Sequential] = (),
        prompts: Mapping[str, str] | None = None,
        default_prompt: str | None = None,
        truncate_dim: int | None = None,
        similarity_name: str = "cosine",
        kept: Mapping[str, object] | None = None,
        include_prompt: bool = True,
    ) -> None:
        if isinstance(backbone, str | Path):
            self.__dict__.update(self.from_pretrained(backbone).__dict__)
            return
        is_model = isinstance(cast("object", backbone), PreTrainedModel)
        if tokenizer is None or not is_model or not hasattr(tokenizer, "model_max_length"):
            raise UserError(
                f"an Encoder is made of a backbone of transformers and its tokenizer, or of the name of a model, got "
                f"a {type(backbone).__name__} and a {type(tokenizer).__name__}"
            )
        if not all(isinstance(cast("object", layers), nn.Sequential) for layers in dense):
            raise UserError("Encoder: dense is a list of torch.nn.Sequential")
        super().__init__(
            backbone,
            tokenizer,
            pooling=pooling,
            max_length=max_length,
            normalize=normalize,
            dense=dense,
            prompts=prompts,
            default_prompt=default_prompt,
            truncate_dim=truncate_dim,
            similarity_name=similarity_name,
            kept=kept,
            include_prompt=include_prompt,
        )
        self.start_pooling: str | None = None

    @classmethod
    @checked_arguments
    def from_pretrained(
        cls,
        name_or_path: str | Path,
        *,
        pooling: str | None = None,
        default_pooling: str = "mean",
        max_length: int | None = None,
        num_layers: int | None = None,
        normalize: bool | None = None,
        dropout: float | None = None,
        bidirectional: bool | None = None,
        weights: str = "float32",
        adapter: str | None = None,
        revision: str | None = None,
        device: str | torch.device | None = None,
        trust_remote_code: bool = False,
    ) -> Encoder:
        """Load an encoder, in eval mode.

        Args:
            name_or_path: A HuggingFace or sentence-transformers folder, or the name of such a model on the hub.
            pooling: One of `POOLINGS`; what a sentence-transformers folder says, else `default_pooling`, when None.
            default_pooling: Pooling of a plain checkpoint of transformers, whose folder names none; a causal
                model takes the last token, a bidirectional decoder or T5 the mean.
            max_length: Most tokens of a text; what the folder says, else what the model takes, when None.
            num_layers: Keep only the first so many layers.
            normalize: Whether `encode` gives unit vectors; what the folder says, else False, when None.
            dropout: Probability of all dropout of the backbone; what the folder says when None.
            bidirectional: Whether each token of a decoder sees both sides of it, and not only what stands before it;
                what the folder says when None.
            weights: What the weights of the backbone are kept as: float32, bfloat16, or 4bit, which needs CUDA. An
                adapter learns in float32 anyway.
            adapter: A fresh adapter that learns in place of the weights, such as "lora:16", "rslora:16" or "dora:16".
                None adds none; the folder of an adapter, of textcl or of peft, is loaded with its base anyway.
            revision: Branch, tag or commit on the hub.
            device: Where the model goes; a GPU if there is one when None.
            trust_remote_code: Whether Python code that comes with the model may run.

        Raises:
            UserError: If there is no such model or device, its folder holds something that textcl does not know or
                never opens, or a setting does not fit it.
            RunError: If the vectors differ from those saved with the model.
        """
        parts = load_parts(
            name_or_path,
            pooling=pooling,
            default_pooling=default_pooling,
            max_length=max_length,
            num_layers=num_layers,
            dropout=dropout,
            bidirectional=bidirectional,
            weights=weights,
            adapter=adapter,
            revision=revision,
            trust_remote_code=trust_remote_code,
        )
        described = parts.described
        encoder = cls(
            parts.backbone,
            parts.tokenizer,
            pooling=parts.pooling,
            max_length=parts.max_length,
            normalize=described.normalize if normalize is None else normalize,
            dense=parts.dense,
            prompts=described.prompts,
            default_prompt=described.default_prompt,
            truncate_dim=described.truncate_dim,
            similarity_name=described.similarity,
            kept=described.kept,
            include_prompt=described.include_prompt,
        ).eval()
        encoder.start_pooling = described.pooling
        encoder.to(usable_device(device))
        changes = (pooling, max_length, num_layers, normalize, bidirectional)
        unchanged = weights == "float32" and all(change is None for change in changes)
        if parts.parity is not None and unchanged:
            vectors = encoder.encode(parts.parity.texts, precision="float32")
            parts.parity.check(vectors, parts.folder)
        return encoder

    @checked_arguments
    def save_pretrained(
        self, directory: str | Path, *, card: Mapping[str, object] | None = None
    ) -> None:
        """Write a sentence-transformers folder, whole or not at all; an older one is replaced.

        Besides the model it holds a model card, and texts with their vectors that loading checks.

        Args:
            directory: Folder to make or replace.
            card: Facts for the card: any of "recipe", "settings", "data", "seed", "scores", "command", and more.

        Raises:
            UserError: If the place is not a folder.
        """
        with replacing(Path(directory)) as folder:
            description = replace(self.write(folder), transformer=Path(directory))
            text = render_card(description, self.backbone.config, self.dimension, card or {})
            (folder / "README.md").write_text(text, encoding="utf-8")

    @checked_arguments
    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        commit_message: str = "Add the model",
        token: str | None = None,
    ) -> str:
        """Upload what `save_pretrained` writes.

        Args:
            repo_id: Name on the hub, such as "me/my-encoder"; made where it does not exist.
            private: Whether a new one is private; the account's own default when None.
            commit_message: Of the upload.
            token: Of the account; the one that the machine is logged in with when None.

        Returns:
            Address of the upload.

        Raises:
            RunError: If the hub does not take it.
        """
        with tempfile.TemporaryDirectory(prefix="textcl-push-") as place:
            self.save_pretrained(Path(place) / "model")
            return push_folder(Path(place) / "model", repo_id, private, commit_message, token)

    def write(self, folder: Path) -> Description:
        """Write everything but the model card into an empty folder.

        Returns:
            What the folder says about the encoder.
        """
        description = self.describe(folder)
        vectors = self.encode(PARITY_TEXTS, precision="float32")
        parity = Parity(PARITY_TEXTS, vectors, rounding_of(self.backbone))
        write_folder(folder, self.backbone, self.tokenizer, description, self.saved_dense, parity)
        return description

    def describe(self, folder: Path) -> Description:
        """Description of the encoder for a saved folder.

        Args:
            folder: Where it is written.
        """
        return Description(
            folder,
            pooling=self.saved_pooling,
            normalize=self.normalize,
            max_length=self.max_length,
            prompts=self.prompts,
            default_prompt=self.default_prompt,
            truncate_dim=self.truncate_dim,
            similarity=self.similarity_name,
            kept=self.kept,
            include_prompt=self.include_prompt,
        )

    @property
    def saved_pooling(self) -> str:
        """The pooling that a saved folder names: `cls_pooler` is `cls` with the pooler as a layer behind it."""
        if self.pooling == "cls_pooler" and pooler_layer(self.backbone) is not None:
            return "cls"
        return self.pooling

    @property
    def saved_dense(self) -> list[nn.Sequential]:
        """The layers behind `saved_pooling`."""
        dense: list[nn.Sequential] = [*self.dense]  # pyright: ignore[reportAssignmentType]
        if self.saved_pooling != self.pooling and (pooler := pooler_layer(self.backbone)):
            return [pooler, *dense]
        return dense
