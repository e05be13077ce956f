"""The part of an encoder between texts and tokens: prompts, batches, roles and similarities."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Literal, Unpack, overload

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from textcl.data.arguments import checked_arguments
from textcl.data.texts import as_texts
from textcl.encoder.backbone import longest_row
from textcl.encoder.batches import run_in_batches, usual_budget
from textcl.encoder.blocks import encode_texts
from textcl.encoder.peers import (
    EncodeArguments,
    EvaluatorScores,
    PeerOptions,
    own_arguments,
    role_arguments,
)
from textcl.encoder.precision import inference
from textcl.encoder.reader import Reader, find_prompt, prompt_length
from textcl.encoder.similarity import as_vectors, compare, compare_rows
from textcl.encoder.token_encoder import TokenEncoder
from textcl.encoder.tokenizing import tokenize
from textcl.errors import UserError
from textcl.types import Tokens


class TextEncoder(TokenEncoder):
    """Texts, or rows of tokens, to one vector each; the arguments are those of `Encoder`."""

    def __init__(
        self,
        backbone: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
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
        longest = longest_row(backbone, tokenizer)
        super().__init__(backbone, pooling=pooling, max_length=max_length or longest, dense=dense)
        self.tokenizer = tokenizer
        self.normalize = normalize
        self.prompts = dict(prompts or {})
        self.default_prompt = default_prompt
        self.truncate_dim = truncate_dim
        self.similarity_name = similarity_name
        self.kept = dict(kept or {})
        self.include_prompt = include_prompt
        self.model_card_data = EvaluatorScores()
        self._longest = longest
        self._check_length(self.max_length)

    @checked_arguments
    def tokenize(self, texts: Iterable[str], max_length: int | None = None) -> Tokens:
        """Token ids with special tokens, cut to `max_length` (the encoder's own when None).

        Raises:
            UserError: If it holds something else than texts, or one that is not valid Unicode, or the model does not
                take such long rows.
        """
        if max_length is not None:
            self._check_length(max_length)
        return tokenize(self.tokenizer, list(as_texts(texts)), max_length or self.max_length)

    @checked_arguments
    def reader(
        self,
        *,
        prompt: str | None = None,
        prompt_text: str | None = None,
        max_length: int | None = None,
    ) -> Reader:
        """Texts to token ids as `encode` makes them.

        Args:
            prompt: As for `encode`.
            prompt_text: As for `encode`.
            max_length: Most tokens of a row; `self.max_length` when None.

        Raises:
            UserError: If there is no such prompt, or the model does not take such long rows.
        """
        if max_length is not None:
            self._check_length(max_length)
        text = find_prompt(self.prompts, self.default_prompt, prompt, prompt_text)
        length = max_length or self.max_length
        left_out = 0 if self.include_prompt else prompt_length(self.tokenizer, text, length)
        return Reader(self.tokenizer, length, text, left_out)

    @checked_arguments
    def set_default_prompt(self, name: str | None) -> None:
        """Choose the prompt that is put in front when none is asked for.

        Args:
            name: One of `prompts`; None leaves the default as it is, "" leaves prompts out.

        Raises:
            UserError: If there is no such prompt.
        """
        if name is not None:
            find_prompt(self.prompts, None, name)
            self.default_prompt = name or None

    @overload
    def encode(
        self,
        texts: Iterable[str],
        *,
        convert_to_tensor: Literal[True],
        **options: Unpack[EncodeArguments],
    ) -> Float[Tensor, "*N _"]: ...

    @overload
    def encode(
        self,
        texts: Iterable[str],
        *,
        convert_to_tensor: Literal[False] = False,
        **options: Unpack[EncodeArguments],
    ) -> Float[np.ndarray, "*N _"]: ...

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
        convert_to_tensor: bool = False,
        **peers: Unpack[PeerOptions],
    ) -> Float[np.ndarray, "*N _"] | Float[Tensor, "*N _"]:
        """Vectors of texts, in the order given; of one text, its vector.

        Texts are taken in blocks, sorted by length and run in batches of about equal work, in eval mode.

        Args:
            texts: N texts; an iterator is read block by block. Or one text.
            batch_tokens: Most tokens of a batch; a value that suits the device and its free memory when None. A batch
                that does not fit into memory is run again with half as many.
            prompt: Name of one of `prompts` to put in front; the model's default when None, "" for none.
            prompt_text: A text of your own to put in front instead.
            normalize: True gives what is kept of a vector length 1, False leaves lengths alone. None is the model's own
                way: where `self.normalize` is set, the whole vector gets length 1 before it is cut to `truncate_dim`.
            truncate_dim: Keep so many leading dimensions; `self.truncate_dim` when None.
            show_progress: Whether to show a bar on the terminal.
            precision: "float32", "bfloat16", or None for bfloat16 where the machine is fast at it.
            dtype: "float32", or "float16" for vectors of half the size, rounded when they leave the device.
            convert_to_tensor: Whether to give a tensor on the encoder's device instead of an array.
            peers: Arguments of `SentenceTransformer.encode`, as of `PeerOptions`: batch_size, normalize_embeddings,
                show_progress_bar, prompt_name, convert_to_numpy. `prompt` is a name here, the text is `prompt_text`.

        Raises:
            UserError: If an argument is out of range or given twice, or `texts` are no texts: a table, a missing value.
        """
        given: EncodeArguments = {
            "batch_tokens": batch_tokens, "prompt": prompt, "normalize": normalize, "show_progress": show_progress,
        }  # fmt: skip
        own = own_arguments(given, peers, self._budget, self.max_length)
        reader = self.reader(prompt=own.prompt, prompt_text=prompt_text)
        unit = self.normalize and own.normalize is None

        def vectors_of(block: Tokens, advance: Callable[[int], None]) -> Tensor:
            places, budget = self.positions(block), own.batch_tokens
            embed = partial(self.embed_filled, usual=budget)
            vectors = run_in_batches(embed, block, places, budget, advance)
            return F.normalize(vectors, dim=-1) if unit else vectors

        with inference(self, self.backbone, precision):
            vectors = encode_texts(
                texts,
                reader,
                vectors_of,
                width=self.dimension,
                truncate_dim=self.truncate_dim if truncate_dim is None else truncate_dim,
                normalize=own.normalize is True,
                dtype=dtype,
                show_progress=own.show_progress,
            )
        return torch.from_numpy(vectors).to(self.device) if convert_to_tensor else vectors

    def encode_query(
        self,
        texts: Iterable[str],
        *,
        convert_to_tensor: bool = False,
        **options: Unpack[EncodeArguments],
    ) -> Float[np.ndarray, "*N _"] | Float[Tensor, "*N _"]:
        """Vectors of queries: `encode` with the prompt "query" where the model has it and none is asked for."""
        named = role_arguments(self.prompts, "query", options)
        if convert_to_tensor:
            return self.encode(texts, convert_to_tensor=True, **named)
        return self.encode(texts, **named)

    def encode_document(
        self,
        texts: Iterable[str],
        *,
        convert_to_tensor: bool = False,
        **options: Unpack[EncodeArguments],
    ) -> Float[np.ndarray, "*N _"] | Float[Tensor, "*N _"]:
        """Vectors of documents: `encode` with the prompt "document", "passage" or "corpus", likewise."""
        named = role_arguments(self.prompts, "document", options)
        if convert_to_tensor:
            return self.encode(texts, convert_to_tensor=True, **named)
        return self.encode(texts, **named)

    @property
    def similarity_fn_name(self) -> str:
        """`similarity_name`, as sentence-transformers calls it."""
        return self.similarity_name

    @property
    def max_seq_length(self) -> int:
        """`max_length`, as sentence-transformers calls it."""
        return self.max_length

    @max_seq_length.setter
    def max_seq_length(self, length: int) -> None:
        self._check_length(length)
        self.max_length = length

    def get_embedding_dimension(self) -> int:
        """Length of the vectors that `encode` gives."""
        return min(self.truncate_dim or self.dimension, self.dimension)

    get_sentence_embedding_dimension = get_embedding_dimension

    @property
    def _budget(self) -> int:
        return usual_budget(self.device, self.backbone.config.hidden_size)

    def similarity(
        self,
        a: Iterable[str] | Float[np.ndarray, "*N D"] | Float[Tensor, "*N D"],
        b: Iterable[str] | Float[np.ndarray, "*M D"] | Float[Tensor, "*M D"],
    ) -> Float32[np.ndarray, "N M"] | Float32[Tensor, "N M"]:
        """Similarity of every text or vector of `a` with every one of `b`, as `similarity_name` says.

        The cosine is between -1 and 1; a distance is negated, so that larger is always more similar.

        Args:
            a: N texts, as for `encode`, or their vectors; a single one is a row of its own.
            b: M of them.

        Returns:
            An array; a tensor where `a` is one.
        """
        first, second = as_vectors(a, self.encode), as_vectors(b, self.encode)
        table = compare(first, second, self.similarity_name)
        return table if isinstance(a, Tensor) else table.numpy()

    def similarity_pairwise(
        self,
        a: Iterable[str] | Float[np.ndarray, "*N D"] | Float[Tensor, "*N D"],
        b: Iterable[str] | Float[np.ndarray, "*N D"] | Float[Tensor, "*N D"],
    ) -> Float32[np.ndarray, " N"] | Float32[Tensor, " N"]:
        """Similarity of row i of `a` with row i of `b`; otherwise as `similarity`."""
        first, second = as_vectors(a, self.encode), as_vectors(b, self.encode)
        values = compare_rows(first, second, self.similarity_name)
        return values if isinstance(a, Tensor) else values.numpy()

    def finish(self, vectors: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """Give rows of `forward` length 1 where `normalize` is set, as `encode` does."""
        return F.normalize(vectors, dim=-1) if self.normalize else vectors

    def _check_length(self, max_length: int) -> None:
        if not 1 <= max_length <= self._longest:
            raise UserError(
                f"max_length={max_length} does not fit the model: choose 1 to {self._longest}"
            )
