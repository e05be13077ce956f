"""The small files of a run: what they hold, old ones, and those that were cut off or edited by hand."""

import json
import random

import pytest

from textcl.errors import UserError
from textcl.report.runs import open_run
from textcl.training.facts import RunFacts, Scores
from textcl.training.request import check_same
from textcl.training.run_folder import RunFolder, model_card

SETTINGS = {
    "model": "bert-base-uncased", "data": "a.txt", "dev": "", "batch_size": 8, "seed": 3,
}  # fmt: skip
OLD = {
    "recipe": "unsup-simcse",
    "settings": SETTINGS,
    "columns": {}, "split": None, "limit": None, "deduplicate": False,
    "data": {
        "source": "a.txt", "format": "txt", "rows": 9, "blank": 0, "duplicates": 1, "dropped": 0,
        "sha256": "ab" * 32, "longest": 40, "long_texts": 0,
    },
    "dev": None, "seed": 3, "command": "textcl train", "processes": 1, "device": "cpu", "threads": 1,
    "precision": "no", "versions": {"torch": "2.6"},
}  # fmt: skip
"""settings.json of a run before recipes were hashed."""

SCORES = {
    "finished": True,
    "protocol": "p",
    "seed": 3,
    "before": 50.0,
    "best": 60,
    "best_step": 2,
    "last": 59.5,
}
LINES = [
    {
        "step": 1, "epoch": 0.5, "loss": 2.5, "grad_norm": float("nan"), "rows_per_second": None,
        "scores/positive_histogram": [0, 3, 4], "dimension_std/quantiles": [0.1] * 7, "alarm": ["collapse"],
    },
    {"step": 2, "dev": 60.0, "best": True},
]  # fmt: skip


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps(OLD, indent=1))
    (folder / "scores.json").write_text(json.dumps(SCORES, indent=1))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return RunFolder(folder)


def test_an_old_folder_is_read(run):
    facts = run.facts
    assert (facts.recipe_sha256, facts.roles, facts.common.batch_size) == (None, None, 8)
    assert not facts.classifies
    assert run.scores() == Scores(True, "p", 3, 50.0, 60.0, 2, 59.5)
    assert run.finished
    first, second = run.log_lines()
    assert first.numbers["loss"] == 2.5
    assert first.lists["scores/positive_histogram"] == [0, 3, 4]
    assert "alarm" not in first.lists
    assert second.numbers == {"dev": 60.0}
    assert model_card(facts)["settings"]["batch_size"] == 8


def test_facts_survive_json(run):
    facts = run.facts
    assert RunFacts.from_json(json.loads(json.dumps(facts.to_json())), "x") == facts


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("settings.json", '{"recipe": "a",', r"settings\.json, column \d+: expected JSON"),
        ("settings.json", "[]", r"settings\.json: expected an object, not \[\]"),
        ("settings.json", "{}", r"settings\.json: expected the key 'recipe', which is missing"),
        ("settings.json", "[" * 100_000, r"settings\.json.*expected JSON"),
        ("settings.json", json.dumps({**OLD, "seed": "three"}), r"seed: expected a whole number, not 'three'"),
        (
            "settings.json", json.dumps({**OLD, "settings": {**SETTINGS, "batch_size": True}}),
            r"settings: batch_size: expected a whole number, not true",
        ),
        ("settings.json", json.dumps({**OLD, "data": {"source": "a"}}), r"data: expected the key 'format'"),
        ("scores.json", '{"best": NaN}', r"scores\.json: best: expected a finite number, not NaN"),
        ("scores.json", '{"best": %s}' % ("9" * 400), r"scores\.json: best: expected a finite number"),
        ("metrics.jsonl", '{"step": 1}\n{"loss"\n{"step": 2}\n', r"metrics\.jsonl, line 2, column \d+: expected JSON"),
        ("metrics.jsonl", '{"loss": 1}\n', r"metrics\.jsonl, line 1: step: expected a whole number"),
        ("metrics.jsonl", '{"step": 1, "loss": "low"}\n', r"line 1: loss: expected a number, not 'low'"),
        ("metrics.jsonl", '{"step": 1, "x_histogram": [1, -2]}\n', r"expected counts of at least 0, not -2"),
        ("metrics.jsonl", '{"step": 1, "x/quantiles": [1]}\n', r"expected 7 numbers, not 1"),
    ],
)  # fmt: skip
def test_a_wrong_place_is_named(run, file, content, message):
    (run.path / file).write_text(content)
    with pytest.raises(UserError, match=message):
        open_run(run.path)


def test_a_byte_that_is_no_text_is_named(run):
    (run.path / "scores.json").write_bytes(b'{"protocol": "\xff"}')
    with pytest.raises(
        UserError, match=r"scores\.json, byte 14: expected JSON in UTF-8, found the byte 0xff"
    ):
        run.scores()


def test_a_number_that_is_not_finite_is_null_in_the_log_and_read_as_nothing(run):
    line = {"step": 3, "loss": 2.0, "grad_norm": float("inf"), "std/quantiles": [float("nan")] * 7}
    run.log(line)
    written = (run.path / "metrics.jsonl").read_text().splitlines()[-1]
    assert json.loads(written, parse_constant=pytest.fail)["grad_norm"] is None
    last = run.log_lines()[-1]
    assert (last.step, dict(last.numbers), dict(last.lists)) == (3, {"loss": 2.0}, {})


def test_a_half_written_last_line_does_not_count(run):
    with (run.path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 3, "loss": 1.\xc3')
    assert [line.step for line in run.log_lines()] == [1, 2]


def read(path):
    """Read all that a report reads of a folder; the sentence, if it is refused."""
    try:
        record = open_run(path)
    except UserError as error:
        return str(error)
    assert record.steps >= 0
    record.dev_scores()
    record.series("loss")
    model_card(record.facts)
    return None


@pytest.mark.parametrize("file", ["settings.json", "scores.json", "metrics.jsonl"])
def test_whatever_is_cut_or_edited_is_read_or_told_in_one_sentence(run, file):
    whole, draw = (run.path / file).read_bytes(), random.Random(0)
    values = [b"null", b"-1", b"1e999", b"[]", b"{}", b'"x"', b"\xff", b"]", b"", b"true", b"[[1]]"]
    for _ in range(400):
        content = bytearray(whole)
        for _ in range(draw.choice([1, 1, 2, 5])):
            start = draw.randrange(len(content) + 1)
            end = min(len(content), start + draw.choice([0, 1, 3, 30, 10**6]))
            content[start:end] = draw.choice(values)
        (run.path / file).write_bytes(content)
        refused = read(run.path)
        assert refused is None or (file in refused and "\n" not in refused)


def test_whatever_type_a_key_has_is_read_or_told(run):
    odd = [None, -1, 1.5, "x", [], {}, True, [1], {"a": 1}, 10**400]

    def places(value, path=()):
        for key, item in value.items():
            yield (*path, key)
            if isinstance(item, dict):
                yield from places(item, (*path, key))

    for file, content in (("settings.json", OLD), ("scores.json", SCORES)):
        for place in places(content):
            for value in [*odd, "missing"]:
                changed = json.loads(json.dumps(content))
                inner = changed
                for key in place[:-1]:
                    inner = inner[key]
                if value == "missing":
                    del inner[place[-1]]
                else:
                    inner[place[-1]] = value
                (run.path / file).write_text(json.dumps(changed))
                refused = read(run.path)
                assert refused is None or file in refused
        (run.path / file).write_text(json.dumps(content))


def test_processes_with_different_data_are_refused():
    check_same(["a" * 64, "a" * 64])
    with pytest.raises(UserError, match="aaaaaaaaaaaa in process 0, bbbbbbbbbbbb in process 1"):
        check_same(["a" * 64, "b" * 64])
