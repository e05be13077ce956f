"""JSON files whose values are asked for by type: what is missing or of another type is named by file and key."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar, cast

import numpy as np
from jaxtyping import Float32

from textcl.errors import UserError

T = TypeVar("T", str, int, float, bool)

_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
_LARGEST = 1 << 28  # bytes; no JSON file of a model is near it


@dataclass(frozen=True)
class JsonObject:
    """The object of a JSON file, or one inside of it.

    Args:
        values: Its content.
        place: File, and key where it lies inside of another object; the subject of every message.
    """

    values: Mapping[str, object]
    place: str

    @classmethod
    def read(cls, path: Path) -> JsonObject:
        """The object that a file holds.

        Raises:
            UserError: If there is no such file, or it holds anything else.
        """
        return cls.of(_parse(path), str(path))

    @classmethod
    def read_if_present(cls, path: Path) -> JsonObject | None:
        """The object that a file holds; None where there is no such file.

        Raises:
            UserError: If it holds anything else.
        """
        return cls.read(path) if path.is_file() else None

    @classmethod
    def of(cls, value: object, place: str) -> JsonObject:
        """A parsed value as an object.

        Raises:
            UserError: If it is something else.
        """
        if not isinstance(value, dict):
            raise UserError(f"{place} must hold a JSON object, not {_shown(value)}")
        return cls(cast(Mapping[str, object], value), place)

    def get(self, key: str, kind: type[T]) -> T | None:
        """The value of a key; None where the key is missing or null.

        Raises:
            UserError: If the value has another type.
        """
        value = self.values.get(key)
        return None if value is None else self._checked(key, value, kind)

    def require(self, key: str, kind: type[T]) -> T:
        """The value of a key that must be there.

        Raises:
            UserError: If the key is missing, or its value has another type.
        """
        value = self.get(key, kind)
        if value is None:
            raise UserError(f"{self.place} lacks {key!r}, {_NAMES[kind]}")
        return value

    def texts(self, key: str) -> dict[str, str]:
        """A value that maps names to texts, null left out; empty where the key is missing or null.

        Raises:
            UserError: If it is something else.
        """
        value = self.values.get(key)
        if value is None:
            return {}
        inner = JsonObject.of(value, f"{key!r} of {self.place}")
        given = {name: inner.get(name, str) for name in inner.values}
        return {name: text for name, text in given.items() if text is not None}

    def list_of(self, key: str, kind: type[T]) -> list[T]:
        """A value that is a list of one type.

        Raises:
            UserError: If the key is missing, or its value is something else.
        """
        value = self.values.get(key)
        if not isinstance(value, list):
            raise UserError(f"{key!r} of {self.place} must be a list, not {_shown(value)}")
        return [self._checked(key, item, kind) for item in cast(Sequence[object], value)]

    def table(self, key: str, rows: int) -> Float32[np.ndarray, "N D"]:
        """A value that holds rows of finite numbers, all of one length.

        Raises:
            UserError: If it is something else, or has another number of rows.
        """
        try:
            with np.errstate(over="ignore"):
                table = np.asarray(self.values.get(key), dtype=np.float32)
        except (TypeError, ValueError) as error:
            raise UserError(f"{key!r} of {self.place} must be rows of numbers: {error}") from error
        if table.ndim != 2 or len(table) != rows or not np.isfinite(table).all():
            raise UserError(f"{key!r} of {self.place} must be {rows} rows of finite numbers")
        return table

    def _checked(self, key: str, value: object, kind: type[T]) -> T:
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return kind(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise UserError(f"{key!r} of {self.place} must be {_NAMES[kind]}, not {_shown(value)}")
        return value


def read_list(path: Path) -> list[object]:
    """The list that a JSON file holds.

    Raises:
        UserError: If there is no such file, or it holds anything else.
    """
    value = _parse(path)
    if not isinstance(value, list):
        raise UserError(f"{path} must hold a JSON list, not {_shown(value)}")
    return cast("list[object]", value)


def _parse(path: Path) -> object:
    if not path.is_file():
        raise UserError(f"{path} is missing")
    try:
        if path.stat().st_size > _LARGEST:
            raise UserError(f"{path} is too large for a JSON file of a model")
        text = path.read_text(encoding="utf-8")
        if text.startswith("version https://git-lfs"):
            raise UserError(f"{path} is a git-lfs pointer, not the file itself: run git lfs pull")
        return json.loads(text)
    except UserError:
        raise
    except RecursionError as error:
        raise UserError(f"{path} is not valid JSON: its brackets are nested too deeply") from error
    except ValueError as error:
        raise UserError(f"{path} is not valid JSON: {error}") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def _shown(value: object) -> str:
    return "nothing" if value is None else f"{value!r:.60}"
