"""Summary of a pass over rows that wrote a file, in one line for the user."""

from __future__ import annotations

from dataclasses import dataclass

from textcl.terminal import counted


@dataclass
class WriteSummary:
    """Counts of the rows that were written.

    Args:
        target: The file, or "-" for standard output.
        max_length: Tokens that the model reads of a text.
        unit: What is counted per second, such as "sentences".
        detail: What the rows hold, as it follows their number: " of 384 dimensions".
        rows: Texts.
        blank: Those of them without a word.
        truncated: Those that are longer than the model reads.
        seconds: Time for reading, computing and writing, without loading the model.
    """

    target: str
    max_length: int
    unit: str = "texts"
    detail: str = ""
    rows: int = 0
    blank: int = 0
    truncated: int = 0
    seconds: float = 0.0

    @property
    def speed(self) -> float:
        """Rows per second."""
        return self.rows / max(self.seconds, 1e-9)

    def describe(self) -> str:
        """One line for the terminal."""
        place = "standard output" if self.target == "-" else self.target
        notes = [
            f"{place}: {counted(self.rows, 'row')}{self.detail}",
            f"{counted(self.truncated, 'text')} cut at {self.max_length} tokens"
            * bool(self.truncated),
            f"{self.blank:,} blank, taken as the empty text" if self.blank else "",
            f"{self.seconds:.1f} s, {self.speed:,.0f} {self.unit}/s",
        ]
        return "; ".join(filter(None, notes))


def blank_note(blank: int) -> str:
    """A sentence on rows without a text, which are neither trained on nor scored; empty where there are none.

    Args:
        blank: Their number.
    """
    return f"{counted(blank, 'row')} without a text left out." if blank else ""
