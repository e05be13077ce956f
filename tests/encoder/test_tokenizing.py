"""Token ids straight from the library `tokenizers` are those that transformers gives."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from families import FAMILIES, tiny_tokenizer

from textcl.encoder import tokenizing
from textcl.encoder.reader import Reader
from textcl.encoder.tokenizing import tokenize
from textcl.types import Tokens

TEXTS = [
    "a dog runs",
    "",
    "   ",
    "The man, who plays GUITAR in the street of the city!",
    "Zwölf 你好 \u200b\t\n x\x00y",
    "[SEP] </s> [MASK] two",
    "word " * 100,
]


def by_transformers(tokenizer, texts, length):
    rows = tokenizer(list(texts), truncation=True, max_length=length, verbose=False)["input_ids"]
    return Tokens.from_lists(rows)


def assert_equal(ours: Tokens, theirs: Tokens):
    assert ours.lengths.tolist() == theirs.lengths.tolist()
    assert ours.ids.tolist() == theirs.ids.tolist()


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("length", [4, 9, 512])
def test_ids_are_those_of_transformers(family, length, monkeypatch):
    monkeypatch.setattr(tokenizing, "_AT_ONCE", 3)
    tokenizer = tiny_tokenizer(family)
    assert_equal(tokenize(tokenizer, TEXTS, length), by_transformers(tokenizer, TEXTS, length))


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("split", [False, True])
def test_settings_of_the_tokenizer_are_heeded(side, split):
    tokenizer = tiny_tokenizer()
    tokenizer.truncation_side, tokenizer.split_special_tokens = side, split
    tokenizer(["padded", "before"], padding="max_length", max_length=16, truncation=True)
    assert_equal(tokenize(tokenizer, TEXTS, 7), by_transformers(tiny_like(tokenizer), TEXTS, 7))


def tiny_like(tokenizer):
    fresh = tiny_tokenizer()
    fresh.truncation_side = tokenizer.truncation_side
    fresh.split_special_tokens = tokenizer.split_special_tokens
    return fresh


def test_a_prompt_is_read_with_the_text():
    tokenizer = tiny_tokenizer()
    prompted = [f"query: {text}" for text in TEXTS]
    read = Reader(tokenizer, 8, "query: ")
    assert_equal(read(TEXTS), by_transformers(tokenizer, prompted, 8))


def test_a_class_that_changes_the_way_to_ids_is_asked_itself():
    class Shouting(type(tiny_tokenizer())):
        def __call__(self, texts, **options):
            return super().__call__([text + " a" for text in texts], **options)

    plain = tiny_tokenizer()
    shouting = Shouting(tokenizer_object=plain.backend_tokenizer, model_max_length=64)
    assert tokenize(shouting, ["dog"], 64).lengths.tolist() == [4]


@pytest.mark.parametrize("plain", [True, False])
def test_two_threads_cut_their_texts_each_to_its_own_length(plain, monkeypatch):
    tokenizer = tiny_tokenizer("bert")
    name = "set_truncation_and_padding"
    sets = getattr(type(tokenizer), name)

    def set_slowly(*args, **kwargs):
        sets(*args, **kwargs)
        time.sleep(0.01)  # the other thread's turn

    monkeypatch.setattr(type(tokenizer), name, set_slowly)
    monkeypatch.setattr(tokenizing, "_is_plain", lambda _: plain)
    text = "the cat sat on the mat " * 9

    def lengths(length):
        return {int(tokenize(tokenizer, [text], length).lengths) for _ in range(5)}

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lengths, [8, 16])) == [{8}, {16}]
