"""Shards made in other processes are those of one process; a process that dies loses its shard and nothing else."""

import signal
from functools import partial

import numpy as np
import pytest
from stub_encoder import DiesOnce, StubEncoder

from textcl.data.sources import open_source
from textcl.data.stream import stream_rows
from textcl.encoder.shard_workers import DeviceProcesses
from textcl.encoder.shards import encode_shards, finished_rows
from textcl.encoder.vector_folder import Share, VectorFolder, VectorJob
from textcl.errors import RunError, UserError

ROWS = 53
JOB = VectorJob("m" * 64, "d" * 64, rows_per_shard=10)


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"{'word ' * (n % 5)}{'x' * n}\n" for n in range(ROWS)))
    return path


def write(texts, folder, load, workers, **options):
    source = open_source(str(texts))
    return encode_shards(
        load, stream_rows(source), folder, JOB, source=source, workers=workers, **options
    )


def check(texts, folder):
    vectors = np.concatenate(list(VectorFolder.open(folder).vectors()))
    np.testing.assert_array_equal(vectors, StubEncoder().encode(texts.read_text().splitlines()))


class Shielded(DiesOnce):
    """Dies once, and refuses to work where Ctrl-C, which goes to all processes, could end it before it is ready."""

    def encode(self, texts, **options):
        assert signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, [])
        return super().encode(texts, **options)


def test_two_processes_make_the_shards_of_one_and_one_that_dies_is_not_the_end(tmp_path, texts):
    folder, load = tmp_path / "v", partial(Shielded, tmp_path / "flag")
    with pytest.raises(RunError, match=r"has died.*the same command goes on"):
        write(texts, folder, load, DeviceProcesses(2))
    done, before = [], finished_rows(folder, Share())
    assert before <= ROWS - 10
    manifest = write(texts, folder, load, DeviceProcesses(2), progress=done.append)
    assert manifest.complete
    assert [shard.index for shard in manifest.shards] == list(range(6))
    assert sum(done) == ROWS - before
    check(texts, folder)
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])  # of this process


def test_more_devices_than_the_machine_has_are_refused():
    with pytest.raises(UserError, match="expected at most"):
        DeviceProcesses(10_000)
