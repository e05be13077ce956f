"""Blank texts: what learns or measures leaves them out, what answers answers them, and each says how many they are."""

from __future__ import annotations

import json

import pytest
from families import tiny_encoder
from labelled import labelled, write_jsonl
from typer.testing import CliRunner

from textcl.classifier.classifier import Classifier
from textcl.classifier.head import make_head
from textcl.classifier.supervision import ClassifierSettings, load_dev_texts
from textcl.cli.app import app

CLASSES = ("food", "sport", "town")
BLANK = ["", " ", "\t", "\u00a0", None]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    encoder = tiny_encoder("bert", pooling="mean")
    place = tmp_path_factory.mktemp("classifier") / "model"
    head = make_head("own", "bert", encoder.dimension, len(CLASSES))
    Classifier(encoder, head, CLASSES).eval().save_pretrained(place)
    return place


@pytest.fixture
def data(tmp_path):
    """Forty rows with a text and five without."""
    return write_jsonl(
        tmp_path / "d.jsonl", [*labelled(40), *({"text": b, "label": "food"} for b in BLANK)]
    )


def command(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0
    return " ".join((result.stdout + result.stderr).split())


def test_what_measures_leaves_them_out_and_counts_them(folder, data, tmp_path):
    assert "5 rows without a text left out" in command("eval", folder, "--data", data)
    said = command("calibrate", folder, data, "-o", tmp_path / "calibrated")
    assert "5 rows without a text left out" in said
    settings = ClassifierSettings(classes=CLASSES, dev=str(data))
    dev = load_dev_texts(settings)
    assert (len(dev.texts), dev.note) == (40, "5 rows without a text left out.")


def test_what_answers_answers_them_and_counts_them(folder, data, tmp_path):
    said = command("predict", folder, data, "-o", tmp_path / "out.jsonl")
    assert "45 rows" in said
    assert "5 blank, taken as the empty text" in said
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len({row["probability"] for row in rows[40:]}) == 1
