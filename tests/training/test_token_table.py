"""Tokens on disk are those that the tokenizer makes, and are made once."""

from __future__ import annotations

from dataclasses import replace

import families
import numpy as np
import pytest
import torch

from textcl.data.rows import load_rows
from textcl.distributed import ALONE
from textcl.encoder import reader
from textcl.encoder.fingerprint import tokenizer_fingerprint
from textcl.encoder.reader import Reader
from textcl.encoder.tokenizing import tokenize
from textcl.training import token_table
from textcl.training.loader import Collate, Loader
from textcl.training.samplers import ShuffledBatches
from textcl.training.token_table import cached_tokens
from textcl.types import Tokens
from textcl.views.view import ListView, View

TEXTS = ["a cat", "two dogs run in the park and never stop", "zwölf 12", "a cat", "ok " * 50]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr("textcl.data.cache.datasets_config.HF_DATASETS_CACHE", tmp_path)
    return tmp_path / "textcl"


def rows_of(texts):
    return load_rows(texts, roles=("text",))


def refuse(*_):
    raise AssertionError("texts were tokenised again")


@pytest.mark.parametrize("family", ["bert", "roberta", "modernbert"])
def test_rows_are_what_the_tokenizer_makes(family, monkeypatch):
    monkeypatch.setattr(token_table, "_BLOCK", 2)
    tokenizer = families.tiny_tokenizer(family)
    table = cached_tokens(rows_of(TEXTS), "text", Reader(tokenizer, 12))
    assert len(table) == len(TEXTS)
    for numbers in ([0, 1, 2, 3, 4], [4, 1, 1], [2]):
        ours = table.take(np.array(numbers))
        theirs = tokenize(tokenizer, [TEXTS[i] for i in numbers], 12)
        assert torch.equal(ours.ids, theirs.ids)
        assert torch.equal(ours.lengths, theirs.lengths)


def test_tokens_are_made_once_and_told(monkeypatch):
    told, tokenizer, rows = [], families.tiny_tokenizer("bert"), rows_of(TEXTS)
    first = cached_tokens(rows, "text", Reader(tokenizer, 12), told.append)
    assert len(told) == 1
    assert "5 texts (role text);" in told[0]
    tokenizer(["another"], truncation=True, max_length=3)  # leaves its settings in the tokenizer
    monkeypatch.setattr(reader, "tokenize", refuse)
    again = cached_tokens(rows, "text", Reader(tokenizer, 12), told.append)
    assert len(told) == 1
    assert np.array_equal(first.ids, again.ids)


def test_another_length_text_or_tokenizer_makes_other_tokens(monkeypatch):
    tokenizer = families.tiny_tokenizer("bert")
    cached_tokens(rows_of(TEXTS), "text", Reader(tokenizer, 12))
    monkeypatch.setattr(reader, "tokenize", refuse)
    for rows, other, length in (
        (rows_of(TEXTS), tokenizer, 13),
        (rows_of([*TEXTS[:-1], "new"]), tokenizer, 12),
        (rows_of(["a catt", "wo dogs", *TEXTS[2:]]), tokenizer, 12),
        (rows_of(TEXTS), families.tiny_tokenizer("roberta"), 12),
    ):
        with pytest.raises(AssertionError, match="tokenised again"):
            cached_tokens(rows, "text", Reader(other, length))


def test_a_new_token_changes_the_fingerprint():
    tokenizer = families.tiny_tokenizer("bert")
    before = tokenizer_fingerprint(tokenizer)
    tokenizer.add_tokens(["zwölf"])
    assert before != tokenizer_fingerprint(tokenizer)


def test_texts_without_tokens_are_rows_without_tokens(monkeypatch):
    def nothing(_, texts, __):
        return Tokens.from_lists([[] for _ in texts])

    monkeypatch.setattr(reader, "tokenize", nothing)
    table = cached_tokens(rows_of(TEXTS), "text", Reader(families.tiny_tokenizer("bert"), 12))
    assert table.take(np.array([1, 4])).lengths.tolist() == [0, 0]


def test_what_a_kill_left_behind_is_made_anew(cache):
    tokenizer, rows = families.tiny_tokenizer("bert"), rows_of(TEXTS)
    whole = cached_tokens(rows, "text", Reader(tokenizer, 12)).ids.tolist()
    next(cache.glob("*.offsets.npy")).unlink()
    next(cache.glob("*.ids")).write_bytes(b"half")
    assert cached_tokens(rows, "text", Reader(tokenizer, 12)).ids.tolist() == whole


def test_only_texts_that_nothing_changes_come_from_the_table():
    tokenizer, rows = families.tiny_tokenizer("bert"), rows_of(TEXTS)
    table = cached_tokens(rows, "text", Reader(tokenizer, 12))
    shown = []

    def watched(texts):
        shown.append(list(texts))
        return tokenize(tokenizer, texts, 12)

    views = {
        "anchor": View("text"),
        "positive": View("text", (lambda text, rng: text + " dogs",)),
    }
    collate = Collate(views, dict.fromkeys(views, watched), seed=0, tables={"anchor": table})
    index = np.array([3, 1])
    batch = collate(rows[index.tolist()], index, 0)
    assert shown == [[f"{TEXTS[3]} dogs", f"{TEXTS[1]} dogs"]]
    assert torch.equal(
        batch.tokens["anchor"].ids, tokenize(tokenizer, [TEXTS[3], TEXTS[1]], 12).ids
    )


LISTS = [["a cat", "two dogs"], [], ["ok " * 50, "a cat", "zwölf 12"], ["a dog"]]


def rows_of_lists():
    rows = [
        {"anchor": f"row {n}", "positives": own or ["one"], "negatives": own}
        for n, own in enumerate(LISTS)
    ]
    return load_rows(rows, roles=("anchor", "positives", "negatives"))


def test_texts_of_lists_are_tokenised_once_and_the_batches_are_the_same(monkeypatch):
    monkeypatch.setattr(token_table, "_BLOCK", 2)
    rows, tokenizer, lines = rows_of_lists(), families.tiny_tokenizer("bert"), []
    views = {
        "anchor": View("anchor"),
        "positive": ListView("positives"),
        **{f"negative_{place}": ListView("negatives", place=place) for place in range(3)},
        "changed": ListView("negatives", (lambda text, rng: text + " dogs",), place=0),
    }
    reads = dict.fromkeys(views, Reader(tokenizer, 12))
    plain = Loader(rows, ShuffledBatches(len(rows), 2, 0), Collate(views, reads, seed=3), ALONE)
    kept = plain.with_tokens(reads, lines.append)
    assert sorted(kept.collate.tables) == sorted(set(views) - {"changed"})
    names = [line.partition(";")[0].removeprefix("tokenising ") for line in lines]
    roles = ["4 texts (role anchor)", "6 texts (role negatives)", "7 texts (role positives)"]
    assert names == roles
    for epoch in range(6):
        for number in range(2):
            theirs, ours = plain.batch(epoch, number), kept.batch(epoch, number)
            for name in views:
                assert torch.equal(ours.tokens[name].ids, theirs.tokens[name].ids)
                assert torch.equal(ours.tokens[name].lengths, theirs.tokens[name].lengths)
    monkeypatch.setattr(reader, "tokenize", refuse)
    views.pop("changed")
    without = replace(plain, collate=replace(plain.collate, views=views))
    again = without.with_tokens(reads, lines.append)
    assert len(again.batch(0, 1).tokens) == 5
    assert len(lines) == 3


@pytest.mark.parametrize("ending", ["ids", "offsets.npy"])
@pytest.mark.parametrize("damage", [b"", b"cut", None])
def test_damaged_tokens_are_made_anew(cache, ending, damage):
    reader = Reader(families.tiny_tokenizer("bert"), 12)
    whole = cached_tokens(rows_of(TEXTS), "text", reader)
    (path,) = cache.glob(f"*.{ending}")
    content = path.read_bytes()[:-4] if damage is None else damage
    path.unlink()  # it is mapped into memory
    path.write_bytes(content)
    again = cached_tokens(rows_of(TEXTS), "text", reader)
    everything = np.arange(len(TEXTS))
    assert torch.equal(again.take(everything).ids, whole.take(everything).ids)
