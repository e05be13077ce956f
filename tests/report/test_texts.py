"""The texts that a report reads are those of the run."""

from __future__ import annotations

import io
import json

import pytest
from families import tiny_model_dir
from labelled import labelled, write_jsonl
from rich.console import Console

from textcl.report.runs import open_run
from textcl.report.texts import training_rows
from textcl.training.session import train


@pytest.mark.parametrize("noted", [True, False])
def test_rows_without_a_label_that_a_run_left_out_are_left_out_again(noted, tmp_path):
    data = write_jsonl(tmp_path / "d.jsonl", [*labelled(12), {"text": "nothing", "label": None}])
    train(
        "cross-entropy", model=str(tiny_model_dir(tmp_path / "m")), data=str(data), dev="", output=tmp_path / "run",
        settings=["steps=1", "batch_size=4", "max_length=16", "drop_unlabelled=true"],
        console=Console(file=io.StringIO()),
    )  # fmt: skip
    file = tmp_path / "run" / "settings.json"
    facts = json.loads(file.read_text())
    assert facts["drop_unlabelled"] is True
    if not noted:  # as runs of before this was noted are
        file.write_text(json.dumps({**facts, "drop_unlabelled": False}))
    assert len(training_rows(open_run(tmp_path / "run"))) == 12
