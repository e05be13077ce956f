"""Distillation of any encoder into a static model: each token is encoded alone, rotated and weighted.

Source: Tulkens & van Dongen 2024, https://github.com/MinishLab/model2vec (tokens alone, PCA, Zipf); Arora et al. 2017,
https://openreview.net/forum?id=SyK00v5xx (SIF)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Float64
from tokenizers import AddedToken, Tokenizer
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from textcl.encoder.batches import run_in_batches
from textcl.encoder.encoder import Encoder
from textcl.encoder.precision import inference
from textcl.encoder.static import StaticBackbone, is_static, static_tokenizer
from textcl.errors import UserError
from textcl.progress import progress
from textcl.types import Tokens

_BATCH_TOKENS = 4096

_UNUSED = re.compile(r"\[unused\d+\]|<unused\d+>")  # rows that a vocabulary keeps free


def distil(
    teacher: Encoder,
    *,
    dimension: int = 256,
    sif: float = 1e-4,
    words: Sequence[str] = (),
    show_progress: bool = False,
) -> Encoder:
    """A static model that reads texts by the teacher's vocabulary, with vectors of length 1.

    The row of a token is what the teacher gives for it alone, turned to the directions in which these vectors differ
    most, times its SIF weight. Special tokens, that of unknown words among them, have zeros.

    Args:
        teacher: Any encoder with a tokenizer of the library `tokenizers`.
        dimension: Columns to keep; as many as the teacher has at most.
        sif: Coefficient a of `sif_weights`; 0 weighs all tokens alike.
        words: Words that get a token of their own, beside those that have one.
        show_progress: Whether to show a bar on the terminal.

    Raises:
        UserError: If the teacher is static itself, or its tokenizer is of another kind.
    """
    backend: Any = getattr(teacher.tokenizer, "backend_tokenizer", None)
    if is_static(teacher.backbone):
        raise UserError("the model to distil is static already: name an encoder with layers")
    if not isinstance(backend, Tokenizer):
        raise UserError(
            f"a {type(teacher.tokenizer).__name__} cannot read for a static model: expected a teacher with a "
            "tokenizer.json"
        )
    tokenizer = static_tokenizer(backend, None)
    spelled = _spelled(teacher, tokenizer, words)
    vectors = _encode_alone(teacher, list(spelled.values()), show_progress)
    rows = principal_components(vectors.double(), dimension)
    rows *= sif_weights(len(rows), sif)[:, None]
    table = torch.zeros(len(tokenizer), rows.shape[1], dtype=torch.float64)
    table[torch.tensor(list(spelled))] = rows
    student = Encoder(StaticBackbone.of(table), tokenizer, normalize=True)
    return student.eval().to(teacher.device)


def principal_components(rows: Float64[Tensor, "V D"], dimension: int) -> Float64[Tensor, "V _"]:
    """Rows minus their mean, in the directions of largest variance; each direction's largest entry is positive.

    Args:
        rows: One vector a row.
        dimension: Directions to keep; all when there are fewer.
    """
    centred = rows - rows.mean(0)
    _, directions = torch.linalg.eigh(centred.T @ centred)  # by rising variance
    kept = centred @ directions.flip(1)[:, :dimension]
    largest = kept.abs().argmax(0)
    return kept * kept[largest, torch.arange(kept.shape[1])].sign()


def sif_weights(count: int, coefficient: float) -> Float64[Tensor, " V"]:
    """Weights a / (a + p) of tokens from the most frequent to the rarest: p falls with 1 / (rank + 1).

    Args:
        count: Tokens.
        coefficient: a; all weights are 1 when 0.

    Source: Arora et al. 2017, https://openreview.net/forum?id=SyK00v5xx
    """
    if not coefficient:
        return torch.ones(count, dtype=torch.float64)
    falling = 1 / torch.arange(2, count + 2, dtype=torch.float64)
    return coefficient / (coefficient + falling / falling.sum())


def _spelled(
    teacher: Encoder, tokenizer: PreTrainedTokenizerBase, words: Sequence[str]
) -> dict[int, list[int]]:
    """The teacher's ids of each token that means something, special tokens around them, by the student's id."""
    before, behind = _frame(teacher.tokenizer)
    special = {*teacher.tokenizer.all_special_ids, *tokenizer.all_special_ids}
    vocabulary = teacher.tokenizer.get_vocab()
    spelled = {
        number: [*before, number, *behind]
        for token, number in sorted(vocabulary.items(), key=lambda item: item[1])
        if number not in special and not _UNUSED.fullmatch(token)
    }
    fresh = [word for word in dict.fromkeys(words) if len(tokenizer.tokenize(word)) > 1]
    if fresh:
        backend: Any = tokenizer.backend_tokenizer  # pyright: ignore[reportAttributeAccessIssue]
        backend.add_tokens([AddedToken(w, single_word=True, lstrip=True) for w in fresh])
        rows = teacher.tokenize(fresh)
        ends = rows.lengths.cumsum(0).tolist()
        spelled |= {
            backend.token_to_id(word): rows.ids[end - length : end].tolist()
            for word, end, length in zip(fresh, ends, rows.lengths.tolist(), strict=True)
        }
    return spelled


def _frame(tokenizer: PreTrainedTokenizerBase) -> tuple[list[int], list[int]]:
    """The special tokens that a tokenizer puts before and behind a text."""
    bare = tokenizer.encode("a", add_special_tokens=False)
    whole = tokenizer.encode("a")
    for place in range(len(whole) - len(bare) + 1):
        if whole[place : place + len(bare)] == bare:
            return whole[:place], whole[place + len(bare) :]
    return [], []


def _encode_alone(
    teacher: Encoder, rows: Sequence[Sequence[int]], show_progress: bool
) -> Float[Tensor, "V D"]:
    """The teacher's vectors of rows of tokens, on the CPU."""
    tokens = Tokens.from_lists([list(row) for row in rows])
    with (
        inference(teacher, teacher.backbone, "float32"),
        progress("distilling", "tokens", total=len(rows), show=show_progress) as advance,
    ):
        costs = teacher.positions(tokens)
        return run_in_batches(teacher.embed, tokens, costs, _BATCH_TOKENS, advance).cpu()
