"""The code blocks of a Markdown page, and what stands before them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_BLOCK = re.compile(
    r"(?:^<!-- (?P<mark>not run|slow): (?P<why>[^\n]*) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Snippet:
    """A fenced block.

    Args:
        page: Its file, from the root of the repository.
        line: Of its first line of code, from 1.
        language: What stands behind the fence.
        code: What is in it.
        mark: "not run" or "slow", from a comment before it; "" for what every test run executes.
    """

    page: str
    line: int
    language: str
    code: str
    mark: str

    @property
    def commands(self) -> list[list[str]]:
        """The words of each command of a shell block, of those joined by && and | too."""
        joined = self.code.replace("\\\n", " ").splitlines()
        words = [shlex.split(line, comments=True) for line in joined]
        return [part for line in words for part in _split(line) if part]


def _split(words: list[str]) -> list[list[str]]:
    parts: list[list[str]] = [[]]
    for word in words:
        parts.append([]) if word in ("&&", "|") else parts[-1].append(word)
    return parts


def snippets_of(path: Path) -> list[Snippet]:
    """The blocks of a page in their order."""
    text = path.read_text(encoding="utf-8")
    page = path.relative_to(ROOT).as_posix()
    return [
        Snippet(
            page,
            text.count("\n", 0, m.start("code")) + 1,
            m["language"],
            m["code"],
            m["mark"] or "",
        )
        for m in _BLOCK.finditer(text)
    ]


def pages() -> list[Path]:
    """README and the pages of the documentation."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
