"""Encoding on a local Ray cluster gives the vectors of one process, also when a worker is killed."""

import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from families import tiny_encoder
from stub_encoder import DiesOnce, StubEncoder

from textcl.data.sources import open_source
from textcl.data.stream import stream_rows
from textcl.encoder.shards import encode_shards
from textcl.encoder.vector_folder import VectorFolder, VectorJob
from textcl.errors import RunError, UserError

# Ray warns about its own settings
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("default")]
ROWS = 53


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "PYTHONPATH", os.pathsep.join(sys.path)
        )  # workers import the stubs of the tests
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield ray
        ray.shutdown()


@pytest.mark.parametrize("address", ["auto", "127.0.0.1:1", "ray://127.0.0.1:1", "host:none"])
def test_an_address_without_a_cluster_is_refused(address):
    pytest.importorskip("ray")
    from textcl.ray import RayWorkers

    with pytest.raises(UserError, match=f"no Ray cluster answers at '{address}'"):
        RayWorkers(address)


@pytest.fixture
def texts(tmp_path):
    path = tmp_path / "texts.txt"
    path.write_text("".join(f"{'word ' * (n % 5)}{'x' * n}\n" for n in range(ROWS)))
    return path


def write(texts, folder, load):
    from textcl.ray import RayWorkers

    source, job = open_source(str(texts)), VectorJob("m" * 64, "d" * 64, rows_per_shard=10)
    rows = stream_rows(source)
    return encode_shards(load, rows, folder, job, source=source, workers=RayWorkers("auto", 2))


def test_a_killed_worker_changes_nothing(cluster, tmp_path, texts, monkeypatch):
    flag = tmp_path / "flag"
    monkeypatch.chdir(tmp_path)  # workers were started elsewhere
    manifest = write(texts, Path("v"), partial(DiesOnce, flag))
    assert flag.exists()
    assert manifest.complete
    vectors = np.concatenate(list(VectorFolder.open(tmp_path / "v").vectors()))
    np.testing.assert_array_equal(vectors, StubEncoder().encode(texts.read_text().splitlines()))


class Refuses(StubEncoder):
    """A model that lacks what is asked of it."""

    def encode(self, texts, **options):
        raise UserError("no such prompt")


def cannot_load():
    raise UserError("no such model here")


@pytest.mark.parametrize(
    ("load", "message"), [(Refuses, "no such prompt"), (cannot_load, "no such model")]
)
def test_a_mistake_of_the_user_is_said_once(cluster, tmp_path, texts, load, message):
    with pytest.raises(UserError, match=f"^{message}[a-z ]*$"):
        write(texts, tmp_path / "v", load)


class Dies(StubEncoder):
    """A model that is too large for every worker."""

    def encode(self, texts, **options):
        os._exit(1)


def test_workers_that_die_again_and_again_end_in_one_sentence(cluster, tmp_path, texts):
    with pytest.raises(RunError, match=r"died more than \d times at one shard") as caught:
        write(texts, tmp_path / "v", Dies)
    assert "\n" not in str(caught.value)


def test_a_data_set_gets_a_column_of_vectors(cluster, tmp_path, texts, monkeypatch):
    from textcl import Encoder
    from textcl.ray import encode

    tiny_encoder().save_pretrained(tmp_path / "model")
    lines = [line for line in texts.read_text().splitlines() if line]
    data = cluster.data.from_items([{"text": line, "n": n} for n, line in enumerate(lines)])
    monkeypatch.chdir(tmp_path)
    rows = encode(data, "model", workers=1, precision="float32").take_all()
    rows.sort(key=lambda row: row["n"])
    expected = Encoder.from_pretrained(tmp_path / "model").encode(lines, precision="float32")
    np.testing.assert_allclose(np.stack([row["vector"] for row in rows]), expected, atol=1e-6)
    with pytest.raises(UserError, match="a column 'body'"):
        encode(data, str(tmp_path / "model"), column="body")
