import random

import pytest

from textcl.errors import UserError
from textcl.views.back_translation import BackTranslate, read_paraphrases, write_paraphrases

RNG = random.Random(0)


class Translator:
    """Turns texts around and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, texts):
        self.asked.append(texts)
        return [text[::-1] for text in texts]


def test_back_translate_asks_once_for_a_text():
    translator = Translator()
    augment = BackTranslate(translator)
    assert [augment(text, RNG) for text in ["abc", "de", "abc"]] == ["cba", "ed", "cba"]
    assert translator.asked == [["abc"], ["de"]]
    assert not augment.failures


def test_back_translate_prepares_distinct_texts_in_batches():
    translator = Translator()
    augment = BackTranslate(translator, {"a1": "known"})
    augment.prepare(["a1", "b2", "c3", "b2", " ", "d4"], batch_size=2)
    assert translator.asked == [["b2", "c3"], ["d4"]]
    assert [augment(text, RNG) for text in ["a1", "b2", " ", ""]] == ["known", "2b", " ", ""]
    assert len(translator.asked) == 2


def raises(texts):
    raise ConnectionError("no route")


@pytest.mark.parametrize(
    ("translate", "reason"),
    [
        (raises, "ConnectionError: no route"),
        (lambda texts: [], "0 paraphrases came for 1 texts"),
        (lambda texts: [" "], "the paraphrase is ' '"),
    ],
)
def test_back_translate_failure_leaves_the_text_and_is_counted_once(translate, reason):
    augment = BackTranslate(translate)
    assert [augment("abc", RNG) for _ in range(2)] == ["abc", "abc"]
    assert augment.failures == {"abc": reason}
    assert augment.cache == {}


def test_back_translate_prepare_tries_failed_texts_again():
    answers = iter([[""], ["cba"]])
    augment = BackTranslate(lambda texts: next(answers))
    augment.prepare(["abc"])
    assert "abc" in augment.failures
    augment.prepare(["abc"])
    assert (augment("abc", RNG), dict(augment.failures)) == ("cba", {})


def test_cache_survives_on_disk(tmp_path):
    cache = {"a\nb": "ü", "\u2028": "👩‍👩‍👧"}
    path = tmp_path / "cache.jsonl"
    assert read_paraphrases(path) == {}
    write_paraphrases(path, cache)
    assert read_paraphrases(path) == cache
    assert [file.name for file in tmp_path.iterdir()] == ["cache.jsonl"]


@pytest.mark.parametrize("line", ["not json", '["one"]', '["a", 1]', "7", '{"a": "b", "c": "d"}'])
def test_cache_with_a_broken_line_names_it(tmp_path, line):
    path = tmp_path / "cache.jsonl"
    path.write_text('["a", "b"]\n' + line + "\n")
    with pytest.raises(UserError, match=r"cache\.jsonl:2: expected a JSON list"):
        read_paraphrases(path)
