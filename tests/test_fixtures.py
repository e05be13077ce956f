"""Folders that an earlier version wrote load, give the same vectors, and go on: see fixtures/README.md."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import load_file

from textcl import Classifier, Encoder
from textcl.data.json_text import to_json
from textcl.probe.result import ProbeResult
from textcl.report.runs import open_all
from textcl.sweep.curve import curve_of
from textcl.sweep.run import Sweep
from textcl.training import resume
from textcl.versions import versions

FIXTURES = Path(__file__).parent / "fixtures"
TEXTS = ["a man runs", "the cat eats red food", "", "a dog plays in the street with a ball"]
MORE_TEXTS = [
    "a man plays the guitar", "", "dog", "the cat eats red food in the street " * 4, "x y",
]  # fmt: skip
VECTORS = load_file(FIXTURES / "vectors.safetensors")
MORE_VECTORS = load_file(FIXTURES / "more_vectors.safetensors")


def test_an_encoder_gives_the_vectors_that_it_gave():
    vectors = Encoder.from_pretrained(FIXTURES / "saved").encode(TEXTS, precision="float32")
    np.testing.assert_allclose(vectors, VECTORS["encoder"], atol=1e-5)


def test_a_classifier_gives_the_logits_that_it_gave():
    logits = Classifier.from_pretrained(FIXTURES / "classifier").logits(TEXTS, precision="float32")
    np.testing.assert_allclose(logits, VECTORS["classifier"], atol=1e-5)


def test_an_export_gives_the_vectors_that_it_gave():
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    from textcl.export import load_encoder

    vectors = load_encoder(str(FIXTURES / "exported"), "onnx").encode(TEXTS)
    np.testing.assert_allclose(vectors, VECTORS["export"], atol=1e-5)


def test_a_stopped_run_goes_on_and_ends_where_it_would_have(tmp_path, monkeypatch):
    for name in ("encoder", "stopped"):
        shutil.copytree(FIXTURES / name, tmp_path / name)
    shutil.copy(FIXTURES / "rows.jsonl", tmp_path)
    monkeypatch.chdir(tmp_path)  # its settings name model and data relative to it
    done = resume("stopped", console=Console(file=io.StringIO()))
    lines = (tmp_path / "stopped" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines]
    assert losses == pytest.approx(json.loads((FIXTURES / "losses.json").read_text()), rel=1e-5)
    vectors = done.encoder.encode(TEXTS, precision="float32")
    np.testing.assert_allclose(vectors, VECTORS["run"], atol=1e-4)


def test_an_encoder_keeps_its_head_prompts_length_and_unit_vectors():
    vectors = Encoder.from_pretrained(FIXTURES / "prompts").encode(MORE_TEXTS, precision="float32")
    np.testing.assert_allclose(vectors, MORE_VECTORS["prompts"], atol=1e-5)


def test_a_stopped_run_with_queue_average_and_dev_ends_with_the_same_weights(tmp_path, monkeypatch):
    monkeypatch.chdir(shutil.copytree(FIXTURES / "averages", tmp_path / "copy"))
    Encoder.from_pretrained(
        "run"
    )  # a run stands for its best encoder, and loading compares vectors
    resume("run", console=Console(file=io.StringIO()))
    lines = map(json.loads, Path("run/metrics.jsonl").read_text().splitlines())
    log = [[line["step"], line.get("loss"), line.get("dev")] for line in lines]
    expected = np.array(json.loads(Path("log.json").read_text()), dtype=float)
    np.testing.assert_allclose(np.array(log, dtype=float), expected, atol=1e-5)
    vectors = Encoder.from_pretrained("run/last").encode(MORE_TEXTS, precision="float32")
    np.testing.assert_allclose(vectors, MORE_VECTORS["averages"], atol=1e-5)
    ended, weights = load_file("run/last/model.safetensors"), load_file("end_of_run.safetensors")
    assert ended.keys() == weights.keys()
    for name in ended:
        if not name.endswith("key.bias"):  # softmax cancels it: its gradient is rounding alone
            np.testing.assert_allclose(ended[name], weights[name], atol=1e-5)


def test_results_of_a_sweep_and_of_a_probe_load_whole(tmp_path):
    shutil.copy(FIXTURES / "results" / "sweep.json", tmp_path)
    content = json.loads((tmp_path / "sweep.json").read_text())
    sweep = Sweep.open(tmp_path)
    for cell in content["cells"]:  # scores did not know label columns yet
        cell["scores"] = {**cell["scores"], "columns": {}}
    assert json.loads(to_json(sweep.content())) == {**content, "versions": versions()}
    (cell, *_), (record,) = sweep.results.values(), open_all([tmp_path])[1]
    assert cell.probes["labelled.jsonl"].tolerance == pytest.approx(
        content["cells"][0]["probes"]["labelled.jsonl"]["tolerance"]
    )
    curve = curve_of(record.content.table)
    assert curve is not None
    assert curve.best()["unsup-simcse"].value == 0.1
    file = FIXTURES / "results" / "probe.json"
    assert json.loads(to_json(ProbeResult.read(file))) == json.loads(file.read_text())
