"""Two real processes over gloo give what one gives: gathering, every method over several steps, and whole runs."""

from __future__ import annotations

import io
import json
import os
import random
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from compositions import METHODS, ROWS, batch_of
from families import WORDS, tiny_model_dir
from hub_server import NAME, SECOND, hub_of
from labelled import labelled, write_jsonl
from pyarrow import parquet
from rich.console import Console
from safetensors.torch import load_file
from torch.nn.parallel import DistributedDataParallel

import textcl.training.session
from textcl.distributed import ALONE, AllRanks
from textcl.encoder.encoder import Encoder
from textcl.encoder.shared import SharedEncoder
from textcl.errors import UserError
from textcl.evaluation.benchmarks import EncodeWith, evaluate
from textcl.method.backprop import FullBatch, GradCache
from textcl.method.hooks import Hook
from textcl.suites.ranking import Ranking
from textcl.suites.suite import run_suite
from textcl.training.checkpoint import module_tensors
from textcl.training.run_folder import RunFolder
from textcl.training.session import resume, train

SHARES = [slice(0, 5), slice(5, 7)]  # unequal on purpose
STEPS = 3  # of 7 rows each: all rows once, and a queue of 11 keys comes round
BACKPROPS = {"whole": FullBatch(), "cached": GradCache(2)}
GATHERED = {
    "bool": torch.tensor([True, False, True, False, True, True, False]),
    "half": torch.arange(7).to(torch.bfloat16),
    "double": torch.arange(14, dtype=torch.float64).view(7, 2),
    "long": torch.arange(7) + 2**40,
}


SHARED = [" ".join(WORDS[n % 40 : n % 40 + n % 7 + 1]) for n in range(25)]
COUNTS = (25, 1)


def trained(name, world, share, backprop):
    """The loss of each step, and everything that a checkpoint would hold after the last."""
    torch.manual_seed(0)
    method = METHODS[name](world)
    embedder, objective = method.embedder(), method.objective
    modules = {"embedder": embedder, "objective": objective, **method.state}
    parameters = [p for part in (embedder, objective) for p in part.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=0.2)
    if world.size > 1:
        embedder = DistributedDataParallel(embedder, broadcast_buffers=False)
        if any(p.requires_grad for p in objective.parameters()):
            objective = DistributedDataParallel(objective, broadcast_buffers=False)
    follower = method.encoders.get("momentum", method.encoders["online"])
    for hook in method.hooks:
        hook.before_training(STEPS)
        hook.before_epoch(0, lambda: follower(batch_of(torch.arange(ROWS)).tokens["first"]))
    losses = []
    for step in range(STEPS):
        rows = torch.arange(step * 7, step * 7 + 7)[share]
        output, z = backprop(embedder, objective, batch_of(rows), lambda loss: loss.backward())
        for hook in method.hooks:
            hook.after_batch(z, world)
        optimizer.step()
        optimizer.zero_grad()
        for hook in method.hooks:
            hook.after_update(step + 1)
        losses.append(output.loss.detach())
    return torch.stack(losses), module_tensors(modules)


# accumulated, cached and with a temperature that learns, so that both wrappers have something to keep apart
SETTINGS = [
    "batch_size=8", "steps=6", "learning_rate=1e-3", "dropout=0", "precision=fp32", "pooling=mean", "log_every=1",
    "save_every=2", "evaluate_every=3", "accumulation=2", "chunk_size=3", "temperature=learnable:0.1",
]  # fmt: skip


def write_inputs(folder):
    """A tiny model, a corpus, graded pairs and labelled rows."""
    draw = random.Random(0)
    write_jsonl(folder / "labelled.jsonl", labelled(60))
    tiny_model_dir(folder, "bert")
    lines = [" ".join(draw.sample(WORDS, draw.randint(2, 8))) for _ in range(64)]
    (folder / "corpus.txt").write_text("\n".join(lines) + "\n")
    pairs = [
        {"sentence1": lines[i], "sentence2": lines[i + 20], "score": draw.randint(0, 5)}
        for i in range(12)
    ]
    (folder / "dev.jsonl").write_text("\n".join(map(json.dumps, pairs)) + "\n")


def run(inputs, output):
    return train(
        "unsup-simcse", model=str(inputs / "bert"), data=str(inputs / "corpus.txt"),
        dev=str(inputs / "dev.jsonl"), output=output, settings=SETTINGS, console=quiet(),
    )  # fmt: skip


def classify(inputs, output):
    """A classifier with a second encoder, in batches of classes, on rows held out from its own."""
    settings = [
        "batch_size=6", "rows_per_class=2", "steps=4", "learning_rate=1e-3", "max_length=16", "dropout=0",
        "head_dropout=0", "head=own", "precision=fp32", "pooling=mean", "log_every=1", "second_view=repeat-words",
    ]  # fmt: skip
    return train(
        "lcl", model=str(inputs / "bert"), data=str(inputs / "labelled.jsonl"), dev="0.2", output=output,
        settings=settings, console=quiet(),
    )  # fmt: skip


def quiet():
    return Console(file=io.StringIO(), width=200)


class Crash(Hook):
    def after_update(self, step):
        if step == 3:
            raise ConnectionError("the machine went away")


def crash_and_resume(inputs, output, ports):
    """A run that stops after an update that no checkpoint holds, and goes on among the same processes."""
    loop = textcl.training.session.run_loop

    def crashing(method, *args, **kwargs):
        object.__setattr__(method, "hooks", [*method.hooks, Crash()])
        return loop(method, *args, **kwargs)

    textcl.training.session.run_loop = crashing
    os.environ["MASTER_PORT"] = str(ports[0])
    with pytest.raises(ConnectionError):
        run(inputs, output)
    textcl.training.session.run_loop = loop
    os.environ["MASTER_PORT"] = str(ports[1])
    resume(output, console=quiet())


def one_rank(rank, ports, folder):
    """Everything that two processes are asked for, in one start of them."""
    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "CUDA_VISIBLE_DEVICES": "",
    }  # fmt: skip
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{ports[0]}", rank=rank, world_size=2)
    world = AllRanks()
    gathered = {name: world.gather(x[SHARES[rank]]) for name, x in GATHERED.items()}
    steps = {
        f"{name}, {kind}": trained(name, world, SHARES[rank], backprop)
        for name in METHODS
        for kind, backprop in BACKPROPS.items()
    }
    shared = SharedEncoder(Encoder(Path(folder) / "bert"), world)
    encoded = {
        count: torch.from_numpy(shared.encode(SHARED[:count], precision="float32"))
        for count in COUNTS
    }
    torch.save(
        {"gathered": gathered, "steps": steps, "encoded": encoded}, Path(folder) / f"{rank}.pt"
    )
    dist.destroy_process_group()
    crash_and_resume(Path(folder), Path(folder) / "run", ports[1:])
    os.environ["MASTER_PORT"] = str(ports[3])
    classify(Path(folder), Path(folder) / "classified")


def free_ports(count):
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    write_inputs(folder)
    mp.spawn(one_rank, (free_ports(4), str(folder)), nprocs=2)
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


def launch(*arguments, **environment):
    """`accelerate launch -m textcl …` with two processes on the CPU."""
    accelerate = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    processes = ["--num_processes", "2", "--main_process_port", "0"]
    return subprocess.Popen(
        [*accelerate, *processes, "-m", "textcl", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={
            **os.environ, "CUDA_VISIBLE_DEVICES": "", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", **environment
        },
    )  # fmt: skip


def arguments(inputs, output, data=None):
    data = data or inputs / "corpus.txt"
    files = ["--model", inputs / "bert", "--data", data, "--dev", inputs / "dev.jsonl"]
    sets = [part for setting in SETTINGS for part in ("--set", setting)]
    return ["train", "--recipe", "unsup-simcse", *files, "--output", output, *sets]


@pytest.mark.distributed
def test_accelerate_launches_two_processes(alone, tmp_path):
    command = launch(*arguments(alone, tmp_path / "run"))
    shown, _ = command.communicate(timeout=120)
    assert command.returncode == 0, shown
    assert "each anchor sees 7 negatives: in-batch 3, gathered 4" in shown
    assert "float32 on 2 × cpu" in shown
    assert shown.count("update 6/6") == 1
    assert_same_training(alone / "run", tmp_path / "run")


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
