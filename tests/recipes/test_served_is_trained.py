"""What is trained is what is served: the tokens of training are those that `encode` of the saved folder makes."""

from __future__ import annotations

import io
import json
import random

import pytest
from families import tiny_encoder
from rich.console import Console
from training_runs import last_of_each

from textcl import Encoder
from textcl.encoder.folder_reading import read_description
from textcl.encoder.static import UNCUT
from textcl.errors import UserError
from textcl.training import loop, recipes
from textcl.training.loader import Loader
from textcl.training.session import train

WORDS = "man woman dog cat child play run eat ball food".split()  # noqa: SIM905
VALUES = {
    "score": lambda draw: round(draw.uniform(0, 5), 1),
    "label": lambda draw: draw.choice("ab"),
    "scores": lambda draw: [draw.uniform(0, 5), draw.uniform(0, 5)],
    "vector": lambda draw: [draw.gauss(0, 1) for _ in range(6)],
}
SETTINGS = ["batch_size=8", "steps=2", "max_length=16", "log_every=1", "num_layers=1"]
PROMPTS = {"query": "find the food : ", "document": "read : "}


def sentence(draw):
    return " ".join(draw.choices(WORDS, k=draw.randint(2, 9)))


@pytest.fixture(scope="module")
def start(tmp_path_factory):
    """A start model of sentence-transformers with a prompt and a pooling of its own."""
    folder = tmp_path_factory.mktemp("start") / "model"
    encoder = tiny_encoder(
        layers=3, pooling="mean", max_length=40, prompts=PROMPTS, default_prompt="query"
    )
    encoder.save_pretrained(folder)
    return folder


def run(name, start, tmp_path, *settings):
    """Train two updates; returns the texts of each column, the tokens of each view, the method and what was shown."""
    found = recipes.find(name)
    roles = [role.split("|")[0] for role in found.roles]
    if hasattr(found.settings(), "compare_folds"):
        settings = ("compare_folds=0", *settings)
    draw = random.Random(0)
    rows = [{role: VALUES.get(role, sentence)(draw) for role in roles} for _ in range(16)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    seen, original, batches = [], loop.run, Loader.batches

    def watched(method, *args, **kwargs):
        def spied(loader, epoch, start=0):
            for batch in batches(loader, epoch, start):
                seen.append((method, batch))
                yield batch

        patch.setattr(Loader, "batches", spied)
        return original(method, *args, **kwargs)

    console = Console(file=io.StringIO(), width=400)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textcl.training.session.run_loop", watched)
        train(
            name, model=str(start), data=str(tmp_path / "rows.jsonl"), dev="", output=tmp_path / "run",
            settings=last_of_each([*SETTINGS, *settings]), console=console,
        )  # fmt: skip
    return rows, seen, console.file.getvalue()


def text_of(row, view):
    """The text of a row that a view shows; a single negative is read as a list of one."""
    return row[view.column] if view.column in row else row[view.column.removesuffix("s")]


@pytest.mark.parametrize("prompt", [None, "", "document"])
@pytest.mark.parametrize("name", recipes.names())
def test_tokens_of_training_are_those_of_encode(name, prompt, start, tmp_path):
    if prompt is not None and name not in ("unsup-simcse", "cross-entropy", "pairs"):
        pytest.skip("the same for all: three stand for them")
    settings = [] if prompt is None else [f"prompt={prompt}"]
    rows, seen, shown = run(name, start, tmp_path, *settings)
    saved = Encoder.from_pretrained(tmp_path / "run/best")
    static = name == "static"  # a model of its own, which learns from the start model
    assert saved.max_length == (UNCUT if static else 40)  # and not what training cut to
    text = "" if static or prompt == "" else PROMPTS[prompt or "query"]
    assert saved.reader().prompt == text
    roles = {view.prompt for view in seen[0][0].views.values()} - {None}
    for role in roles or {None}:
        where = "" if roles else "every text"
        shown_text = saved.reader(prompt=role).prompt
        assert (f"{shown_text!r} in front of {where}" if shown_text else "prompt    none") in shown
    compared = 0
    for method, batch in seen:
        for view, tokens in batch.tokens.items():
            column = method.views[view]
            if column.augmentations or column.changes or view in method.read_by:
                continue
            read = saved.reader(prompt=column.prompt, max_length=column.max_length or 16)
            expected = read([text_of(rows[index], column) for index in batch.rows.tolist()])
            assert tokens.ids.tolist() == expected.ids.tolist()
            compared += 1
    views = seen[0][0].views.values()
    assert compared or all(view.augmentations or view.changes for view in views)


FAST = ("cross-entropy", "moco", "pairs", "unsup-simcse")


@pytest.mark.parametrize(
    "name",
    [
        name if name in FAST else pytest.param(name, marks=pytest.mark.slow)
        for name in recipes.names()
    ],
)
def test_pooling_is_that_of_the_start_model(name, start, tmp_path):
    _, _, shown = run(name, start, tmp_path, "steps=1")
    assert read_description(tmp_path / "run/best").pooling == "mean"
    assert "changed" not in shown


def test_changed_pooling_and_reading_length_are_shown(start, tmp_path):
    _, _, shown = run("unsup-simcse", start, tmp_path, "pooling=cls", "reading_length=20")
    assert (
        "pooling cls (changed: the start model has mean) with a fresh layer behind it, which is left out"
        in shown
    )
    assert "the saved model reads 20 tokens" in shown
    saved = Encoder.from_pretrained(tmp_path / "run/best")
    assert (saved.pooling, saved.max_length) == ("cls", 20)


def test_unknown_prompt_is_told_before_training(start, tmp_path):
    with pytest.raises(UserError, match="no prompt 'quary'; it knows 'query', 'document'"):
        run("unsup-simcse", start, tmp_path, "prompt=quary")


def test_teacher_of_a_distillation_is_used_as_its_encode(start, tmp_path):
    teacher = tiny_encoder(layers=3, normalize=True, prompts=PROMPTS, default_prompt="document")
    teacher.save_pretrained(tmp_path / "teacher")
    _, seen, shown = run(
        "distill", start, tmp_path, f"teacher={tmp_path / 'teacher'}", "num_layers=1"
    )
    method, batch = seen[0]
    rows = method.encoders["teacher"](batch.tokens["anchor"])
    assert rows.norm(dim=1).tolist() == pytest.approx([1.0] * 8, abs=1e-5)
    assert "'read : ' in front of every text" in shown
    assert Encoder.from_pretrained(tmp_path / "run/best").reader().prompt == "read : "


@pytest.mark.parametrize(("pooling", "told"), [("first_token", True), ("cls_pooler", False)])
def test_end_of_run_says_which_library_opens_the_folder(pooling, told, start, tmp_path):
    _, _, shown = run("unsup-simcse", start, tmp_path, f"pooling={pooling}", "steps=1")
    line = "sentence-transformers has no pooling 'first_token'"
    assert (line in shown) == told


@pytest.mark.parametrize(
    ("name", "settings", "served"),
    [
        ("pairs", [], "cosine"),
        ("unsup-simcse", [], "cosine"),
        ("triplets", [], "dot"),  # distances of rows as they are: neither measure is trained
        ("triplets", ["distance=cosine"], "cosine"),
        ("distill-scores", [], "dot"),
    ],
)
def test_the_saved_model_compares_by_what_was_trained(name, settings, served, tmp_path, caplog):
    tiny_encoder(layers=1, similarity_name="dot").save_pretrained(tmp_path / "start")
    run(name, tmp_path / "start", tmp_path, *settings)
    assert Encoder.from_pretrained(tmp_path / "run/best").similarity_name == served
    warned = f"compares by dot and recipe {name} trains cosines: the saved model compares by cosine"
    assert (warned in caplog.text) == (served == "cosine")
