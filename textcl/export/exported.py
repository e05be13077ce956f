"""An encoder that runs outside of torch: the folder that `textcl export` writes, and `encode` on it.

The folder holds the graph (pooling, the layers behind it and the scaling to length 1 included), the tokenizer, and
`textcl_export.json`: what the graph is, and texts with the float32 vectors of torch, which loading checks.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from transformers import PreTrainedTokenizerBase

from textcl.data.arguments import checked_arguments
from textcl.data.texts import as_texts
from textcl.encoder.backbone import load_tokenizer
from textcl.encoder.blocks import encode_texts
from textcl.encoder.hub import find_model
from textcl.encoder.reader import Reader, find_prompt
from textcl.encoder.tokenizing import tokenize
from textcl.errors import RunError, UserError
from textcl.export.folder import Export
from textcl.export.parity import LOWEST_COSINE, closeness
from textcl.export.running import Graph
from textcl.types import Tokens


class ExportedEncoder:
    """Texts to vectors by an exported graph on the CPU; `encode` is that of `Encoder`.

    Args:
        folder: What `textcl export` wrote.
        export: What the folder says.
        tokenizer: Of the encoder.
    """

    def __init__(self, folder: Path, export: Export, tokenizer: PreTrainedTokenizerBase) -> None:
        self.folder, self.export, self.tokenizer = folder, export, tokenizer
        self.graph = Graph(folder, export)
        self.dimension, self.max_length = export.dimension, export.max_length
        self.prompts, self.default_prompt = dict(export.prompts), export.default_prompt
        self.normalize, self.truncate_dim = export.normalize, export.truncate_dim

    @classmethod
    @checked_arguments
    def from_pretrained(cls, folder: str | Path) -> ExportedEncoder:
        """Load an export and compare its vectors with those that torch gave.

        Raises:
            UserError: If there is no such folder, or the packages of its backend are not installed.
            RunError: If the vectors differ by more than the arithmetic explains.
        """
        place = find_model(folder)
        encoder = cls(place, Export.read(place), load_tokenizer(place))
        encoder.check()
        return encoder

    def check(self, precision: str | None = None) -> Float[np.ndarray, " N"]:
        """The `closeness` of its vectors to those that torch gave.

        Raises:
            RunError: If one is below `LOWEST_COSINE`.
        """
        precision = self.graph.precision(precision)
        vectors = self.encode(self.export.texts, prompt="", precision=precision)
        cosines = closeness(vectors, np.asarray(self.export.vectors, np.float32))
        arithmetic = "int8" if self.export.int8 else precision
        lowest = LOWEST_COSINE[arithmetic]
        if not cosines.min() >= lowest:
            raise RunError(
                f"the {self.export.backend} graph in {self.folder} does not give the vectors of torch: lowest cosine "
                f"{cosines.min():.6f} in {arithmetic}, expected at least {lowest}; use --backend torch for this model"
            )
        return cosines

    def tokenize(self, texts: Sequence[str], max_length: int | None = None) -> Tokens:
        """Token ids with special tokens, cut to `max_length` (the encoder's own when None)."""
        return tokenize(self.tokenizer, list(as_texts(texts)), max_length or self.max_length)

    @checked_arguments
    def reader(self, *, prompt: str | None = None, prompt_text: str | None = None) -> Reader:
        """Texts to token ids as `encode` makes them; arguments as there."""
        text = find_prompt(self.prompts, self.default_prompt, prompt, prompt_text)
        return Reader(self.tokenizer, self.max_length, text)

    @checked_arguments
    def encode(
        self,
        texts: Iterable[str],
        *,
        batch_tokens: int | None = None,
        prompt: str | None = None,
        prompt_text: str | None = None,
        normalize: bool | None = None,
        truncate_dim: int | None = None,
        show_progress: bool = False,
        precision: str | None = None,
        dtype: str = "float32",
    ) -> Float[np.ndarray, "*N _"]:
        """Vectors of texts, in the order given, or of one text its vector; arguments as for `Encoder.encode`.

        Texts are taken in blocks, sorted by length and run in padded batches of about equal work.

        Raises:
            UserError: If an argument is out of range or does not fit the graph, or a text is not a string.
        """
        if normalize is False and self.normalize:
            raise UserError(
                f"the graph in {self.folder} scales its vectors to length 1: export it again with --no-normalize"
            )
        arithmetic = self.graph.precision(precision)
        return encode_texts(
            texts,
            self.reader(prompt=prompt, prompt_text=prompt_text),
            lambda tokens, advance: self.graph.vectors(tokens, arithmetic, batch_tokens, advance),
            width=self.dimension,
            truncate_dim=self.truncate_dim if truncate_dim is None else truncate_dim,
            normalize=normalize is True,
            dtype=dtype,
            show_progress=show_progress,
        )
