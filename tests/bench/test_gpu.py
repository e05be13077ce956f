"""The GPU benchmark runs to its end at toy size on a CPU, so that it works on the day a GPU is at hand."""

import json
import sys
import warnings
from pathlib import Path

import pytest
import torch

BENCH = Path(__file__).parents[2] / "eval" / "bench"


def run(monkeypatch, *arguments):
    monkeypatch.syspath_prepend(BENCH)
    monkeypatch.setattr(sys, "argv", ["gpu.py", *arguments])
    import gpu  # pyright: ignore[reportMissingImports]

    return gpu


def test_the_script_measures_every_part(tmp_path, monkeypatch):
    gpu = run(monkeypatch, "--toy", "--output", str(tmp_path))
    monkeypatch.setattr(gpu, "KINDS", ())  # a process each; measured below in this one
    compilers = []  # no compiler sees through the shape checks of these tests; the command itself compiles
    import gpu_training  # pyright: ignore[reportMissingImports]

    monkeypatch.setattr(
        gpu_training, "compile_layers", lambda _, compiler: compilers.append(compiler)
    )
    with warnings.catch_warnings():
        gpu.main()
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["toy"] is True
    for part, others in (
        ("training", ["HuggingFace's trainer, padded", "textcl compiled"]),
        ("encode", ["textcl, rows padded for the attention"]),
    ):
        libraries = [row["library"] for row in found[part]]
        assert libraries == ["textcl", "sentence-transformers", *others]
        assert all(row["tokens_per_s"] > 0 for row in found[part])
    assert compilers == ["eager"]
    assert found["graphs"][0]["ms_per_step_with_graphs"] > 0
    assert found["step"][0]["operators"] > 100
    assert found["forward"][0]["tokens_per_s"] > 0
    assert found["info_nce"] == []


def test_all_ways_through_info_nce_give_one_loss(monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    import info_nce_memory  # pyright: ignore[reportMissingImports]

    monkeypatch.setattr("textcl.contrast.table.TILE_ELEMENTS", 0)  # put back when the test ends
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [info_nce_memory.measure(300, 16, kind) for kind in ("tiled", "cached", "whole")]
    for key in ("loss", "gradient_norm"):
        assert found[0][key] == pytest.approx(found[1][key], rel=1e-4)
        assert found[0][key] == pytest.approx(found[2][key], rel=1e-4)


def test_made_up_sentences_are_many_and_the_same_each_time(tmp_path, monkeypatch):
    gpu = run(monkeypatch)
    lines = gpu.made_up(tmp_path, 1000).read_text().splitlines()
    assert len(lines) == 1000
    assert len(set(lines)) > 990
    assert all(4 <= len(line.split()) <= 30 for line in lines)
    assert lines == gpu.made_up(tmp_path, 1000).read_text().splitlines()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_only_the_toy_runs(monkeypatch):
    gpu = run(monkeypatch)
    with pytest.raises(SystemExit, match="expected a CUDA device and found none: --toy"):
        gpu.main()


@pytest.mark.gpu
def test_the_whole_benchmark_ends_within_eight_minutes(tmp_path, monkeypatch):
    gpu = run(monkeypatch, "--output", str(tmp_path))
    gpu.main()
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert {"training", "encode", "info_nce"} <= found.keys()
