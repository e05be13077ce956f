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


class InThisProcess:
    """A worker without a process, whose start takes longer than all that is measured here."""

    def __init__(self, parts, environment):
        self.parts = parts()

    def measure(self, name, limit):
        assert limit > 0
        return list(self.parts[name]())

    def close(self):
        pass


def test_the_script_measures_every_part(tmp_path, monkeypatch):
    gpu = run(monkeypatch, "--toy", "--output", str(tmp_path))
    compilers = []  # no compiler sees through the shape checks of these tests; the command itself compiles
    import gpu_encoding  # pyright: ignore[reportMissingImports]
    import gpu_loss  # pyright: ignore[reportMissingImports]
    import gpu_training  # pyright: ignore[reportMissingImports]

    for module in (gpu_training, gpu_encoding):
        monkeypatch.setattr(
            module, "compile_layers", lambda _, compiler: compilers.append(compiler)
        )
    monkeypatch.setattr(gpu, "Worker", InThisProcess)
    monkeypatch.setattr(gpu_loss, "KINDS", ())  # a process each; measured below in this one
    with warnings.catch_warnings():
        gpu.main()
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["toy"] is True
    assert found.keys() >= gpu.LIMITS.keys()
    assert not any("failed" in row for part in gpu.LIMITS for row in found[part])
    libraries = {part: [row["library"] for row in found[part]] for part in ("training", "encode")}
    assert libraries["training"][:2] == ["textcl", "sentence-transformers"]
    assert libraries["encode"][:2] == ["textcl", "sentence-transformers, batches of 512"]
    assert len(libraries["training"]) == 4
    assert len(libraries["encode"]) == 7
    for part in ("training", "encode", "forward", "compiled"):
        assert all(row["tokens_per_s"] > 0 for row in found[part])
    assert compilers == ["eager"]
    (step,), (graphs,) = found["step"], found["graphs"]
    assert step["operators"] > 100
    assert step["idle_share"] == 1.0  # of a card that is not there
    assert graphs["ms_per_step_with_graphs"] > 0
    assert graphs["repeated"] == 0
    assert found["attention"][0]["padded_ms"] > 0
    assert found["tests"] == [{"missing": "no GPU"}]
    assert found["info_nce"] == []


def test_the_parts_fit_into_the_minutes(monkeypatch):
    gpu = run(monkeypatch)
    without = {"compiled", "info_nce"}  # which come last, and have what is left
    assert (
        sum(seconds for part, seconds in gpu.LIMITS.items() if part not in without)
        < 60 * gpu.MINUTES
    )


@pytest.mark.slow
def test_the_processes_share_the_tests_of_a_card(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCH)
    import gpu_tests  # pyright: ignore[reportMissingImports]

    tests = []
    for part in range(gpu_tests.PROCESSES):
        output = tmp_path / f"{part}.txt"
        assert gpu_tests.started(part, output, "--collect-only").wait() == 0
        tests += [line for line in output.read_text().splitlines() if "::" in line]
    assert len(tests) == len(set(tests)) > 100
    assert {line.split("::")[0] for line in tests} >= {"tests/test_gpu.py"}


@pytest.mark.slow
def test_a_part_runs_in_a_process_of_its_own(tmp_path, monkeypatch):
    gpu = run(monkeypatch, "--toy", "--output", str(tmp_path), "--only", "forward", "tests")
    gpu.main()
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["forward"][0]["tokens_per_s"] > 0
    assert found["tests"] == [{"missing": "no GPU"}]


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
