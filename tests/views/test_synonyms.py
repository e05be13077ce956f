import pickle
import random
import sys
from collections import Counter
from types import ModuleType, SimpleNamespace

import pytest
from wordnet_files import write_database

from textcl.errors import UserError
from textcl.views import synonyms as wordnet
from textcl.views.synonyms import (
    Synonyms,
    WnLexicon,
    WordNet,
    match_case,
    open_lexicon,
    replace_spans,
)


@pytest.fixture
def lexicon(tmp_path):
    return open_lexicon(write_database(tmp_path))


@pytest.mark.parametrize(
    ("word", "synonyms"),
    [
        ("dog", ["domestic_dog", "Canis_familiaris", "cad", "hound", "chase", "go_after"]),
        ("Domestic dog", ["dog", "Canis_familiaris"]),
        ("dogs", ["dog", "domestic_dog", "Canis_familiaris", "cad", "hound", "chase", "go_after"]),
        ("men", ["man", "adult_male"]),
        ("chasing", ["chase", "dog", "go_after"]),
        ("ran", ["run", "scat"]),
        ("better", ["good", "full"]),
        ("well", ["good"]),
        ("alert", ["awake"]),
        ("play", []),
        ("unheard-of", []),
        ("", []),
    ],
)
def test_wordnet_gives_the_words_of_all_meanings_and_parts_of_speech(lexicon, word, synonyms):
    assert list(lexicon.synonyms(word)) == synonyms


def test_wordnet_travels_to_another_process(lexicon):
    assert pickle.loads(pickle.dumps(lexicon)).synonyms("well") == ("good",)


def test_wordnet_missing_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTCL_WORDNET", str(tmp_path))
    with pytest.raises(
        UserError, match=r"lacks index\.noun, .*wordnet-base, or point TEXTCL_WORDNET"
    ):
        open_lexicon()


def test_wordnet_is_found_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("TEXTCL_WORDNET", str(write_database(tmp_path)))
    assert Synonyms().lexicon == WordNet(tmp_path)


def test_wordnet_of_two_releases_is_rejected(tmp_path):
    write_database(tmp_path)
    data = tmp_path / "data.noun"
    data.write_text("one more line\n" + data.read_text())
    with pytest.raises(UserError, match=r"index\.noun and data\.noun do not fit together at 'dog'"):
        WordNet(tmp_path).synonyms("dog")


# The wn library, of which a stand-in is enough


@pytest.fixture
def wn_library(monkeypatch):
    """Lexicon "tiny:1" knows that big and large, or great in size, are the same."""

    class Error(Exception):
        pass

    class Wordnet:
        def __init__(self, lexicon, lemmatizer=None):
            if lexicon != "tiny:1":
                raise Error("no such lexicon")
            self.lemmatizer = lemmatizer

        def synsets(self, form):
            words = ["big", "large", "great in size"]
            return [SimpleNamespace(lemmas=lambda: words)] * 2 if form in words else []

    library, morphy = ModuleType("wn"), ModuleType("wn.morphy")
    tiny = SimpleNamespace(language="en", specifier=lambda: "tiny:1")
    vars(library).update(Error=Error, Wordnet=Wordnet, lexicons=lambda lexicon=None: [tiny])
    vars(morphy).update(Morphy=lambda: "english")
    monkeypatch.setitem(sys.modules, "wn", library)
    monkeypatch.setitem(sys.modules, "wn.morphy", morphy)
    wordnet._wn_lexicon.cache_clear()
    yield library
    wordnet._wn_lexicon.cache_clear()


def test_wn_lexicon_gives_every_lemma_once(wn_library):
    lexicon = open_lexicon("tiny:1")
    assert lexicon == WnLexicon("tiny:1")
    assert lexicon.synonyms("large") == ("big", "large", "great in size")
    assert set(draw(Synonyms(lexicon), "large", 40)) == {"big", "great in size"}


def test_wn_lexicon_that_is_not_installed_names_those_that_are(wn_library):
    with pytest.raises(UserError, match=r"no lexicon 'other:2': .*installed \(tiny:1\)"):
        open_lexicon("other:2")


def test_wn_library_missing_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "wn", None)
    wordnet._wn_lexicon.cache_clear()
    with pytest.raises(UserError, match="pip install wn, or install Debian's package"):
        open_lexicon("oewn:2024")


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
