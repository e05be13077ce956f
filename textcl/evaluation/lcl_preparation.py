"""The cleaning that LCL's code does on the texts of two data sets before anything else.

Source: Suresh & Ong 2021, https://arxiv.org/abs/2109.05427, data preparation of their code
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping


def clean_tweet(text: str) -> str:
    """A tweet of EmoInt: ASCII only, links and user names as placeholders, hashtags as words.

    Note: Their code means to drop the word "rt" too, but its pattern is used as a literal string and never matches.
    """
    text = text.encode("ascii", "ignore").decode()
    text = re.sub(r"(https?://|www\.)\S+", " URL ", text)
    text = re.sub(r"@\S+", "USER_MENTION", text)
    text = re.sub(r"#(\S+)", r"\1", text)
    text = re.sub(r"\.{2,}", " ", text)
    return re.sub(r"\s+", " ", text).strip()


def clean_sentence(text: str) -> str:
    """A sentence of the Stanford Sentiment Treebank: a space for all but letters, digits and ( ) , ! ? ' `."""
    return re.sub(r"\s+", " ", re.sub(r"[^A-Za-z0-9(),!?'`]", " ", text)).strip()


PREPARATIONS: Mapping[str, Callable[[str], str]] = {
    "tweets": clean_tweet,
    "treebank": clean_sentence,
}
