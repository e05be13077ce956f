import pickle
import random
import sys
from collections import Counter

import pytest
from stub_wordnet import use_stub_wordnet, write_lexicon

from textcl.errors import UserError
from textcl.views import synonyms
from textcl.views.synonyms import (
    Synonyms,
    WnLexicon,
    match_case,
    open_lexicon,
    replace_spans,
)


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    """Lexicons are kept open; a test must not meet those of another."""
    monkeypatch.delenv("TEXTCL_WORDNET", raising=False)
    for cached in (synonyms._wordnet, synonyms._synonyms):
        cached.cache_clear()
    yield
    for cached in (synonyms._wordnet, synonyms._synonyms):
        cached.cache_clear()


def test_a_lexicon_gives_the_words_of_all_meanings_once(monkeypatch):
    use_stub_wordnet(monkeypatch)
    lexicon = open_lexicon()
    assert lexicon == WnLexicon("oewn:2024")
    dog = ("Canis familiaris", "cad", "dog", "domestic dog", "hound")
    assert lexicon.synonyms("dog") == dog
    assert lexicon.synonyms("unheard-of") == ()
    assert set(draw(Synonyms(lexicon), "large", 40)) == {"big", "great in size"}
    assert pickle.loads(pickle.dumps(lexicon)).synonyms("full") == ("full", "good")


def test_the_environment_names_the_lexicon(monkeypatch):
    use_stub_wordnet(monkeypatch, "tiny:1")
    monkeypatch.setenv("TEXTCL_WORDNET", "tiny:1")
    assert Synonyms().lexicon == WnLexicon("tiny:1")


def test_a_lexicon_that_is_not_installed_is_refused_with_those_that_are(monkeypatch):
    use_stub_wordnet(monkeypatch, "tiny:1")
    with pytest.raises(UserError, match=r"'oewn:2024': run python -m wn download .*\(tiny:1\)"):
        open_lexicon()


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "wn", None)
    with pytest.raises(
        UserError, match=r"pip install .*textcl-train\[wordnet\].* wn download oewn"
    ):
        open_lexicon()


def test_the_library_itself_reads_a_lexicon(tmp_path, monkeypatch):
    wn = pytest.importorskip("wn")
    monkeypatch.setattr(wn.config, "data_directory", tmp_path / "data")
    wn.add(write_lexicon(tmp_path / "tiny.xml"), progress_handler=None)
    lexicon = open_lexicon("tiny:1")
    assert lexicon.synonyms("large") == ("big", "great in size", "large")
    assert lexicon.synonyms("dogs") == lexicon.synonyms("dog")
    assert "hound" in lexicon.synonyms("dog")
    with pytest.raises(UserError, match=r"no lexicon 'other:2'.*\(tiny:1\)"):
        open_lexicon("other:2")


# The augmentation


FEW = {"big": ["Big", "large"], "dog": ["domestic_dog", "hound"], "men": ["work-force"]}


class Fixed:
    """A lexicon of a few words."""

    def synonyms(self, word):
        return FEW.get(word.lower(), [])


class Unlimited:
    """A lexicon that knows every word."""

    def synonyms(self, word):
        return ["x"]


def draw(augmentation, text, count):
    rng = random.Random(0)
    return [augmentation(text, rng) for _ in range(count)]


def test_synonyms_keep_case_punctuation_and_spacing():
    text = "The  BIG dog,\nMen!"
    results = set(draw(Synonyms(Fixed(), rate=1), text, 50))
    assert results == {
        "The  LARGE domestic dog,\nWork force!",
        "The  LARGE hound,\nWork force!",
    }


def test_synonyms_are_drawn_uniformly():
    counts = Counter(draw(Synonyms(Fixed()), "dog", 2000))
    assert set(counts) == {"hound", "domestic dog"}
    assert abs(counts["hound"] - 1000) < 5 * 500**0.5


@pytest.mark.parametrize(
    ("rate", "least", "most", "changes"),
    [(0.3, 1, 10, 4), (0.3, 1, 2, 2), (0.0, 1, 10, 1), (0.5, 8, 9, 8), (1.0, 1, 20, 8)],
)
def test_synonyms_count_punctuation_as_tokens(rate, least, most, changes):
    text = "dog, dog, dog, dog, dog, dog, dog, dog"  # 8 words, 15 tokens
    for result in draw(Synonyms(Fixed(), rate, least, most), text, 20):
        assert sum(word != "dog" for word in result.split(", ")) == changes


def test_synonyms_try_again_if_nothing_changed():
    text = (
        "dog xxx xxx xxx"  # one word of four can change; four tries reach it in 1 - (3/4)^4 = 68 %
    )
    changed = sum(result != text for result in draw(Synonyms(Fixed()), text, 1000))
    assert 620 < changed < 750


def test_synonyms_leave_determiners_alone():
    everything = Synonyms(Unlimited(), rate=1)
    assert everything("The dog saw that, no?", random.Random(0)) == "The x x that, no?"


@pytest.mark.parametrize("text", ["", " ", "?!", "the", "日本語", "👩‍👩‍👧", "e\u0301te\u0301 is"])
def test_synonyms_leave_texts_without_known_words_alone(text):
    assert Synonyms(Fixed())(text, random.Random(0)) == text


def test_synonyms_take_accents_and_contractions_as_parts_of_a_word():
    changed = Synonyms(Unlimited(), rate=1)
    assert changed("e\u0301te\u0301 don't well-known", random.Random(0)) == "x x x"


def test_synonyms_reject_impossible_numbers():
    with pytest.raises(UserError, match=r"not rate 0\.3, least 5, most 2"):
        Synonyms(Fixed(), least=5, most=2)


def test_replace_spans_is_exact():
    assert replace_spans("abcdef", {(4, 6): "Y", (0, 1): "XX"}) == "XXbcdY"
    assert replace_spans("abc", {}) == "abc"


def test_match_case_copies_the_pattern():
    assert match_case("ab cd", "XY") == "AB CD"
    assert match_case("ab cd", "Xy") == "Ab cd"
    assert match_case("ab cd", "X") == "Ab cd"
    assert match_case("ab cd", "xY") == "ab cd"
