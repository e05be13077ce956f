import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow
import pytest
import typer
from disks import fill_disk
from pyarrow import parquet
from rich.console import Console
from safetensors.numpy import load_file
from signals import deliver
from stub_encoder import StubEncoder
from typer.testing import CliRunner

import textcl.cli.app
import textcl.cli.encode
from textcl.cli.command import StoppedError
from textcl.data.lock import sole_writer_of
from textcl.errors import RunError, UserError
from textcl.progress import progress

app = typer.Typer()
app.command("encode", epilog=textcl.cli.encode.EXAMPLES)(textcl.cli.encode.encode_command)


@pytest.fixture
def encoder(monkeypatch):
    stub = StubEncoder()
    monkeypatch.setattr(textcl.cli.encode, "load_encoder", lambda model, backend: stub)
    return stub


def encode(*arguments, **options):
    """What `textcl encode MODEL …` leaves on the two streams."""
    return CliRunner().invoke(
        app, ["model", *map(str, arguments)], catch_exceptions=False, **options
    )


def read_jsonl(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


TEXTS = ["one two", "", " ", "a  b c", "ünï 🐕"]
EXPECTED = [[len(text) * bool(text.strip()), len(text.split()), 1, 1, 1, 1] for text in TEXTS]


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "x.txt"
    path.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    return path


def test_every_format_gets_the_vectors_in_order(tmp_path, lines, encoder):
    for name in ("npy", "safetensors", "parquet", "jsonl"):
        result = encode(lines, "-o", tmp_path / f"out.{name}")
        assert result.exit_code == 0
        assert result.stdout == ""
    rows = read_jsonl(tmp_path / "out.jsonl")
    table = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert [row["text"] for row in rows] == [row["text"] for row in table] == TEXTS
    for vectors in (
        np.load(tmp_path / "out.npy"),
        load_file(tmp_path / "out.safetensors")["embeddings"],
        np.array([row["embedding"] for row in rows]),
        np.array([row["embedding"] for row in table]),
    ):
        np.testing.assert_array_equal(vectors, EXPECTED)


def test_the_summary_counts_rows_blanks_and_cut_texts(tmp_path, encoder):
    (tmp_path / "x.txt").write_text("a b c d e f\na b c d e f g\n\n" + "aaaa " * 50 + "\n")
    result = encode(tmp_path / "x.txt", "-o", tmp_path / "out.npy")
    assert "out.npy: 4 rows of 6 dimensions; 2 texts cut at 8 tokens; 1 blank" in result.stderr
    assert " sentences/s" in result.stderr
    result = encode(
        tmp_path / "x.txt", "-o", tmp_path / "out.npy", "--overwrite", "--prompt", "query"
    )
    assert "3 texts cut at 8 tokens" in result.stderr
    assert encoder.calls[-1]["prompt"] == "query"


def test_options_reach_the_encoder(tmp_path, lines, encoder):
    options = "--truncate-dim 3 --normalize --batch-tokens 99 --precision bfloat16 --limit 4"
    result = encode(lines, "-o", tmp_path / "out.npy", *options.split())
    assert "4 rows of 3 dimensions" in result.stderr
    vectors = np.load(tmp_path / "out.npy")
    assert vectors.shape == (4, 3)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    assert encoder.calls == [
        {"rows": 4, "prompt": None, "batch_tokens": 99, "precision": "bfloat16"}
    ]


def test_float16_takes_half_the_space(tmp_path, lines, folder_encoder):
    for name in ("half.npy", "folder/"):
        result = encode(lines, "-o", f"{tmp_path}/{name}", "--dtype", "float16")
        assert result.exit_code == 0, result.output
    for path in (tmp_path / "half.npy", tmp_path / "folder/000000.npy"):
        vectors = np.load(path)
        assert vectors.dtype == np.float16
        np.testing.assert_array_equal(vectors, EXPECTED)
    with pytest.raises(UserError, match="dtype was 'float16' and is 'float32'"):
        encode(lines, "-o", f"{tmp_path}/folder/")


def test_columns_and_types_of_parquet_are_kept(tmp_path, encoder):
    source = pyarrow.table(
        {
            "id": pyarrow.array([3, 1, 2], pyarrow.int16()),
            "title": ["a b", None, "c"],
            "tags": [["x"], [], None],
        }
    )
    parquet.write_table(source, tmp_path / "x.parquet")
    result = encode(tmp_path / "x.parquet", "-o", tmp_path / "y.parquet", "--column", "text=title")
    assert result.exit_code == 0
    table = parquet.read_table(tmp_path / "y.parquet")
    assert table.select(source.column_names) == source
    assert [row[:2] for row in table.column("embedding").to_pylist()] == [[3, 2], [0, 0], [1, 1]]


def test_other_columns_of_csv_and_jsonl_are_kept(tmp_path, encoder):
    (tmp_path / "x.csv").write_text("id,sentence\n7,a b\n8,\n")
    encode(tmp_path / "x.csv", "-o", tmp_path / "y.jsonl")
    rows = read_jsonl(tmp_path / "y.jsonl")
    assert [(row["id"], row["sentence"], row["embedding"][0]) for row in rows] == [
        ("7", "a b", 3),
        ("8", "", 0),
    ]
    (tmp_path / "x.jsonl").write_text('{"text": "a", "n": {"k": [1]}}\n\n{"text": "b", "m": 2}\n')
    encode(tmp_path / "x.jsonl", "-o", tmp_path / "z.jsonl")
    rows = read_jsonl(tmp_path / "z.jsonl")
    assert [row.pop("embedding")[0] for row in rows] == [1, 0, 1]
    assert rows == [{"text": "a", "n": {"k": [1]}}, {}, {"text": "b", "m": 2}]


def test_standard_input_and_output_carry_lines(encoder):
    result = encode("-", "-o", "-", input="a b\n\nc\n")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(row["text"], row["embedding"][0]) for row in rows] == [("a b", 3), ("", 0), ("c", 1)]
    assert "standard output: 3 rows" in result.stderr
    result = encode("-", "-o", "-", "--format", "jsonl", input='{"text": "a b", "id": 1}\n')
    assert json.loads(result.stdout)["id"] == 1


def test_blocks_bound_the_rows_held_at_once(tmp_path, encoder):
    (tmp_path / "x.txt").write_text("".join(f"{n}\n" for n in range(20_000)))
    encode(tmp_path / "x.txt", "-o", tmp_path / "out.npy")
    assert [call["rows"] for call in encoder.calls] == [8192, 8192, 3616]
    assert np.load(tmp_path / "out.npy").shape == (20_000, 6)
    (tmp_path / "x.txt").write_text(f"{'a' * 6_000_000}\n" * 4)
    encoder.calls.clear()
    encode(tmp_path / "x.txt", "-o", tmp_path / "out.npy", "--overwrite")
    assert [call["rows"] for call in encoder.calls] == [3, 1]


def test_mistakes_are_told_before_the_model_is_loaded(tmp_path, lines, monkeypatch):
    monkeypatch.setattr(
        textcl.cli.encode, "load_encoder", lambda model, backend: pytest.fail("loaded")
    )
    out = tmp_path / "out.npy"
    (tmp_path / "there.npy").write_text("old")
    (tmp_path / "header.csv").write_text("text\n")
    (tmp_path / "torn.jsonl").write_text('{"text"')
    for arguments, match in (
        ((tmp_path / "y.txt", "-o", out), r"no file or folder .*y\.txt; did you mean x\.txt"),
        ((lines, "-o", tmp_path / "there.npy"), r"there\.npy exists already; say --overwrite"),
        ((lines, "-o", tmp_path / "out.bin"), r"must end in \.npy"),
        ((lines, "-o", out, "--column", "text=body"), "no column 'body' for the role text"),
        ((lines, "-o", out, "--column", "body"), "expected --column text=NAME, got 'body'"),
        ((lines, "-o", out, "--column", "label=b"), "expected --column text=NAME"),
        ((lines, "-o", out, "--format", "csv"), "can be chosen for standard input only"),
        ((tmp_path / "header.csv", "-o", out), r"header\.csv: no row to encode"),
        ((tmp_path / "torn.jsonl", "-o", out), r"torn\.jsonl:1: expected one JSON object"),
    ):
        with pytest.raises(UserError, match=match):
            encode(*arguments)
    with pytest.raises(UserError, match="standard input: no row to encode"):
        encode("-", "-o", "-", input="")
    assert not out.exists()


def test_failures_on_the_way_leave_nothing(tmp_path, encoder, monkeypatch):
    (tmp_path / "x.jsonl").write_text('{"text": "a"}\n' * 9000 + '{"text": 1}\n')
    out = tmp_path / "out" / "x.npy"
    out.parent.mkdir()
    with pytest.raises(UserError, match=r"x\.jsonl:9001, column text: expected a text, got 1"):
        encode(tmp_path / "x.jsonl", "-o", out)
    with pytest.raises(UserError, match=r"expected 1 to 6 dimensions, .* got 7"):
        encode(tmp_path / "x.jsonl", "-o", out, "--truncate-dim", 7)
    fill_disk(monkeypatch, after=1000)
    with pytest.raises(RunError, match="the disk is full"):
        encode(tmp_path / "x.jsonl", "-o", out, "--limit", 5000)
    assert list(out.parent.iterdir()) == []


def test_a_reader_that_has_seen_enough_ends_the_command(tmp_path):
    script = (
        "import sys, typer, textcl.cli.encode as command\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from stub_encoder import StubEncoder\n"
        "command.load_encoder = lambda model, backend: StubEncoder()\n"
        "typer.run(command.encode_command)\n"
    )
    (tmp_path / "x.txt").write_text("a b c\n" * 30_000)
    with subprocess.Popen(
        [sys.executable, "-c", script, "model", str(tmp_path / "x.txt"), "-o", "-"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert json.loads(process.stdout.readline())["text"] == "a b c"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_the_help_shows_examples():
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
    assert "textcl encode RUN sentences.txt -o vectors.npy" in result.output
    for option in ("--truncate-dim", "--no-normalize", "--column", "--overwrite", "--limit"):
        assert option in result.output


def test_the_progress_is_shown_in_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    stream = Terminal()
    log = Console(file=stream, force_terminal=True)
    with progress("encoding", "sentences", console=log) as advance:
        advance(1200)
        advance(34)
        time.sleep(0.3)
    assert "encoding: 1,234 sentences" in stream.getvalue()
    assert "sentences/s" in stream.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["npy", "parquet", "safetensors", "jsonl"])
def test_memory_stays_flat(tmp_path, name):
    """Peak memory for a million rows is within 600 MB of that for ten thousand."""
    script = (
        "import sys, resource, typer, textcl.cli.encode as command\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from stub_encoder import StubEncoder\n"
        "StubEncoder.dimension = 384\n"
        "command.load_encoder = lambda model, backend: StubEncoder()\n"
        "sys.argv[1:] = ['model', *sys.argv[1:]]\n"
        "typer.run(command.encode_command)\n"
    )
    peaks = {}
    for rows in (10_000, 1_000_000 if name != "jsonl" else 200_000):
        with (tmp_path / "x.txt").open("w") as file:
            file.writelines(f"this is the short sentence number {n}\n" for n in range(rows))
        command = [sys.executable, "-c", script, tmp_path / "x.txt", "-o", tmp_path / f"y.{name}"]
        with subprocess.Popen([*command, "--overwrite"]) as process:
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        peaks[rows] = used.ru_maxrss / 1024
    small, large = peaks.values()
    assert large - small < 600, peaks


@pytest.fixture
def folder_encoder(encoder, monkeypatch):
    monkeypatch.setattr("textcl.encoder.hub.find_model", Path)
    monkeypatch.setattr("textcl.encoder.folder_hash.model_sha256", lambda folder: "f" * 64)
    return encoder


def test_a_folder_is_written_in_shards_and_continued(tmp_path, lines, folder_encoder):
    options = ("-o", f"{tmp_path}/v/", "--shard-rows", 2)
    result = encode(lines, *options, "--shard", "1/2")
    assert result.exit_code == 0, result.output
    assert "3 rows in 2 shards" in result.stderr
    result = encode(lines, *options, "--shard", "2/2")
    assert "2 rows in 1 shard; 1 blank" in result.stderr
    shards = [np.load(tmp_path / "v" / f"00000{n}.npy") for n in range(3)]
    np.testing.assert_array_equal(np.concatenate(shards), EXPECTED)
    calls = len(folder_encoder.calls)
    result = encode(lines, *options)
    assert "5 rows in 3 shards; 2 blank" in result.stderr
    assert "all of them were finished before" in result.stderr
    assert len(folder_encoder.calls) == calls


def test_a_finished_folder_is_known_without_torch(tmp_path, lines, encoder):
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    arguments = ["encode", str(model), str(lines), "-o", f"{tmp_path}/v/", "--shard-rows", "2"]
    assert CliRunner().invoke(textcl.cli.app.app, arguments).exit_code == 0
    # the modules are asked for at exit, which `main` ends in
    script = (
        "import atexit, sys, textcl.cli\n"
        "atexit.register(lambda: print(*sys.modules))\n"
        "textcl.cli.main()\n"
    )
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "all of them were finished before" in done.stderr
    assert not {"torch", "transformers", "datasets"} & set(done.stdout.split())


def test_standard_input_cannot_become_shards(tmp_path, folder_encoder):
    with pytest.raises(UserError, match="cannot be read a second time"):
        encode("-", "-o", f"{tmp_path}/v/", input="a\n")
    with pytest.raises(UserError, match="is a file: end it in /"):
        encode("-", "-o", "x.npy", "--shard", "1/2", input="a\n")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_finishes_the_shard(monkeypatch, tmp_path, lines, folder_encoder, number):
    ordinary = folder_encoder.encode

    def signalled(texts, **options):
        deliver(number)
        return ordinary(texts, **options)

    monkeypatch.setattr(folder_encoder, "encode", signalled)
    with pytest.raises(StoppedError, match=r"2 rows in 1 shard of .* the same command") as stopped:
        encode(lines, "-o", f"{tmp_path}/v/", "--shard-rows", 2)
    assert stopped.value.signal_number == number
    monkeypatch.setattr(folder_encoder, "encode", ordinary)
    result = encode(lines, "-o", f"{tmp_path}/v/", "--shard-rows", 2)
    assert "5 rows in 3 shards" in result.stderr


def test_a_log_gets_a_line_of_progress_now_and_then(monkeypatch):
    monkeypatch.setattr("textcl.progress.EVERY_SECONDS", 0.0)
    stream = io.StringIO()
    with progress("encoding", "texts", total=4000, console=Console(file=stream)) as advance:
        advance(1000)
        advance(1000)
    assert stream.getvalue().splitlines()[1].startswith("encoding: 2,000/4,000 texts, ")
    assert "under a minute left" in stream.getvalue()


def test_two_jobs_do_not_make_one_file(tmp_path, lines, encoder):
    with (
        sole_writer_of(tmp_path / "out.npy"),
        pytest.raises(UserError, match=r"out\.npy is being written by process"),
    ):
        encode(lines, "-o", tmp_path / "out.npy")
    assert not (tmp_path / "out.npy").exists()
