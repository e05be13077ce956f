"""The sentence encoder: backbone, pooling and head; texts in, vectors out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from textcl.data.files import replacing
from textcl.encoder import backbone as backbones
from textcl.encoder.blocks import BATCH_TOKENS, batches, encode_blocks
from textcl.encoder.card import render_card
from textcl.encoder.dense import check_widths, load_dense
from textcl.encoder.folder import Description, Parity
from textcl.encoder.folder_reading import describe, lowercase, read_parity
from textcl.encoder.folder_writing import write_folder
from textcl.encoder.hub import find_model
from textcl.encoder.packing.dropout import use_fast_dropout
from textcl.encoder.packing.hidden_states import hidden_states, padded_hidden_states
from textcl.encoder.packing.lookup import use_kept_gradients
from textcl.encoder.pooling import POOLINGS as POOLINGS
from textcl.encoder.pooling import check_pooling, layers_of, pool, pool_all_positions
from textcl.encoder.precision import check_precision, fast_bfloat16, in_bfloat16
from textcl.encoder.similarity import SIMILARITIES as SIMILARITIES
from textcl.encoder.similarity import compare
from textcl.encoder.tokenizing import Reader, find_prompt, tokenize
from textcl.errors import UserError
from textcl.progress import progress
from textcl.types import Tokens

_log = logging.getLogger("textcl")

PARITY_TEXTS = (
    "A man is playing a guitar.",
    "",
    "Zwölf Boxkämpfer jagen Viktor über den Deich: 42 %?",
)
"""Texts whose vectors are kept with a model and compared when it is loaded."""


class Encoder(nn.Module):
    """Rows of tokens to one vector each.

    `from_pretrained` makes one from a HuggingFace or sentence-transformers folder or hub name.

    Args:
        backbone: HuggingFace text encoder.
        tokenizer: Its tokenizer.
        pooling: One of `POOLINGS`, or several joined by "+".
        max_length: Longer texts are cut to so many tokens, special ones included; what the model takes when None.
        normalize: Whether `encode` scales vectors to length 1.
        dense: Layers behind the pooling that belong to the model.
        prompts: Texts that `encode` can put in front, by name.
        default_prompt: Name of the prompt that is used when none is asked for.
        truncate_dim: How many leading dimensions `encode` keeps when not told otherwise; all when None.
        similarity_name: What `similarity` computes, one of `SIMILARITIES`.
        kept: Settings of a sentence-transformers folder that are written again as they were.
    """

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
    ) -> None:
        super().__init__()
        use_fast_dropout(backbone)
        use_kept_gradients(backbone)
        self.backbone = backbone
        self.dense = nn.Sequential(*dense)
        self.head: nn.Sequential | None = None
        self.keep_head = False
        self.tokenizer = tokenizer
        self.pooling = check_pooling(pooling)
        self.normalize = normalize
        self.prompts = dict(prompts or {})
        self.default_prompt = default_prompt
        self.truncate_dim = truncate_dim
        self.similarity_name = similarity_name
        self.kept = dict(kept or {})
        self._longest = backbones.longest_row(backbone, tokenizer)
        if max_length is not None:
            self._check_length(max_length)
        self.max_length: int = max_length or self._longest
        self.start_pooling: str | None = None

    @classmethod
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
        revision: str | None = None,
        device: str | torch.device | None = None,
        trust_remote_code: bool = False,
    ) -> Encoder:
        """Load an encoder, in eval mode and with float32 weights.

        Args:
            name_or_path: A HuggingFace or sentence-transformers folder, or the name of such a model on the hub.
            pooling: One of `POOLINGS`; what a sentence-transformers folder says, else `default_pooling`, when None.
            default_pooling: Pooling of a plain checkpoint of transformers, whose folder names none.
            max_length: Most tokens of a text; what the folder says, else what the model takes, when None.
            num_layers: Keep only the first so many layers.
            normalize: Whether `encode` gives unit vectors; what the folder says, else False, when None.
            dropout: Probability of all dropout of the backbone; what the folder says when None.
            revision: Branch, tag or commit on the hub.
            device: Where the model goes; a GPU if there is one when None.
            trust_remote_code: Whether Python code that comes with the model may run.

        Raises:
            UserError: If there is no such model, its folder holds something that textcl does not know or never
                opens, or a setting does not fit it.
            RunError: If the vectors differ from those saved with the model.
        """
        folder = find_model(name_or_path, revision=revision, trust_remote_code=trust_remote_code)
        described = describe(folder)
        for note in described.notes:
            _log.warning(note)
        if pooling is None and described.pooling is None:
            _log.warning(
                "%s is a checkpoint of transformers, which names no pooling: taking %r",
                folder,
                default_pooling,
            )
        pooling_used = pooling or described.pooling or default_pooling
        backbone = backbones.load_backbone(
            described.transformer,
            num_layers=num_layers,
            dropout=dropout,
            pooler=pooling_used == "cls_pooler",
            trust_remote_code=trust_remote_code,
        )
        check_widths(described, int(backbone.config.hidden_size))
        tokenizer = backbones.load_tokenizer(
            described.transformer, trust_remote_code=trust_remote_code
        )
        backbones.check_vocabulary(backbone, tokenizer, folder)
        if described.lowercase:
            lowercase(tokenizer)
        longest = backbones.longest_row(backbone, tokenizer)
        encoder = cls(
            backbone,
            tokenizer,
            pooling=pooling_used,
            max_length=max_length or min(described.max_length or longest, longest),
            normalize=described.normalize if normalize is None else normalize,
            dense=[load_dense(path) for path in described.dense],
            prompts=described.prompts,
            default_prompt=described.default_prompt,
            truncate_dim=described.truncate_dim,
            similarity_name=described.similarity,
            kept=described.kept,
        ).eval()
        encoder.start_pooling = described.pooling
        encoder.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        parity = read_parity(folder)
        unchanged = all(change is None for change in (pooling, max_length, num_layers, normalize))
        if parity is not None and unchanged:
            parity.check(encoder.encode(parity.texts, precision="float32"), folder)
        return encoder

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        for layer in reversed(list(self._projections())):
            return int(layer[0].out_features)  # pyright: ignore[reportArgumentType]
        return int(self.backbone.config.hidden_size) * len(self.pooling.split("+"))

    @property
    def averages_padding(self) -> bool:
        """Whether vectors depend on `max_length`, to which every row is padded."""
        return self.pooling == "mean_all"

    @property
    def embedding_width(self) -> int:
        """Columns of the embeddings in front of the first layer."""
        table: Any = self.backbone.get_input_embeddings()
        return int(table.weight.shape[1])

    def add_head(self, *, keep: bool) -> None:
        """Put a fresh layer with tanh behind the pooling, as SimCSE does.

        Args:
            keep: Whether the head also acts outside training and is saved with the model.

        Raises:
            UserError: If there is a head already.

        Source: Gao et al. 2021, https://arxiv.org/abs/2104.08821
        """
        if self.head is not None:
            raise UserError("the encoder has a head already")
        width = self.dimension
        linear = nn.Linear(width, width, device=self.device)
        nn.init.normal_(linear.weight, std=getattr(self.backbone.config, "initializer_range", 0.02))
        nn.init.zeros_(linear.bias)
        self.head, self.keep_head = nn.Sequential(linear, nn.Tanh()), keep

    def tokenize(self, texts: Sequence[str], max_length: int | None = None) -> Tokens:
        """Token ids with special tokens, cut to `max_length` (the encoder's own when None).

        Raises:
            UserError: If one of the texts is not valid Unicode.
        """
        return tokenize(self.tokenizer, texts, max_length or self.max_length)

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
        return Reader(self.tokenizer, max_length or self.max_length, text)

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

    def forward(self, tokens: Tokens) -> Float[Tensor, "B _"]:
        """One vector per row, in float32 or wider and never normalised; a row without tokens gives what a zero does.

        Rows do not see each other, so any chunk of a batch gives the same vectors.
        """
        tokens = tokens.to(self.device)
        pooled = self._pooled(tokens)
        with torch.autocast(self.device.type, enabled=False):
            if self.pooling == "cls_pooler":
                pooler: nn.Module = self.backbone.pooler  # pyright: ignore[reportAssignmentType]
                first = pooled.to(next(pooler.parameters()).dtype)
                pooled = pooler(first[:, None]).to(pooled.dtype)
            for layer in self._projections():
                pooled = layer(pooled)
        return pooled

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
    ) -> Float32[np.ndarray, "N _"]:
        """Vectors of texts, in the order given.

        Texts are taken in blocks, sorted by length and run in batches of about equal work, in eval mode.

        Args:
            texts: Any number of texts; an iterator is read block by block.
            batch_tokens: Most tokens of a batch; a value that suits the device when None.
            prompt: Name of one of `prompts` to put in front; the model's default when None, "" for none.
            prompt_text: A text of your own to put in front instead.
            normalize: True gives what is kept of a vector length 1, False leaves lengths alone. None is the model's own
                way: where `self.normalize` is set, the whole vector gets length 1 before it is cut to `truncate_dim`.
            truncate_dim: Keep so many leading dimensions; `self.truncate_dim` when None.
            show_progress: Whether to show a bar on the terminal.
            precision: "float32", "bfloat16", or None for bfloat16 where the machine is fast at it.

        Raises:
            UserError: If an argument is out of range, or `texts` are no texts: a table, one text, a missing value.
        """
        budget = batch_tokens or BATCH_TOKENS.get(self.device.type, BATCH_TOKENS["cpu"])
        total = len(texts) if isinstance(texts, Sized) else None
        unit = self.normalize and normalize is None
        with (
            self._inference(precision),
            progress("encoding", "texts", total=total, show=show_progress) as advance,
        ):
            return encode_blocks(
                texts,
                self.tokenize,
                lambda tokens: self._encode_block(tokens, budget, advance, unit),
                width=self.dimension,
                prefix=find_prompt(self.prompts, self.default_prompt, prompt, prompt_text),
                truncate_dim=self.truncate_dim if truncate_dim is None else truncate_dim,
                normalize=normalize is True,
            )

    def similarity(
        self,
        a: Iterable[str] | Float[np.ndarray, "N D"] | Float[Tensor, "N D"],
        b: Iterable[str] | Float[np.ndarray, "M D"] | Float[Tensor, "M D"],
    ) -> Float32[np.ndarray, "N M"]:
        """Similarity of every text or vector of `a` with every one of `b`, as `similarity_name` says.

        The cosine is between -1 and 1; a distance is negated, so that larger is always more similar.

        Args:
            a: N texts, as for `encode`, or their vectors.
            b: M of them.
        """
        tables = [self._vectors(x).float() for x in (a, b)]
        return compare(tables[0], tables[1], self.similarity_name).numpy()

    def save_pretrained(
        self, directory: str | Path, *, card: Mapping[str, Any] | None = None
    ) -> None:
        """Write a sentence-transformers folder, whole or not at all; an older one is replaced.

        Besides the model it holds a model card, and texts with their vectors that loading checks.

        Args:
            directory: Folder to make or replace.
            card: What the card tells: any of "recipe", "settings", "data", "seed", "scores", "command", and more.

        Raises:
            UserError: If the place is not a folder.
        """
        with replacing(Path(directory)) as folder:
            description = replace(self.write(folder), transformer=Path(directory))
            text = render_card(description, self.backbone.config, self.dimension, card or {})
            (folder / "README.md").write_text(text, encoding="utf-8")

    def write(self, folder: Path) -> Description:
        """Write everything but the model card into an empty folder.

        Returns:
            What the folder says about the encoder.
        """
        description = Description(
            folder,
            pooling=self.pooling,
            normalize=self.normalize,
            max_length=self.max_length,
            prompts=self.prompts,
            default_prompt=self.default_prompt,
            truncate_dim=self.truncate_dim,
            similarity=self.similarity_name,
            kept=self.kept,
        )
        dense: list[nn.Sequential] = [*self.dense]  # pyright: ignore[reportAssignmentType]
        if self.head is not None and self.keep_head:
            dense.append(self.head)
        vectors = self.encode(PARITY_TEXTS, precision="float32")
        parity = Parity(PARITY_TEXTS, vectors)
        self.tokenizer.model_max_length = self.max_length
        write_folder(folder, self.backbone, self.tokenizer, description, dense, parity)
        return description

    def gradient_checkpointing_enable(self) -> None:
        """Recompute the backbone's activations in the backward pass instead of keeping them."""
        backbone: Any = self.backbone
        newer = getattr(backbone, "activation_checkpointing_enable", None)
        (newer or backbone.gradient_checkpointing_enable)({"use_reentrant": False})

    def finish(self, vectors: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """Give rows of `forward` length 1 where `normalize` is set, as `encode` does."""
        return F.normalize(vectors, dim=-1) if self.normalize else vectors

    def _check_length(self, max_length: int) -> None:
        if not 1 <= max_length <= self._longest:
            raise UserError(
                f"max_length={max_length} does not fit the model: choose 1 to {self._longest}"
            )

    def _pooled(self, tokens: Tokens) -> Float[Tensor, "B _"]:
        if not self.averages_padding:
            hidden = hidden_states(self.backbone, tokens, layers_of(self.pooling))
            with torch.autocast(self.device.type, enabled=False):
                return pool(hidden, tokens.lengths, self.pooling)
        filled = (tokens.lengths > 0).nonzero().squeeze(1)
        vectors = torch.zeros(len(tokens), self.backbone.config.hidden_size, device=self.device)
        if not len(filled):
            return vectors
        hidden, mask = padded_hidden_states(
            self.backbone, tokens.take(filled), (-1,), self.max_length
        )
        pooled = pool_all_positions(hidden[-1], mask)
        return vectors.to(pooled).index_copy(0, filled.to(self.device), pooled)

    def _vectors(self, x: Any) -> Tensor:
        """Vectors as they are, and those of texts."""
        if isinstance(x, Tensor):
            return x.detach().cpu()
        known = isinstance(x, np.ndarray) and x.dtype.kind == "f" and x.ndim == 2
        return torch.from_numpy(x if known else self.encode(x))

    def _projections(self) -> Iterator[nn.Sequential]:
        yield from self.dense  # pyright: ignore[reportReturnType]
        if self.head is not None and (self.training or self.keep_head):
            yield self.head

    def _encode_block(
        self, tokens: Tokens, budget: int, advance: Callable[[int], None], unit: bool
    ) -> Float32[Tensor, "N _"]:
        order = torch.argsort(tokens.lengths, stable=True)
        tokens = tokens.take(order)
        cost = self._cost(tokens)
        parts: list[Tensor] = []
        for start, stop in batches(cost, budget):
            parts.append(self(tokens.rows(start, stop)).float())
            advance(stop - start)
        vectors = F.normalize(torch.cat(parts), dim=-1) if unit else torch.cat(parts)
        return torch.empty_like(vectors).index_copy_(0, order.to(vectors.device), vectors)

    def _cost(self, tokens: Tokens) -> list[int]:
        """Positions that each row makes the model compute."""
        if self.averages_padding:
            return [self.max_length] * len(tokens)
        return tokens.lengths.tolist()

    @contextmanager
    def _inference(self, precision: str | None) -> Generator[None]:
        """Eval mode (undone at the end), no gradients, and bfloat16 where it pays."""
        check_precision(precision)
        low = precision == "bfloat16" or (precision is None and fast_bfloat16(self.device.type))
        training = self.training
        self.eval()
        try:
            with in_bfloat16(self.backbone) if low else nullcontext(), torch.inference_mode():
                yield
        finally:
            self.train(training)
