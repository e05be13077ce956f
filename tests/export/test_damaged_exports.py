"""The description of an export, damaged in every way: one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from textcl.encoder.backbone import EXPORT_FILE
from textcl.errors import UserError
from textcl.export.folder import Export

EXPORT = Export(
    backend="onnx",
    int8=False,
    dimension=2,
    pooling="mean",
    normalize=True,
    max_length=8,
    pad_id=0,
    prompts={"query": "find : "},
    default_prompt=None,
    texts=["a"],
    vectors=[[1.0, 0.0]],
)


def test_description_round_trips(tmp_path):
    EXPORT.write(tmp_path)
    assert Export.read(tmp_path) == EXPORT


def test_missing_or_damaged_description_is_told(tmp_path):
    with pytest.raises(UserError, match="is missing"):
        Export.read(tmp_path)
    for content in (b"", b"[]", b"5", b"{}", b"\xff", b"[" * 100_000):
        (tmp_path / EXPORT_FILE).write_bytes(content)
        with pytest.raises(UserError, match=EXPORT_FILE):
            Export.read(tmp_path)


@pytest.mark.parametrize(
    "key", ["backend", "int8", "dimension", "max_length", "pad_id", "prompts", "texts", "vectors"]
)
def test_value_of_another_type_is_named(key, tmp_path):
    EXPORT.write(tmp_path)
    path = Path(tmp_path / EXPORT_FILE)
    content = json.loads(path.read_text())
    for value in (1e300, [[1, 2], [3]], {"a": 1}, "x" if key != "backend" else 1):
        if key == "prompts" and isinstance(value, dict):
            continue
        path.write_text(json.dumps(content | {key: value}))
        with pytest.raises(UserError, match=key):
            Export.read(tmp_path)
