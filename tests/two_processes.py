"""The program of two processes that `accelerate launch` starts for test_distributed.py, and what it shares with it.

One start does all that is asked of two processes: loading torch and transformers takes longer than all of it.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import pytest
import torch
from compositions import METHODS, ROWS, batch_of
from families import WORDS, tiny_model_dir
from labelled import labelled, write_jsonl
from torch.nn.parallel import DistributedDataParallel
from training_runs import crash_at, quiet

import textcl.cli
from textcl.distributed import AllRanks
from textcl.encoder.encoder import Encoder
from textcl.encoder.shared import SharedEncoder
from textcl.method.backprop import FullBatch, GradCache
from textcl.training.checkpoint import module_tensors
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


def arguments(inputs, output, data=None):
    """The run of `run` as words of the command."""
    data = data or inputs / "corpus.txt"
    files = ["--model", inputs / "bert", "--data", data, "--dev", inputs / "dev.jsonl"]
    sets = [part for setting in SETTINGS for part in ("--set", setting)]
    words = ["train", "--recipe", "unsup-simcse", *files, "--output", output, *sets]
    return [str(word) for word in words]


def command(inputs, output):
    """`textcl train`, as `accelerate launch -m textcl` calls it."""
    sys.argv = ["textcl", *arguments(inputs, output)]
    with pytest.raises(SystemExit) as ended:
        textcl.cli.main()
    assert not ended.value.code


def crash_and_resume(inputs, output):
    """A run that stops after an update that no checkpoint holds, and goes on among the same processes."""
    with pytest.MonkeyPatch.context() as patch:
        crash_at(patch, 3)
        with pytest.raises(ConnectionError):
            run(inputs, output)
    resume(output, console=quiet())


def rows_and_steps(folder):
    """Gathered rows, steps of every method and vectors of each process, in the group of the command."""
    world = AllRanks()
    share = SHARES[world.rank]
    gathered = {name: world.gather(x[share]) for name, x in GATHERED.items()}
    steps = {
        f"{name}, {kind}": trained(name, world, share, backprop)
        for name in METHODS
        for kind, backprop in BACKPROPS.items()
    }
    shared = SharedEncoder(Encoder(folder / "bert"), world)
    encoded = {
        count: torch.from_numpy(shared.encode(SHARED[:count], precision="float32"))
        for count in COUNTS
    }
    torch.save(
        {"gathered": gathered, "steps": steps, "encoded": encoded}, folder / f"{world.rank}.pt"
    )


def main(folder):
    """Four runs of one program, in one group of processes."""
    command(folder, folder / "launched")
    rows_and_steps(folder)
    crash_and_resume(folder, folder / "run")
    classify(folder, folder / "classified")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
