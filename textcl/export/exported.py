"""An encoder that runs outside of torch: the folder that `textcl export` writes, and `encode` on it.

The folder holds the graph (pooling, the layers behind it and the scaling to length 1 included), the tokenizer, and
`textcl_export.json`: what the graph is, and texts with the float32 vectors of torch, which loading checks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from textcl.data.arguments import checked_arguments
from textcl.data.files import write_json
from textcl.data.json_files import JsonObject
from textcl.data.texts import as_texts, count_of
from textcl.encoder.backbone import EXPORT_FILE, load_tokenizer
from textcl.encoder.blocks import encode_blocks, padded_batches
from textcl.encoder.hub import find_model
from textcl.encoder.precision import check_precision, fast_bfloat16
from textcl.encoder.tokenizing import Reader, find_prompt, tokenize
from textcl.errors import RunError, UserError
from textcl.export.backends import Padded, Run, find_backend
from textcl.progress import progress
from textcl.types import Tokens

BATCH_TOKENS = 1024
"""Positions of a batch; the best of 512, 1024 and 2048 where it was measured, on a wide plateau."""

LOWEST_COSINE: Mapping[str, float] = {"float32": 0.9999, "bfloat16": 0.999, "int8": 0.95}
"""Lowest `closeness` to the float32 vectors of torch that is accepted, by the arithmetic of the graph."""


@dataclass(frozen=True)
class Export:
    """The content of `textcl_export.json`.

    Args:
        backend: Name of the backend.
        int8: Whether weights and activations have 8 bits.
        dimension: Length of a vector.
        pooling: Name of the pooling in the graph.
        normalize: Whether the graph scales vectors to length 1.
        max_length: Most tokens of a text.
        pad_id: Token id of padding.
        prompts: Texts to put in front, by name.
        default_prompt: Name of the prompt that is used when none is asked for.
        texts: Texts whose vectors are known.
        vectors: Their vectors in torch, float32.
        versions: Of the libraries that made the graph.
        truncate_dim: Leading dimensions that `encode` keeps by default; all when None.
    """

    backend: str
    int8: bool
    dimension: int
    pooling: str
    normalize: bool
    max_length: int
    pad_id: int
    prompts: Mapping[str, str]
    default_prompt: str | None
    texts: Sequence[str]
    vectors: Sequence[Sequence[float]]
    versions: Mapping[str, str] = field(default_factory=dict[str, str])
    truncate_dim: int | None = None

    @classmethod
    def read(cls, folder: Path) -> Export:
        """The description of an export folder.

        Raises:
            UserError: If it is not the folder of an export, or its file is damaged.
        """
        if not (folder / EXPORT_FILE).is_file():
            raise UserError(
                f"{folder} is not a folder that textcl export wrote: {EXPORT_FILE} is missing"
            )
        values = JsonObject.read(folder / EXPORT_FILE)
        texts = values.require("texts", list[str])
        return cls(
            backend=values.require("backend", str),
            int8=values.require("int8", bool),
            dimension=values.require("dimension", int),
            pooling=values.require("pooling", str),
            normalize=values.require("normalize", bool),
            max_length=values.require("max_length", int),
            pad_id=values.require("pad_id", int),
            prompts=values.texts("prompts"),
            default_prompt=values.get("default_prompt", str),
            texts=texts,
            vectors=values.table("vectors", rows=len(texts)).tolist(),
            versions=values.texts("versions"),
            truncate_dim=values.get("truncate_dim", int),
        )

    def write(self, folder: Path) -> None:
        """Write it into the folder."""
        write_json(folder / EXPORT_FILE, self)


class ExportedEncoder:
    """Texts to vectors by an exported graph on the CPU; `encode` is that of `Encoder`.

    Args:
        folder: What `textcl export` wrote.
        export: What the folder says.
        tokenizer: Of the encoder.
    """

    def __init__(self, folder: Path, export: Export, tokenizer: PreTrainedTokenizerBase) -> None:
        self.folder, self.export, self.tokenizer = folder, export, tokenizer
        self.backend = find_backend(export.backend)
        self.dimension, self.max_length = export.dimension, export.max_length
        self.prompts, self.default_prompt = dict(export.prompts), export.default_prompt
        self.normalize, self.truncate_dim = export.normalize, export.truncate_dim
        self._runs: dict[str, Run] = {}

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
        precision = self._precision(precision)
        vectors = self.encode(self.export.texts, prompt="", precision=precision)
        found = closeness(vectors, np.asarray(self.export.vectors, np.float32))
        arithmetic = "int8" if self.export.int8 else precision
        wanted = LOWEST_COSINE[arithmetic]
        if not found.min() >= wanted:
            raise RunError(
                f"the {self.export.backend} graph in {self.folder} does not give the vectors of torch: lowest cosine "
                f"{found.min():.6f} in {arithmetic}, expected at least {wanted}; use --backend torch for this model"
            )
        return found

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
        run = self._run(self._precision(precision))
        budget = batch_tokens or BATCH_TOKENS
        several = [texts] if isinstance(texts, str) else texts
        with progress("encoding", "texts", total=count_of(several), show=show_progress) as advance:
            vectors = encode_blocks(
                several,
                self.tokenize,
                lambda tokens: self._embed(run, tokens, budget, advance),
                width=self.dimension,
                prefix=find_prompt(self.prompts, self.default_prompt, prompt, prompt_text),
                truncate_dim=self.truncate_dim if truncate_dim is None else truncate_dim,
                normalize=normalize is True,
                dtype=dtype,
            )
        return vectors[0] if isinstance(texts, str) else vectors

    def _precision(self, precision: str | None) -> str:
        check_precision(precision)
        known = self.backend.PRECISIONS
        if precision is None:
            fast = "bfloat16" in known and fast_bfloat16("cpu")
            return "bfloat16" if fast else "float32"
        if precision not in known:
            raise UserError(
                f"the backend {self.export.backend!r} runs in {' or '.join(known)}, not in {precision}"
            )
        return precision

    def _run(self, precision: str) -> Run:
        if precision not in self._runs:
            graph = self.folder / self.backend.FILE
            try:
                self._runs[precision] = self.backend.load(graph, precision)
            except Exception as error:  # each backend has exceptions of its own
                fault = " ".join(str(error).split())
                raise UserError(
                    f"{graph} is missing or damaged: export the model again ({fault:.200})"
                ) from error
        return self._runs[precision]

    def _embed(
        self, run: Run, tokens: Tokens, budget: int, advance: Callable[[int], None]
    ) -> Float32[Tensor, "B D"]:
        order = torch.argsort(tokens.lengths, stable=True)
        vectors = np.empty((len(tokens), self.dimension), np.float32)
        rows = order.numpy()

        def receive(start: int, stop: int, found: Float32[np.ndarray, "R D"]) -> None:
            vectors[rows[start:stop]] = found
            advance(stop - start)

        run(padded(tokens.take(order), self.export.pad_id, budget), receive)
        return torch.from_numpy(vectors)


def padded(tokens: Tokens, pad_id: int, budget: int) -> Iterator[Padded]:
    """Batches of rows that are sorted by length."""
    for start, stop in padded_batches(tokens.lengths.tolist(), budget):
        ids, mask = tokens.rows(start, stop).padded(pad_id)
        yield Padded(start, stop, ids.numpy(), mask.long().numpy())


def closeness(
    vectors: Float[np.ndarray, "N D"], exact: Float[np.ndarray, "N D"]
) -> Float[np.ndarray, " N"]:
    """Cosine of each vector to the exact one, lowered where their lengths differ: 1 − |a − b|² / (2 |a| |b|)."""
    a, b = vectors.astype(np.float64), exact.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return 1 - np.square(a - b).sum(1) / (2 * np.maximum(lengths, 1e-12))
