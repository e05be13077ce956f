"""Text for a terminal, without the control characters that texts from elsewhere may hold."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and newline, line separators, what turns the direction of writing, and half characters.

What joins letters and emoji (U+200C, U+200D) is left as it is.
"""


def harmless(text: str) -> str:
    """A text with U+FFFD in place of each character that steers a terminal, as those of an escape sequence do."""
    return _STEERING.sub("\N{REPLACEMENT CHARACTER}", text)


def counted(count: int, noun: str) -> str:
    """A number with its noun, in the plural with an s but for one: "1 row", "2,000 rows"."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def reflowed(text: str) -> str:
    """Paragraphs as one line each, for a terminal to wrap; those with an indented line are left as they are."""
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(
        each if "\n " in f"\n{each}" else " ".join(each.split("\n")) for each in paragraphs
    )


class TextConsole(Console):
    """A console that shows texts of anybody: what steers the terminal comes from rich alone."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """The segments of a renderable."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(harmless(segment.text), segment.style)
