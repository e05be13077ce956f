import errno
import json
import os
import stat
import subprocess
import sys
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch
from disks import fill_disk
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from textcl.data import files
from textcl.data.files import (
    atomic_write,
    check_writable,
    output_format,
    remove_stale,
    replacing,
    whole_path,
    write_json,
)
from textcl.data.json_files import parse, read_text
from textcl.data.records import open_records
from textcl.data.splits import Split
from textcl.data.vectors import open_vectors
from textcl.errors import RunError, UserError


@pytest.fixture
def dead():
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def fail_half_way(path, error):
    path.write_text("half")
    raise error


def read(path):
    return parse(read_text(path), str(path))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_files_and_folders_appear_whole(tmp_path):
    write_json(tmp_path / "x.json", {"a": 1})
    with whole_path(tmp_path / "x.safetensors") as part:
        save_file({"w": torch.ones(2)}, part)
    with replacing(tmp_path / "deep" / "model") as folder:
        (folder / "new").write_text("")
        assert not (tmp_path / "deep" / "model").exists()
    assert read(tmp_path / "x.json") == {"a": 1}
    assert load_file(tmp_path / "x.safetensors")["w"].tolist() == [1, 1]
    assert names(tmp_path) == ["deep", "x.json", "x.safetensors"]
    assert names(tmp_path / "deep") == ["model"]


def test_what_fails_leaves_the_older_one(tmp_path):
    write_json(tmp_path / "x", {"old": 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / "x", {"new": object()})
    with pytest.raises(KeyError), atomic_write(tmp_path / "x") as file:
        raise KeyError(file.write(b"half"))
    assert read(tmp_path / "x") == {"old": 1}
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("")
    with pytest.raises(KeyError), replacing(tmp_path / "model") as folder:
        fail_half_way(folder / "new", KeyError())
    assert names(tmp_path) == ["model", "x"]
    assert names(tmp_path / "model") == ["config.json"]


def test_a_folder_that_cannot_be_moved_in_leaves_the_older_one(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("")

    def fail(path, target):
        raise OSError(errno.EIO, "broken")

    with pytest.raises(OSError, match="broken"), replacing(tmp_path / "model"):
        monkeypatch.setattr(Path, "replace", fail)
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["config.json"]


def test_numbers_of_numpy_and_paths_are_written_as_what_they_hold(tmp_path):
    content = {
        "a": np.int64(1),
        "b": np.float32(0.5),
        "c": np.array([1, 2]),
        "d": Path("x"),
        "e": np.bool_(True),
    }
    write_json(tmp_path / "x.json", content)
    assert read(tmp_path / "x.json") == {"a": 1, "b": 0.5, "c": [1, 2], "d": "x", "e": True}


def test_numbers_that_are_not_finite_are_written_as_null(tmp_path):
    content = {
        "a": float("nan"),
        "b": [float("inf"), 1.5],
        "c": np.array([-np.inf, 2]),
        "d": {"e": (np.float32("nan"), "NaN")},
    }
    write_json(tmp_path / "x.json", content)
    text = (tmp_path / "x.json").read_text()
    assert text.endswith("}\n")
    assert json.loads(text, parse_constant=pytest.fail) == {
        "a": None,
        "b": [None, 1.5],
        "c": [None, 2.0],
        "d": {"e": [None, "NaN"]},
    }


def test_lines_hold_null_for_numbers_that_are_not_finite(tmp_path):
    record = {"a": np.nan, "b": [1.5, np.inf], "c": {"d": -np.inf}, "day": date(2026, 1, 2)}
    with open_records(tmp_path / "x.jsonl") as write:
        write([record, {"a": 1}])
    with open_vectors(tmp_path / "v.jsonl", 2) as write:
        write(np.ones((1, 2), np.float32), [record])
    for name in ("x.jsonl", "v.jsonl"):
        first = (tmp_path / name).read_text().splitlines()[0]
        values = json.loads(first, parse_constant=pytest.fail)
        assert values["a"] is None
        assert values["b"] == [1.5, None]
        assert values["c"] == {"d": None}
        assert values["day"] == "2026-01-02"


def test_a_dataclass_is_written_as_its_fields(tmp_path):
    write_json(tmp_path / "x.json", Split([0], [1], 1, 2))
    assert read(tmp_path / "x.json") == {"kept": [0], "held": [1], "held_classes": 1, "classes": 2}


def test_a_full_disk_is_one_sentence_for_every_writer(tmp_path, monkeypatch):
    fill_disk(monkeypatch, after=3)
    with pytest.raises(RunError, match=r"the disk is full: .*x could not be finished"):
        write_json(tmp_path / "x", {"a": 1})

    words = 'IoError(Os { code: 28, kind: StorageFull, message: "No space left on device" })'
    with (
        pytest.raises(RunError, match=r"the disk is full: .*x could"),
        whole_path(tmp_path / "x") as part,
    ):
        fail_half_way(part, SafetensorError(words))
    with pytest.raises(RunError, match="the disk is full"), replacing(tmp_path / "model"):
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
    assert names(tmp_path) == []


def test_what_dead_processes_left_is_removed_at_the_next_write(tmp_path, dead):
    left = [f".x.{files._HOST}-{dead}-01234567.part", f".model.{files._HOST}-{dead}-89abcdef.part"]
    (tmp_path / left[0]).write_text("half")
    (tmp_path / left[1]).mkdir()
    kept = [
        f".x.{files._HOST}-{os.getpid()}-01234567.part",  # of a process that is alive
        f".x.00000000-{dead}-01234567.part",  # of another machine
        ".x.part",
    ]
    for name in kept:
        (tmp_path / name).write_text("")
    write_json(tmp_path / "y.json", {})
    assert names(tmp_path) == sorted([*kept, "y.json"])


def test_a_folder_that_a_dead_process_moved_away_comes_back(tmp_path, dead):
    old = tmp_path / f".model.{files._HOST}-{dead}-01234567.old"
    old.mkdir()
    (old / "weights").write_text("")
    remove_stale(tmp_path)
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["weights"]


def test_a_killed_writer_leaves_nothing_for_long(tmp_path):
    program = (
        "import os, pathlib, sys\n"
        "from textcl.data.files import atomic_write\n"
        "with atomic_write(pathlib.Path(sys.argv[1])) as file:\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "x")], check=False)
    assert len(names(tmp_path)) == 1
    remove_stale(tmp_path)
    assert names(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_found_before_work(tmp_path, monkeypatch):
    check_writable(tmp_path / "not" / "yet")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file is a file, so nothing can be written under it"):
        check_writable(tmp_path / "file" / "below")
    with pytest.raises(UserError, match=r"cannot write in the folder .*file \(Not a directory\)"):
        write_json(tmp_path / "file" / "x", {})
    with (
        pytest.raises(UserError, match=r"cannot write in the folder .*file"),
        replacing(tmp_path / "file" / "x"),
    ):
        pass
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match="you may not write to the folder"):
        check_writable(tmp_path / "not" / "yet")
    with pytest.raises(UserError, match="you may not write to the folder"):
        output_format(tmp_path / "x.csv", ["csv"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused(tmp_path):
    tmp_path.chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(UserError, match="you may not write"):
        check_writable(tmp_path)
