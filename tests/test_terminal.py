"""Texts of a corpus on a terminal: whatever they hold, they are shown and steer nothing."""

import io
import json
import re
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from families import tiny_model_dir
from rich.progress import Progress
from rich.table import Table

import textcl
import textcl.cli
from textcl.cli import search
from textcl.data.json_text import to_json, to_json_line
from textcl.retrieval.search_hits import SearchHit
from textcl.terminal import TextConsole, counted, harmless, reflowed

HOSTILE = "a\x1b[2J\x1b]0;title\x07 \x9b31m\x08\x7f\u202eb\u2028"
SHOWN = "a\ufffd[2J\ufffd]0;title\ufffd \ufffd31m\ufffd\ufffd\ufffdb\ufffd"
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e]")


def test_what_steers_is_replaced_and_what_joins_letters_stays():
    assert harmless(HOSTILE) == SHOWN
    for text in ("می\u200cخواهم", "👩\u200d👧", "tab\tand\nline", "e\u0301", "\ue000"):
        assert harmless(text) == text
    assert harmless("half \ud800") == "half \ufffd"


@pytest.mark.parametrize("terminal", [False, True])
def test_the_console_shows_texts_in_all_it_renders(terminal):
    stream = io.StringIO()
    console = TextConsole(file=stream, width=200, force_terminal=terminal, color_system=None)
    console.print(HOSTILE, markup=False, highlight=False)
    table = Table(HOSTILE)
    table.add_row(HOSTILE)
    console.print(table)
    console.out(HOSTILE)
    if not terminal:
        with Progress(console=console, disable=False) as bar:
            bar.add_task(HOSTILE)
        assert not STEERING.search(stream.getvalue())
    assert "title" in stream.getvalue()
    assert HOSTILE[:6] not in stream.getvalue()


def test_rich_itself_may_steer():
    stream = io.StringIO()
    console = TextConsole(file=stream, force_terminal=True, color_system="standard")
    console.print("[bold]x[/]")
    assert "\x1b[1m" in stream.getvalue()


def test_json_escapes_what_json_dumps_leaves():
    for written in (to_json({"a": HOSTILE}), to_json_line({"a": HOSTILE})):
        assert json.loads(written) == {"a": HOSTILE}
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", written)


def test_no_other_console_is_made():
    """One filter: every console of the package is a `TextConsole`, but for one that nobody sees."""
    package = Path(textcl.__file__).parent
    made = [
        f"{path.relative_to(package)}: {line.strip()}"
        for path in package.rglob("*.py")
        for line in path.read_text().splitlines()
        if re.search(r"(?<!Text)\bConsole\(", line) and "class " not in line
    ]
    assert len(made) == 1, made
    assert "file=io.StringIO()" in made[0]


@pytest.fixture
def command(monkeypatch, capsys):
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["textcl", *map(str, arguments)])
        capsys.readouterr()
        with suppress(SystemExit):
            textcl.cli.main()
        return "".join(capsys.readouterr())

    return run


def test_hits_queries_and_ids_of_a_search(capsys):
    found = [(HOSTILE, [SearchHit(HOSTILE, HOSTILE, 0.5)])]
    search.show(found, as_json=False)
    search.show(found, as_json=True)
    assert not STEERING.search(
        "".join(capsys.readouterr()).replace("\u2028", "").replace("\u202e", "")
    )


def test_the_preview_and_the_errors(command, tmp_path):
    model = tiny_model_dir(tmp_path / "m", layers=1)
    data = tmp_path / "x.jsonl"
    rows = [{"text": f"{HOSTILE} {n}", "label": HOSTILE + "ab"[n % 2]} for n in range(8)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = command(
        "train", "--recipe", "cross-entropy", "--model", model, "--data", data, "--dev", "",
        "--dry-run", "--set", "max_length=16", "--set", "batch_size=4",
    )  # fmt: skip
    assert "example" in shown
    shown += command("train", "--recipe", HOSTILE)
    shown += command("encode", HOSTILE, data, "-o", tmp_path / "v.npy")
    shown += command("eval", model, "--data", data, "--column", f"label={HOSTILE}")
    assert shown.count("textcl: ") == 3
    assert not STEERING.search(shown)


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows"), (2000, "2,000 rows")]
)
def test_a_number_stands_before_its_noun_in_the_right_form(count, words):
    assert counted(count, "row") == words


def test_paragraphs_become_lines_and_tables_stay():
    text = "One.\n\nTwo lines\nof text.\n\n    a  1\n    b  2\n"
    assert reflowed(text) == "One.\n\nTwo lines of text.\n\n    a  1\n    b  2"
