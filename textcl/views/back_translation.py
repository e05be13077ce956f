"""Back-translation as an augmentation: any translator, asked once for a text."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

from textcl.data.files import atomic_write
from textcl.errors import UserError

Translator = Callable[[list[str]], list[str]]
"""There and back again: texts to as many paraphrases, in order."""


@dataclass(frozen=True)
class BackTranslate:
    """Replace a text by its paraphrase through another language.

    Args:
        translate: Gives one paraphrase for each text.
        cache: Paraphrases known so far, by text; filled as texts come. Start it with `read_paraphrases`.
        failures: Why a text has no paraphrase, by text: such a text stays as it is and is not asked for again
            until `prepare` is called.

    Note:
        Loader workers fill copies of their own: call `prepare` before training, or every one of them translates.
    """

    translate: Translator
    cache: MutableMapping[str, str] = field(default_factory=dict[str, str], repr=False)
    failures: MutableMapping[str, str] = field(default_factory=dict[str, str], repr=False)

    def __call__(self, text: str, rng: random.Random) -> str:
        """The paraphrase of `text`; nothing is drawn from `rng`."""
        if text.strip() and text not in self.cache and text not in self.failures:
            self.prepare([text])
        return self.cache.get(text, text)

    def prepare(self, texts: Iterable[str], batch_size: int = 32) -> None:
        """Translate the texts that the cache lacks.

        Args:
            texts: The texts; a repeated one is translated once.
            batch_size: Texts the translator gets at once.
        """
        new = [text for text in dict.fromkeys(texts) if text.strip() and text not in self.cache]
        for start in range(0, len(new), batch_size):
            self._translate(new[start : start + batch_size])

    def _translate(self, batch: list[str]) -> None:
        try:
            results = self.translate(batch)
        except Exception as error:  # whatever a foreign translator raises must not end a run
            self.failures.update(dict.fromkeys(batch, f"{type(error).__name__}: {error}"))
            return
        if len(results) != len(batch):
            reason = f"{len(results)} paraphrases came for {len(batch)} texts"
            self.failures.update(dict.fromkeys(batch, reason))
            return
        for text, result in zip(batch, results, strict=True):
            if isinstance(result, str) and result.strip():  # pyright: ignore[reportUnnecessaryIsInstance]
                self.cache[text] = result
                self.failures.pop(text, None)
            else:
                self.failures[text] = f"the paraphrase is {result!r}"


def read_paraphrases(path: str | Path) -> dict[str, str]:
    """Paraphrases by text from a file that `write_paraphrases` wrote; none if there is no such file.

    Raises:
        UserError: If a line is not a JSON list of two strings.
    """
    path = Path(path)
    if not path.exists():
        return {}
    pairs: dict[str, str] = {}
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            match _parse(line):
                case [str(text), str(result)]:
                    pairs[text] = result
                case _:
                    raise UserError(
                        f"{path}:{number}: expected a JSON list of a text and its paraphrase, got "
                        f"{line.strip()[:80]!r}: mend or delete the line."
                    )
    return pairs


def write_paraphrases(path: str | Path, cache: Mapping[str, str]) -> None:
    """Write paraphrases by text as JSON lines; the file is whole or as it was before."""
    with atomic_write(Path(path)) as file:
        for pair in cache.items():
            file.write((json.dumps(pair, ensure_ascii=False) + "\n").encode())


def _parse(line: str) -> object:
    try:
        return json.loads(line)
    except ValueError:
        return None
