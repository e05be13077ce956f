"""`textcl review`: suspected labels, look-alike classes, conflicts, and the page to read them."""

from __future__ import annotations

import csv

import numpy as np
import pytest
import typer
from families import tiny_model_dir
from labelled import labelled, write_jsonl
from typer.testing import CliRunner

from textcl.cli.review import review_command
from textcl.encoder.encoder import Encoder
from textcl.errors import UserError
from textcl.review.alike import classes_alike, conflicts
from textcl.review.review import JudgedRow, Near, Review, review_labels
from textcl.review.suspects import cross_validated, find_suspects
from textcl.review.write import render_review, write_review

pytest.importorskip("cleanlab", reason="needs the extra `review`")

app = typer.Typer()
app.command("review")(review_command)

NASTY = "<script>alert(1)</script>\"&'{{ 7 * 7 }}"


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return str(tiny_model_dir(tmp_path_factory.mktemp("model"), layers=1))


def bags(texts):
    """Vectors that tell the words of a text, which a tiny encoder does not."""
    words = sorted({word for text in texts for word in text.split()})
    return np.array([[float(word in text.split()) for word in words] for text in texts], np.float32)


@pytest.fixture(scope="module")
def flipped():
    """Rows of which every tenth has a wrong label, and vectors in which the classes lie apart."""
    rows = labelled(120)
    names = sorted({row["label"] for row in rows})
    for row in rows[::10]:
        row["label"] = names[names.index(row["label"]) - 1]
    return [row["text"] for row in rows], [row["label"] for row in rows]


def test_flipped_labels_come_first_with_the_true_class_as_suggestion(flipped):
    texts, labels = flipped
    review = review_labels(bags(texts), texts, labels, shown=12)
    truth = [row["label"] for row in labelled(120)]
    first = review.rows[:12]
    assert sum((row.row - 1) % 10 == 0 for row in first) >= 11
    assert all(row.suspected for row in first[:10])
    assert sum(row.suggested == truth[row.row - 1] for row in first) >= 11
    assert sorted(row.row for row in review.rows) == list(range(1, 121))
    flags = [row.suspected for row in review.rows]
    assert flags == sorted(flags, reverse=True)
    assert review.suspected == sum(flags)
    assert len(review.neighbours) == 12
    for row, near in zip(review.rows, review.neighbours, strict=False):
        assert row.row not in {each.row for each in near}
        cosines = [each.cosine for each in near]
        assert cosines == sorted(cosines, reverse=True)
        assert [each.text for each in near] == [texts[each.row - 1] for each in near]


def test_no_row_is_judged_by_a_model_that_saw_it_or_an_equal_text():
    """Labels drawn by lot can be learnt by heart only: cross-validated, they are guessed."""
    draw = np.random.default_rng(0)
    texts = [f"text {n // 2}" for n in range(160)]  # every text twice
    vectors = np.repeat(draw.normal(size=(80, 100)), 2, axis=0).astype(np.float32)
    labels = np.repeat(draw.integers(0, 2, 80), 2)
    probabilities = cross_validated(vectors, texts, labels, seed=0)
    np.testing.assert_allclose(probabilities.sum(1), 1)
    assert (probabilities.argmax(1) == labels).mean() < 0.7


def test_suspected_rows_come_before_others():
    labels = np.array([0] * 10 + [1] * 10)
    probabilities = np.where(np.eye(2)[labels] == 1, 0.9, 0.1)
    probabilities[3] = [0.05, 0.95]
    suspects = find_suspects(labels, probabilities)
    assert suspects.order[0] == 3
    assert np.flatnonzero(suspects.suspected).tolist() == [3]


def test_classes_alike_and_their_gain_are_those_of_plain_counting():
    draw = np.random.default_rng(1)
    labels = draw.integers(0, 4, 400)
    logits = 4 * np.eye(4)[labels] + draw.normal(size=(400, 4))
    mixed = labels >= 2  # the last two are told apart by chance
    logits[mixed, 2:] = 4 + draw.normal(size=(mixed.sum(), 2))
    p = np.exp(logits)
    p /= p.sum(1, keepdims=True)
    (pair,) = classes_alike(labels, p, ["a", "b", "c", "d"])
    assert {pair.first, pair.second} == {"c", "d"}
    taken = p.argmax(1)
    assert pair.mixed == sum(mixed & (taken >= 2) & (taken != labels))
    assert pair.rows == mixed.sum()
    merged = np.stack([p[:, 0], p[:, 1], p[:, 2] + p[:, 3]], 1).argmax(1)
    before = (taken == labels).mean()
    assert pair.gain == pytest.approx((merged == np.minimum(labels, 2)).mean() - before)
    assert 0.35 < pair.told_apart < 0.65


def test_conflicts_are_equal_texts_with_different_labels():
    texts = ["Good  food", "other", "good food", "other", "GOOD FOOD"]
    (found,) = conflicts(texts, ["a", "c", "b", "c", "b"])
    assert (found.text, dict(found.labels), found.rows) == (
        "Good  food",
        {"b": 2, "a": 1},
        (0, 2, 4),
    )


def test_rows_that_are_the_only_text_of_their_class_are_not_judged(flipped):
    texts, labels = flipped
    more = [*texts, "rare", "Rare"]
    review = review_labels(bags(more), more, [*labels, "once", "once"])
    assert review.unjudged == 2
    assert len(review.rows) == 120
    assert "2 rows not judged" in review.describe()
    with pytest.raises(UserError, match="two classes or more with two distinct texts each, got 1"):
        review_labels(bags(texts), texts, ["a"] * 119 + ["b"])


def test_the_page_escapes_what_is_the_users_and_runs_no_script(tmp_path):
    row = JudgedRow(7, NASTY, NASTY, "b", 0.1, 0.8, True)
    both = conflicts([NASTY] * 2, [NASTY, "b"])
    review = Review([row], [[Near(2, NASTY, "b", 0.5)]], [], both, 0.5, 2, 1)
    page = render_review(review, NASTY, NASTY)
    assert "<script" not in page
    assert "{{ 7 * 7 }}" in page
    assert "script-src 'none'" in page
    assert "http:" not in page
    assert "https:" not in page
    write_review(review, tmp_path / "out", data="d", model="m")
    with (tmp_path / "out" / "rows.csv").open(newline="") as file:
        (written,) = csv.DictReader(file)
    assert (written["row"], written["text"], written["suspected"]) == ("7", NASTY, "True")
    assert (tmp_path / "out" / "alike.csv").read_text().startswith("first,second,rows,mixed")


def test_the_command_writes_a_folder_and_never_replaces_one(encoder, tmp_path):
    data = write_jsonl(tmp_path / "rows.jsonl", labelled(60))
    out = tmp_path / "look"
    result = run(data, "-m", encoder, "-o", out, "--shown", 5)
    assert result.exit_code == 0
    assert "labels suspected" in result.stderr
    names = ["alike.csv", "conflicts.csv", "review.html", "rows.csv"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert (out / "review.html").read_text().count('<article class="card query') == 5
    with (out / "rows.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 60
    with pytest.raises(UserError, match="exists already: name another folder"):
        run(data, "-m", encoder, "-o", out)


def test_mistakes_are_told_before_the_model_is_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(Encoder, "from_pretrained", lambda *_: pytest.fail("loaded"))
    several = write_jsonl(tmp_path / "several.jsonl", labelled(12, several=True))
    for arguments, match in (
        ((several, "-m", "m", "-o", tmp_path / "o"), "several labels a row .* review them one"),
        (
            (several, "-m", "m", "-o", tmp_path / "o", "--column", "labels=labels"),
            "several labels a row",
        ),
        ((tmp_path / "none.csv", "-m", "m", "-o", tmp_path / "o"), "none.csv"),
    ):
        with pytest.raises(UserError, match=match):
            run(*arguments)
    monkeypatch.setitem(__import__("sys").modules, "cleanlab.filter", None)
    with pytest.raises(UserError, match=r"pip install 'textcl-train\[review\]'"):
        run(several, "-m", "m")
