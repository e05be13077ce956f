"""Commands of many parts × Ctrl-C, SIGTERM and a full disk after the first part, and the same command again."""

import errno
import json
import os
import signal
import sys

import pytest
from families import WORDS, tiny_encoder
from signals import deliver

import textcl.cli
from textcl.retrieval import build

ROWS = 6
SIGNALS = [signal.SIGINT, signal.SIGTERM]
COMMANDS = {  # how each is called, what it loads its model with, what is there after a stop and after a full disk
    "encode": (
        ["m", "texts.txt", "-o", "out/", "--shard-rows", "2"],
        "textcl.cli.encode.load_encoder",
        ("rows in", "the same command goes on"),
        "the finished shards of out are kept; once there is room the same command goes on",
    ),
    "index": (
        ["texts.txt", "-m", "m", "-o", "out"],
        "textcl.cli.index.load_model",
        ("the same command goes on where it was", "out is not there yet"),
        "what is encoded so far is kept; once there is room the same command goes on",
    ),
    "mine": (
        ["m", "pairs.csv", "-o", "out.jsonl", "--negatives", "1", "--relative-margin", "none"],
        "textcl.cli.mine.load_model",
        ("nothing of out.jsonl was written", "kept in the cache"),
        "what is encoded so far is kept; once there is room the same command goes on",
    ),
}


@pytest.fixture(scope="module")
def model():
    return tiny_encoder(hidden=32)


@pytest.fixture
def textcl_in(monkeypatch, capsys, tmp_path, model):
    """Runs a command whose second block meets something; gives its exit code, standard error and the blocks."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("textcl.data.cache.datasets_config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(build, "_BLOCK", 2)
    monkeypatch.setattr("textcl.encoder.hub.find_model", lambda model: tmp_path)
    monkeypatch.setattr("textcl.encoder.folder_hash.model_sha256", lambda folder: "ab")
    lines = [f"{first} {second}" for first, second in zip(WORDS[:ROWS], WORDS[9:], strict=False)]
    (tmp_path / "texts.txt").write_text("".join(f"{line}\n" for line in lines))
    rows = [f"{line},{line} {word}" for line, word in zip(lines, WORDS[20:], strict=False)]
    (tmp_path / "pairs.csv").write_text("\n".join(["anchor,positive", *rows]) + "\n")
    ordinary = type(model).encode

    def run(name, meet=lambda: None):
        arguments, place, *_ = COMMANDS[name]
        blocks = []

        def encode(encoder, texts, **options):
            blocks.append(len(texts))
            if len(blocks) == 2:
                meet()
            return ordinary(encoder, texts, **options)

        monkeypatch.setattr(type(model), "encode", encode)
        monkeypatch.setattr(place, lambda *_: model)
        monkeypatch.setattr(sys, "argv", ["textcl", name, *arguments])
        try:
            textcl.cli.main()
            code = 0
        except SystemExit as stopped:
            code = stopped.code or 0
        return code, capsys.readouterr().err, blocks

    yield run
    signal.signal(signal.SIGINT, before)


def only_line(err):
    (line,) = [
        line for line in err.splitlines() if line.startswith("textcl: ") and "second" not in line
    ]
    assert "Traceback" not in err
    return line


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("name", COMMANDS)
def test_a_signal_in_the_middle_keeps_what_is_complete(textcl_in, name, number):
    code, err, _ = textcl_in(name, lambda: deliver(number))
    assert code == 128 + number, err
    line = only_line(err)
    assert line.startswith("textcl: stopped; ")
    assert all(part in line for part in COMMANDS[name][2]), line
    again, err, blocks = textcl_in(name)
    assert again == 0, err
    assert sum(blocks) < 2 * ROWS if name == "mine" else sum(blocks) < ROWS


@pytest.mark.parametrize("name", COMMANDS)
def test_a_disk_that_fills_up_in_the_middle_is_one_sentence(textcl_in, name):
    def full():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    code, err, _ = textcl_in(name, full)
    assert code == 1, err
    assert only_line(err).startswith(f"textcl: the disk is full: {COMMANDS[name][3]}"), err
    again, err, blocks = textcl_in(name)
    assert again == 0, err
    assert sum(blocks) < 2 * ROWS if name == "mine" else sum(blocks) < ROWS


def test_an_index_that_is_to_be_replaced_stays_until_the_new_one_is_whole(textcl_in, tmp_path):
    assert textcl_in("index")[0] == 0
    COMMANDS["index"][0].append("--overwrite")
    with (tmp_path / "texts.txt").open("a") as file:
        file.write("one more\n")
    try:
        code, err, _ = textcl_in("index", lambda: deliver(signal.SIGINT))
    finally:
        COMMANDS["index"][0].pop()
    assert code == 130
    assert "out is as it was" in only_line(err)
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["rows"] == ROWS
