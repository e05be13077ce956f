"""`textcl encode -o folder/` killed again and again: the same command goes on, and no row is lost or doubled."""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import random
import signal
import sys
import time
from pathlib import Path

import families
import numpy as np
import pytest

from textcl.encoder.encoder import Encoder
from textcl.encoder.vector_folder import VectorFolder

KILLS, SHARD_ROWS = 50, 8


def encode(model: str, corpus: str, folder: str) -> None:
    """The command, in a process that was forked from one with everything imported."""
    from textcl.cli import main

    options = ["--shard-rows", str(SHARD_ROWS), "--precision", "float32"]
    sys.argv = ["textcl", "encode", model, corpus, "-o", folder, *options]
    with contextlib.redirect_stderr(io.StringIO()):
        main()


def shards(folder: Path) -> int:
    return len(list(folder.glob("*.npy")))


@pytest.mark.slow
def test_no_row_is_lost_or_doubled_over_fifty_kills_of_the_command(tmp_path):
    draw = random.Random(0)
    model = tmp_path / "model"
    families.tiny_encoder(layers=1).save_pretrained(model)
    texts = [" ".join(draw.choices(families.WORDS, k=6)) for _ in range(2 * KILLS * SHARD_ROWS)]
    (tmp_path / "corpus.txt").write_text("\n".join(texts) + "\n")
    started = multiprocessing.get_context("forkserver")
    started.set_forkserver_preload(["textcl.cli.app", "textcl.encoder.encoder", "transformers"])
    folder, killed = tmp_path / "vectors", 0
    arguments = (str(model), str(tmp_path / "corpus.txt"), str(folder))
    while killed < KILLS:
        before = shards(folder)
        victim = started.Process(target=encode, args=arguments)
        victim.start()
        while victim.is_alive() and shards(folder) == before:
            time.sleep(0.001)
        time.sleep(draw.random() * 0.01)
        victim.kill()
        victim.join()
        assert victim.exitcode == -signal.SIGKILL, "the command ended before its kill"
        killed += 1
    last = started.Process(target=encode, args=arguments)
    last.start()
    last.join()
    assert last.exitcode == 0
    made = VectorFolder.open(folder)
    assert made.manifest.rows == len(texts)
    vectors = np.concatenate([np.asarray(block) for block in made.vectors()])
    exact = Encoder.from_pretrained(model).encode(texts, precision="float32")
    np.testing.assert_allclose(vectors, exact, atol=1e-6)
    assert not [path for path in folder.iterdir() if "part" in path.name]
