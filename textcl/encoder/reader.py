"""Texts to the token ids of a model: prompt in front, special tokens, cut to a length."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from transformers import PreTrainedTokenizerBase

from textcl.encoder.fingerprint import tokenizer_fingerprint
from textcl.encoder.tokenizing import tokenize
from textcl.errors import UserError
from textcl.types import Tokens

_UNCUT = 10**6  # tokens; longer than any text


@dataclass(frozen=True)
class Reader:
    """Texts to token ids as a model reads them: with a prompt in front, special tokens, and cut to a length.

    Args:
        tokenizer: Of the model.
        max_length: Most tokens of a row, special ones included.
        prompt: Put in front of every text.
        left_out: How many tokens of the prompt the pooling leaves out.
    """

    tokenizer: PreTrainedTokenizerBase
    max_length: int
    prompt: str = ""
    left_out: int = 0

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Token ids of the texts.

        Raises:
            UserError: If one of the texts is not valid Unicode.
        """
        shown = [self.prompt + text for text in texts] if self.prompt else texts
        return self.mark(tokenize(self.tokenizer, shown, self.max_length))

    def mark(self, tokens: Tokens) -> Tokens:
        """Rows that begin with the prompt, with the number of its tokens that the pooling leaves out."""
        if not self.left_out:
            return tokens
        return replace(tokens, prompt=torch.full_like(tokens.lengths, self.left_out))

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Tokens of each text, not cut."""
        return replace(self, max_length=_UNCUT)(texts).lengths.tolist()

    def count_cut(self, texts: Sequence[str]) -> int:
        """The number of texts that have more tokens than a row.

        A token but the special ones covers at least a byte, so most texts need not be looked at.
        """
        room = self.max_length - 4 - len(self.prompt.encode())
        long = [text for text in texts if len(text.encode()) > room]
        longer = replace(self, max_length=self.max_length + 1)
        return int((longer(long).lengths > self.max_length).sum()) if long else 0

    def fingerprint(self) -> str | None:
        """Hash of everything that determines the tokens of a text; None where that is unknown."""
        digest = tokenizer_fingerprint(self.tokenizer)
        if digest is None:
            return None
        facts = [digest, self.max_length, *([self.prompt] if self.prompt else [])]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def prompt_length(tokenizer: PreTrainedTokenizerBase, prompt: str, max_length: int) -> int:
    """Tokens of a prompt in front of a text, with those that the tokenizer puts before it.

    Counted as sentence-transformers does, which tokenises the prompt alone: a token that the prompt's last word makes
    together with the text is not seen.
    """
    ids = tokenize(tokenizer, [prompt], max_length).ids.tolist()
    return len(ids) - (bool(ids) and ids[-1] in tokenizer.all_special_ids) if prompt else 0


def find_prompt(
    prompts: Mapping[str, str], default: str | None, name: str | None, text: str | None = None
) -> str:
    """The text that is put in front of every text.

    Args:
        prompts: Prompts of the model by name.
        default: Name of the one that is used when nothing is asked for.
        name: The one that is asked for; "" for none.
        text: The text itself, where it is none of the model's.

    Raises:
        UserError: If the model has no prompt of that name, or both a name and a text are given.
    """
    if text is not None:
        if name:
            raise UserError(
                f"expected a prompt by name or by its text, got both: {name!r} and {text!r:.80}"
            )
        return text
    if name is None:
        return prompts.get(default or "", "")
    if name and name not in prompts:
        known = ", ".join(map(repr, prompts)) or "none"
        raise UserError(
            f"the model has no prompt {name!r}; it knows {known}. A text of your own goes into prompt_text "
            "(--prompt-text)"
        )
    return prompts[name] if name else ""
