"""A folder of shards holds the vectors of one file: after kills, from several jobs, or not at all."""

import dataclasses
import json
import os
import random

import numpy as np
import pytest
from disks import fill_disk
from stub_encoder import StubEncoder

from textcl.data.sources import open_source
from textcl.data.stream import stream_rows
from textcl.encoder.finished import finished_manifest
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


def write(texts, folder, job=JOB, encoder=None, **options):
    source = open_source(str(texts))
    encoder = encoder or StubEncoder()
    rows = stream_rows(source)
    return encode_shards(lambda: encoder, rows, folder, job, source=source, **options)


def expected(texts):
    return StubEncoder().encode(texts.read_text().splitlines())


def vectors(folder):
    return np.concatenate(list(VectorFolder.open(folder).vectors()))


class Dying(StubEncoder):
    """Dies at its `at`-th call."""

    def __init__(self, at, error=KeyboardInterrupt):
        super().__init__()
        self.at, self.error = at, error

    def encode(self, texts, **options):
        if len(self.calls) == self.at:
            raise self.error
        return super().encode(texts, **options)


def test_the_shards_hold_the_vectors_of_every_row_in_order(tmp_path, texts):
    manifest = write(texts, tmp_path / "v")
    assert manifest.complete
    assert [shard.rows for shard in manifest.shards] == [10] * 5 + [3]
    assert manifest.rows == ROWS
    assert manifest.blank == 1  # the empty first line
    np.testing.assert_array_equal(vectors(tmp_path / "v"), expected(texts))


def test_no_row_is_lost_or_doubled_over_fifty_kills(tmp_path, texts):
    """Every attempt dies somewhere, or is told to stop; what it finished is never encoded again."""
    draw, folder, encoded = random.Random(0), tmp_path / "v", 0
    job = dataclasses.replace(JOB, rows_per_shard=1)
    for _ in range(50):
        encoder = Dying(draw.choice([0, 1, 1, 1]))
        with pytest.raises(KeyboardInterrupt):
            write(texts, folder, job, encoder)
        encoded += len(encoder.calls)
        assert finished_rows(folder, Share()) == encoded
        assert not list(folder.glob(".*.part"))
    encoder = StubEncoder()
    assert write(texts, folder, job, encoder).complete
    assert encoded + len(encoder.calls) == ROWS
    np.testing.assert_array_equal(vectors(folder), expected(texts))


def test_a_finished_folder_needs_no_model(tmp_path, texts):
    write(texts, tmp_path / "v")
    source = open_source(str(texts))
    never = pytest.fail
    manifest = encode_shards(never, stream_rows(source), tmp_path / "v", JOB, source=source)
    assert manifest.complete
    assert finished_manifest(tmp_path / "v", JOB, Share()) == manifest


def test_whether_a_folder_is_finished_is_told_from_its_manifest_and_its_shards(tmp_path, texts):
    folder, job = tmp_path / "v", dataclasses.replace(JOB, precision="bfloat16")
    write(texts, folder, job, stop=iter([False, True]).__next__)
    assert finished_manifest(folder, job, Share()) is None
    write(texts, folder, job)
    assert finished_manifest(folder, JOB, Share()).rows == ROWS  # computes nothing, in no precision
    for change in ({"precision": "float32"}, {"model_sha256": "n" * 64}, {"data_sha256": "e" * 64}):
        assert finished_manifest(folder, dataclasses.replace(JOB, **change), Share()) is None
    assert finished_manifest(tmp_path, JOB, Share()) is None
    (folder / "000002.npy").write_bytes(b"other")
    with pytest.raises(UserError, match=r"000002\.npy was changed since it was written"):
        finished_manifest(folder, JOB, Share())


def test_it_stops_between_two_shards(tmp_path, texts):
    encoder = StubEncoder()
    manifest = write(texts, tmp_path / "v", encoder=encoder, stop=lambda: len(encoder.calls) == 2)
    assert not manifest.complete
    assert manifest.rows == 20
    assert write(texts, tmp_path / "v").rows == ROWS


def test_jobs_take_shards_in_turn_and_the_last_joins_them(tmp_path, texts):
    folder, jobs = tmp_path / "v", [StubEncoder() for _ in range(3)]
    for place in (1, 0, 2):
        with pytest.raises(UserError, match=r"of its jobs have ended|has no manifest"):
            VectorFolder.open(folder)
        write(texts, folder, encoder=jobs[place], share=Share(place + 1, 3))
    assert [len(job.calls) for job in jobs] == [2, 2, 2]
    assert VectorFolder.open(folder).manifest.blank == 1
    np.testing.assert_array_equal(vectors(folder), expected(texts))
    (folder / "manifest.json").unlink()
    with pytest.raises(UserError, match="was begun by 3 jobs together, not 2"):
        write(texts, folder, share=Share(1, 2))


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "a/b", "1/0", "-1/3"])
def test_a_wrong_share_is_refused(text):
    with pytest.raises(UserError, match="such as 3/16"):
        Share.parse(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_sha256": "n" * 64}, "of another model"),
        ({"data_sha256": "e" * 64}, "the input was changed"),
        ({"prompt": "query"}, "prompt was None and is 'query'"),
        ({"rows_per_shard": 7}, "rows_per_shard was 10 and is 7"),
    ],
)
def test_vectors_of_something_else_are_not_mixed(tmp_path, texts, change, message):
    write(texts, tmp_path / "v", stop=iter([False, True]).__next__)
    job = dataclasses.replace(JOB, **change)
    with pytest.raises(UserError, match=message):
        write(texts, tmp_path / "v", job)
    with pytest.raises(UserError, match=message):
        write(texts, tmp_path / "v", job, share=Share(1, 2))
    assert write(texts, tmp_path / "v", job, overwrite=True).complete


def test_overwriting_removes_what_the_manifest_names_and_nothing_else(tmp_path, texts):
    folder = tmp_path / "v"
    write(texts, folder)
    (folder / "notes.txt").write_text("mine")
    write(texts, folder, dataclasses.replace(JOB, rows_per_shard=30), overwrite=True)
    assert sorted(path.name for path in folder.iterdir() if path.name[0] != ".") == [
        "000000.npy",
        "000001.npy",
        "manifest.json",
        "notes.txt",
    ]
    with pytest.raises(UserError, match="would remove what the other jobs write"):
        write(texts, folder, share=Share(1, 2), overwrite=True)


def test_a_folder_of_something_else_is_left_alone(tmp_path, texts):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    for overwrite in (False, True):
        with pytest.raises(UserError, match=r"model holds other files, such as config\.json"):
            write(texts, tmp_path / "model", overwrite=overwrite)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["config.json"]


def test_a_manifest_cannot_name_files_outside_its_folder(tmp_path, texts):
    folder = tmp_path / "v"
    write(texts, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["job"]["format"] = "/../../precious"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    for call in (lambda: VectorFolder.open(folder), lambda: write(texts, folder, overwrite=True)):
        with pytest.raises(UserError, match="shards of one of npy"):
            call()


def test_a_changed_shard_is_refused_and_a_copied_one_is_not(tmp_path, texts):
    folder = tmp_path / "v"
    write(texts, folder, stop=iter([False, False, True]).__next__)
    os.utime(folder / "000000.npy", (1, 1))
    assert write(texts, folder).complete
    content = bytearray((folder / "000001.npy").read_bytes())
    content[-1] ^= 1
    (folder / "000001.npy").write_bytes(content)
    for call in (lambda: VectorFolder.open(folder), lambda: write(texts, folder)):
        with pytest.raises(UserError, match=r"000001\.npy was changed since"):
            call()
    (folder / "000001.npy").unlink()
    with pytest.raises(UserError, match=r"000001\.npy is gone"):
        write(texts, folder)


def test_a_full_disk_keeps_the_shards_before_it(monkeypatch, tmp_path, texts):
    encoder = StubEncoder()
    with monkeypatch.context() as patch:

        def stop():
            if len(encoder.calls) == 2:
                fill_disk(patch, 100)
            return False

        with pytest.raises(RunError, match="the disk is full"):
            write(texts, tmp_path / "v", encoder=encoder, stop=stop)
    assert finished_rows(tmp_path / "v", Share()) == 20
    write(texts, tmp_path / "v")
    np.testing.assert_array_equal(vectors(tmp_path / "v"), expected(texts))


def test_a_second_writer_is_refused(tmp_path, texts):
    def second():
        with pytest.raises(UserError, match=f"is being written by process {os.getpid()} on"):
            write(texts, tmp_path / "v")
        return False

    assert write(texts, tmp_path / "v", stop=second).complete


@pytest.mark.parametrize("format", ["parquet", "safetensors", "jsonl"])
def test_other_formats_are_shards_too(tmp_path, texts, format):
    write(texts, tmp_path / "v", dataclasses.replace(JOB, format=format))
    folder = VectorFolder.open(tmp_path / "v")
    assert all(folder.file(shard.index).suffix == f".{format}" for shard in folder.manifest.shards)
    with pytest.raises(UserError, match="read them with their own library"):
        next(folder.vectors())
