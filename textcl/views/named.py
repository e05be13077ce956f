"""Second views of a text by name, for recipes that let the user choose."""

from __future__ import annotations

from typing import Literal

from textcl.views.augmentations import Crop, DeleteWords, RepeatWords, SpanMask
from textcl.views.view import View

SecondView = Literal["dropout", "synonyms", "span-mask", "delete-words", "repeat-words", "crop"]


def second_view(name: SecondView, column: str = "text", mask_token: str = "[MASK]") -> View:
    """The other view of a text.

    Args:
        name: "dropout" is the same text, which another dropout mask changes; "synonyms" replaces words by WordNet's,
            drawn once for the whole training as LCL does; the rest are drawn anew in every epoch: "span-mask" masks 5
            characters, "delete-words" and "crop" take 10 % of the words, "repeat-words" doubles up to 32 %.
        column: Column, by role, that holds the text.
        mask_token: What stands for a masked span: the tokenizer's own mask token.

    Raises:
        UserError: If synonyms are asked for and there is no lexicon.
    """
    match name:
        case "dropout":
            return View(column)
        case "synonyms":
            from textcl.views.synonyms import Synonyms

            return View(column, (Synonyms(),), once=True)
        case "span-mask":
            return View(column, (SpanMask(mask_token=mask_token),))
        case "delete-words":
            return View(column, (DeleteWords(0.1),))
        case "repeat-words":
            return View(column, (RepeatWords(),))
        case "crop":
            return View(column, (Crop(0.1),))
