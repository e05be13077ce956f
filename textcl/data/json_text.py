"""Values as the text of JSON."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import cast

import numpy as np

_CONTROLS = re.compile("[\x7f-\x9f]")


def to_json(content: object) -> str:
    """JSON over several lines, with a newline at the end.

    Args:
        content: Plain values, mappings and sequences of them, dataclasses, paths, numbers and arrays of numpy. Numbers
            that are not finite are written as null: JSON has no other way for them.

    Raises:
        TypeError: If something else is among them.
    """
    text = json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False)
    return _escaped(text) + "\n"


def to_json_line(content: object) -> str:
    """JSON on one line without its end, as `to_json` has it; what has no form in JSON is written as its text.

    Args:
        content: As for `to_json`.
    """
    try:
        text = json.dumps(content, ensure_ascii=False, allow_nan=False, default=str)
    except ValueError:  # a number that is not finite: only then every value is looked at
        text = json.dumps(_plain(content), ensure_ascii=False, allow_nan=False, default=str)
    return _escaped(text)


def _escaped(text: str) -> str:
    """JSON without the control characters that json.dumps leaves, which steer some terminals."""
    return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def _plain(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, list | tuple):
        return [_plain(item) for item in cast("Sequence[object]", value)]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in cast("Mapping[str, object]", value).items()}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return value
