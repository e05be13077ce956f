"""Rows of JSON: an object on each line, or one array of objects, as pandas and `datasets` write it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from textcl.errors import UserError

Records = Iterator[tuple[int, dict[str, object] | None]]

_SPACE = re.compile(r"[ \t\r\n]*")


def starts_array(raw: bytes) -> bool:
    """Whether a file that begins with these bytes holds an array."""
    return raw.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"["


def read_json(name: str, lines: Iterator[str]) -> Records:
    """Objects with the line on which each begins; None for a blank line. An array is read into memory.

    Args:
        name: What a message calls the file.
        lines: Its lines, with their ends.

    Raises:
        UserError: If a line, or an item of the array, is no object.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            yield number, None
        elif number == 1 and line.lstrip()[0] == "[":
            yield from _items(name, line + "".join(lines))
            return
        else:
            try:
                record = json.loads(line.rstrip("\r\n"))
            except (ValueError, RecursionError) as error:
                fault, place = getattr(error, "msg", error), getattr(error, "colno", 1)
                raise UserError(
                    f"{name}:{number}: expected one JSON object per line, or one array of them, got no complete JSON "
                    f"({fault}, column {place})"
                ) from error
            yield number, _checked(record, f"{name}:{number}: expected one JSON object per line")


def _items(name: str, text: str) -> Records:
    """The items of an array, one after the other."""
    decoder, number, counted = json.JSONDecoder(), 1, 0
    at = _after_space(text, text.index("[") + 1)
    end = text[at : at + 1]
    while end != "]":
        number, counted = number + text.count("\n", counted, at), at
        try:
            record, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            line = number + text.count("\n", counted, getattr(error, "pos", at))
            raise _broken(name, line, str(getattr(error, "msg", error))) from error
        yield number, _checked(record, f"{name}:{number}: expected an array of JSON objects")
        at = _after_space(text, at)
        end = text[at : at + 1]
        if end == ",":
            at = _after_space(text, at + 1)
        elif end != "]":
            line = number + text.count("\n", counted, at)
            raise _broken(name, line, "Expecting ',' or ']'")
    if rest := text[at + 1 :].strip():
        line = 1 + text.count("\n", 0, text.index(rest, at + 1))
        raise _broken(name, line, "something stands behind the end")


def _after_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at


def _checked(record: object, expected: str) -> dict[str, object]:
    if not isinstance(record, dict):
        raise UserError(f'{expected}, such as {{"text": "…"}}, got {type(record).__name__}')
    return record


def _broken(name: str, line: int, fault: str) -> UserError:
    return UserError(f"{name}:{line}: the JSON array cannot be read on ({fault}); was it cut off?")
