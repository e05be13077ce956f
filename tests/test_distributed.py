"""Two real processes over gloo give what one gives: gathering, every method over several steps, and whole runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pyarrow
import pytest
import torch
from compositions import METHODS
from families import WORDS
from hub_server import NAME, SECOND, hub_of
from pyarrow import parquet
from safetensors.torch import load_file
from training_runs import quiet
from two_processes import (
    BACKPROPS,
    COUNTS,
    GATHERED,
    SETTINGS,
    SHARED,
    arguments,
    classify,
    run,
    trained,
    write_inputs,
)

from textcl.distributed import ALONE
from textcl.encoder.encoder import Encoder
from textcl.errors import UserError
from textcl.evaluation.benchmarks import EncodeWith, evaluate
from textcl.method.backprop import FullBatch
from textcl.suites.ranking import Ranking
from textcl.suites.suite import run_suite
from textcl.training.run_folder import RunFolder
from textcl.training.session import resume, train


def launch(*arguments, module="textcl", **environment):
    """`accelerate launch -m MODULE …` with two processes on the CPU."""
    accelerate = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    processes = ["--num_processes", "2", "--main_process_port", "0"]
    fixed = {"CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    modules = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}  # those of this process
    return subprocess.Popen(
        [*accelerate, *processes, "-m", module, *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**os.environ, **modules, **fixed, **environment},
    )  # fmt: skip


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder that two processes have written, and their output."""
    folder = tmp_path_factory.mktemp("two")
    write_inputs(folder)
    shown, _ = (command := launch(folder, module="two_processes")).communicate(timeout=240)
    assert command.returncode == 0, shown
    return folder, shown


@pytest.fixture(scope="module")
def ranks(two):
    """The folder, and what each process has."""
    folder = two[0]
    return folder, [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run of one process, and what it was made from."""
    folder = tmp_path_factory.mktemp("alone")
    write_inputs(folder)
    run(folder, folder / "run")
    classify(folder, folder / "classified")
    return folder


@pytest.mark.distributed
@pytest.mark.parametrize("name", GATHERED)
def test_every_process_gathers_all_rows_in_rank_order(ranks, name):
    assert all(torch.equal(rank["gathered"][name], GATHERED[name]) for rank in ranks[1])


@pytest.mark.distributed
@pytest.mark.parametrize("name", METHODS)
def test_two_processes_train_as_one(ranks, name):
    want_losses, want = trained(name, ALONE, slice(0, 7), FullBatch())
    for kind in BACKPROPS:
        runs = [rank["steps"][f"{name}, {kind}"] for rank in ranks[1]]
        losses = sum(losses for losses, _ in runs) / 2
        torch.testing.assert_close(losses, want_losses, rtol=1e-9, atol=1e-9)
        for key, tensor in want.items():
            first, second = (state[key] for _, state in runs)
            assert torch.equal(first, second), f"the processes differ in {key}"
            torch.testing.assert_close(first, tensor, rtol=1e-9, atol=1e-9, msg=key)


def assert_same_training(one, other, logged=None):
    """Equal logs, scores and weights, but for what the order of a sum decides.

    Of the log everything that is made over all processes is compared, or `logged`: parts of a loss are those of rank 0.
    """
    for name in ("best", "last"):
        first, second = (load_file(run / name / "model.safetensors") for run in (one, other))
        assert first.keys() == second.keys()
        for key, tensor in first.items():
            # a constant added to all keys leaves attention as it is: the gradient of this bias is rounding error, which
            # Adam makes steps of
            if not key.endswith("key.bias"):
                torch.testing.assert_close(second[key], tensor, rtol=1e-5, atol=1e-5, msg=key)
    lines, others = (
        [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        for run in (one, other)
    )
    assert len(lines) == len(others)
    for line, theirs in zip(lines, others, strict=True):
        assert line.keys() == theirs.keys() or {*line} ^ {*theirs} == {"negatives/gathered"}
        keys = line.keys() - {"rows_per_second", "negatives/in-batch"}
        for key in keys if logged is None else keys & logged:
            assert theirs[key] == pytest.approx(line[key], rel=1e-3, abs=1e-4), key


@pytest.mark.distributed
def test_a_run_of_two_processes_resumes_and_ends_as_that_of_one(ranks, alone):
    assert_same_training(alone / "run", ranks[0] / "run")
    facts = json.loads((ranks[0] / "run" / "settings.json").read_text())
    assert facts["processes"] == 2
    scores = json.loads((ranks[0] / "run" / "scores.json").read_text())
    assert scores["finished"]
    line = json.loads((ranks[0] / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert (line["negatives/in-batch"], line["negatives/gathered"]) == (3, 4)


@pytest.mark.distributed
def test_two_processes_train_a_classifier_as_one(ranks, alone):
    one, two = alone / "classified", ranks[0] / "classified"
    assert_same_training(one, two, {"step", "loss", "grad_norm", "dev"})
    heads = [load_file(run / "last" / "classifier.safetensors") for run in (one, two)]
    for key, tensor in heads[0].items():
        torch.testing.assert_close(heads[1][key], tensor, rtol=1e-5, atol=1e-5, msg=key)
    facts = [json.loads((run / "settings.json").read_text()) for run in (one, two)]
    assert facts[0]["settings"]["classes"] == facts[1]["settings"]["classes"]
    assert facts[1]["processes"] == 2


@pytest.mark.distributed
def test_a_run_of_two_processes_is_not_resumed_by_one(ranks, tmp_path):
    facts = json.loads((ranks[0] / "run" / "settings.json").read_text())
    (tmp_path / "settings.json").write_text(json.dumps(facts))
    with pytest.raises(
        UserError, match=r"was started with 2 processes.*accelerate launch --num_processes 2"
    ):
        resume(tmp_path, console=quiet())


@pytest.mark.distributed
def test_accelerate_launches_two_processes(two, alone):
    folder, shown = two
    assert "each anchor sees 7 negatives: in-batch 3, gathered 4" in shown
    assert "float32 on 2 × cpu" in shown
    assert shown.count("update 6/6") == 1
    assert_same_training(alone / "run", folder / "launched")


@pytest.mark.distributed
def test_two_processes_encode_a_share_each(ranks, alone):
    encoder = Encoder(ranks[0] / "bert")
    for count in COUNTS:
        want = torch.from_numpy(encoder.encode(SHARED[:count], precision="float32"))
        for rank in ranks[1]:
            torch.testing.assert_close(rank["encoded"][count], want, atol=1e-6, rtol=1e-6)
            assert torch.equal(rank["encoded"][count], ranks[1][0]["encoded"][count])


@pytest.mark.slow
@pytest.mark.distributed
def test_an_evaluation_of_two_processes_shows_once_what_one_gives(alone, tmp_path):
    words = ["eval", alone / "run" / "last", "--suite", "sample", "-o", tmp_path / "two.json"]
    shown, _ = (command := launch(*words)).communicate(timeout=240)
    assert command.returncode == 0, shown
    assert shown.count("sentences/s") == 1
    two = json.loads((tmp_path / "two.json").read_text())
    one = evaluate(EncodeWith(Encoder(alone / "run" / "last"), precision="float32"), "sample")
    for name, task in two["tasks"].items():
        assert task["spearman"]["all"] == pytest.approx(one[name], abs=1e-3)


@pytest.mark.slow
@pytest.mark.distributed
def test_a_ranking_of_two_processes_is_that_of_one(alone, tmp_path):
    """Of several texts more than one process encodes at once, an odd number of them."""
    folder, draw = tmp_path / "toy", np.random.default_rng(0)
    (folder / "qrels").mkdir(parents=True)
    for name, count in (("corpus", 301), ("queries", 25)):
        texts = [" ".join(draw.choice(WORDS, 6)) for _ in range(count)]
        rows = [{"_id": f"{name[0]}{n}", "title": "", "text": text} for n, text in enumerate(texts)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    judged = [f"q{n}\tc{row}\t1" for n in range(25) for row in draw.choice(301, 3, replace=False)]
    (folder / "qrels" / "test.tsv").write_text("\n".join(["q\tc\ts", *judged, ""]))
    model, scores = alone / "run" / "last", tmp_path / "two.json"
    command = launch("eval", model, "--data", folder, "-o", scores)
    shown, _ = command.communicate(timeout=240)
    assert command.returncode == 0, shown
    assert shown.count("ranked by cosine") == 1
    alone_too = EncodeWith(Encoder(model), precision="float32")
    one = run_suite(alone_too, [Ranking.of_folder(folder)]).tasks["toy"]
    two = json.loads(scores.read_text())["tasks"]["toy"]
    assert two["measures"] == pytest.approx(one.measures, abs=1e-3)
    assert 0 < two["measures"]["map"] < 100


@pytest.mark.slow
@pytest.mark.distributed
def test_ctrl_c_stops_both_processes_at_one_update_and_resume_goes_on(alone, tmp_path):
    command = launch(*arguments(alone, tmp_path / "run"))
    for line in command.stdout:
        if line.startswith("update 2/6"):
            command.send_signal(signal.SIGINT)
            break
    command.communicate(timeout=120)
    assert not RunFolder(tmp_path / "run").finished
    again = launch("train", "--resume", tmp_path / "run")
    shown, _ = again.communicate(timeout=120)
    assert again.returncode == 0, shown
    assert_same_training(alone / "run", tmp_path / "run")


@pytest.mark.slow
@pytest.mark.distributed
def test_two_processes_stream_from_the_hub_what_one_reads_from_a_folder(alone, tmp_path):
    lines = (alone / "corpus.txt").read_text().splitlines()
    (tmp_path / "repository").mkdir()
    for part in range(3):
        table = pyarrow.table({"text": lines[part * 20 : part * 20 + 20]})
        parquet.write_table(table, tmp_path / "repository" / f"{part}.parquet")
    buffer = ["--set", "shuffle_buffer=16"]
    train(
        "unsup-simcse", model=str(alone / "bert"), data=f"stream:{tmp_path / 'repository'}",
        dev=str(alone / "dev.jsonl"), output=tmp_path / "one", settings=[*SETTINGS, buffer[1]], console=quiet(),
    )  # fmt: skip
    with hub_of(tmp_path / "repository") as hub:
        online = {"HF_ENDPOINT": hub.address, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path)}
        named = arguments(alone, tmp_path / "two", data=f"hf://{NAME}")
        command = launch(*named, *buffer, **online)
        for line in command.stdout:
            if line.startswith("update 2/6"):
                command.send_signal(signal.SIGINT)
                break
        command.communicate(timeout=240)
        assert not RunFolder(tmp_path / "two").finished
        hub.head = SECOND
        again = launch("train", "--resume", tmp_path / "two", **online)
        shown, _ = again.communicate(timeout=240)
    assert again.returncode == 0, shown
    assert_same_training(tmp_path / "one", tmp_path / "two")
