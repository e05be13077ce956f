import random
from collections import Counter

import pytest

from textcl.errors import UserError
from textcl.views import augmentations
from textcl.views.augmentations import (
    Crop,
    DeleteOneWord,
    DeleteWords,
    RandomString,
    RepeatWords,
    SpanMask,
    delete_items,
    mask_span,
    repeat_items,
)

SENTENCE = "the cat and the dog and the bird sat on the old wall"
ODD = [
    "",
    " ",
    "one",
    "two words",
    "e\u0301" * 20,
    "👩‍👩‍👧‍👦 👍🏽 " * 8,
    "日本語" * 15,
    "a\u00a0b\tc\nd",
    SENTENCE,
]


def draws(augmentation, text, count, seed=0):
    rng = random.Random(seed)
    return [augmentation(text, rng) for _ in range(count)]


def assert_uniform(counts, values, total):
    """Every value comes about equally often: within five standard deviations."""
    expected = total / len(values)
    assert set(counts) == set(values)
    assert all(abs(counts[value] - expected) < 5 * expected**0.5 for value in values)


AUGMENTATIONS = [
    SpanMask(),
    SpanMask(min_characters=0),
    SpanMask(variant="official"),
    RepeatWords(),
    RepeatWords(variant="official_word"),
    Crop(0.9),
    DeleteWords(0.9),
    DeleteOneWord(),
]


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=str)
@pytest.mark.parametrize("text", ODD, ids=ascii)
def test_augmentation_never_empties_a_text_and_depends_on_the_draws_alone(augmentation, text):
    once, again = draws(augmentation, text, 30), draws(augmentation, text, 30)
    assert once == again
    assert all(bool(result.strip()) == bool(text.strip()) for result in once)


# Span masking


def test_mask_span_replaces_exactly_the_drawn_characters():
    assert mask_span("abcdefgh", 2, 3, "[M]") == "ab [M] fgh"
    assert mask_span("abcdefgh", 5, 3, "<mask>") == "abcde <mask> "
    assert mask_span("abcabcabc", 3, 3) == "abc [MASK] abc"


def test_mask_span_official_takes_the_first_occurrence():
    assert mask_span("abcabcabc", 3, 3, "[M]", "official") == " [M] abcabc"
    assert mask_span("abcdabcx", 4, 4, "[M]", "official") == "abcd [M] "


def test_span_mask_reaches_every_place_but_the_last_one_in_the_official_code():
    text = "".join(chr(ord("A") + i) for i in range(32))
    corrected = Counter(draws(SpanMask(5), text, 5600))
    assert_uniform(corrected, [mask_span(text, start, 5) for start in range(28)], 5600)
    official = Counter(draws(SpanMask(5, variant="official"), text, 5400))
    assert_uniform(official, [mask_span(text, start, 5) for start in range(27)], 5400)


def test_span_mask_leaves_short_texts_alone_without_a_draw():
    rng = random.Random(0)
    state = rng.getstate()
    assert SpanMask()("x" * 29, rng) == "x" * 29
    assert SpanMask(40)("x" * 40, rng) == "x" * 40
    assert SpanMask(0)(SENTENCE, rng) == SENTENCE
    assert rng.getstate() == state
    assert SpanMask()("x" * 30, rng) != "x" * 30
    assert SpanMask(5, min_characters=0)("abcdef", rng) in ("a [MASK] ", " [MASK] f")


def test_span_mask_counts_code_points():
    text = "e\u0301" * 15  # 30 code points, 15 letters as read
    assert len(SpanMask(5, "[M]")(text, random.Random(0))) == 30 - 5 + 5


def test_span_mask_rejects_a_negative_length():
    with pytest.raises(UserError, match="must be 0 or more, not -1"):
        SpanMask(-1)


def test_unknown_variant_is_named_with_the_known_ones():
    # Called directly: where all types are checked, a wrong literal is stopped before the constructor sees it.
    with pytest.raises(UserError, match="'oficial': choose one of corrected, official"):
        augmentations._check_variant("oficial", ("corrected", "official"))


# Repetition


def test_repeat_items_doubles_in_place():
    assert repeat_items("abcd", {1, 3}) == ["a", "b", "b", "c", "d", "d"]
    assert repeat_items([5, 5], [0]) == [5, 5, 5]


def added(before, after):
    """Indices of the doubled words, for words that are all different."""
    counts = Counter(after)
    assert sorted(set(after), key=after.index) == before
    assert all(count <= 2 for count in counts.values())
    return [i for i, word in enumerate(before) if counts[word] == 2]


@pytest.mark.parametrize(
    ("variant", "words", "rate", "most", "last"),
    [
        ("paper", 20, 0.32, 6, 19),
        ("paper", 5, 0.1, 2, 4),
        ("paper", 1, 0.5, 1, 0),
        ("official_word", 20, 0.32, 5, 18),
        ("official_word", 60, 0.5, 9, 58),
        ("official_word", 5, 0.1, 1, 3),
        ("official_word", 2, 0.9, 1, 0),
    ],
)
def test_repeat_words_draws_count_and_places_uniformly(variant, words, rate, most, last):
    before = [f"w{i}" for i in range(words)]
    results = draws(RepeatWords(rate, variant), " ".join(before), 3000)
    chosen = [added(before, result.split()) for result in results]
    assert_uniform(Counter(map(len, chosen)), range(most + 1), 3000)
    places = Counter(place for places in chosen for place in places)
    assert_uniform(places, range(last + 1), sum(places.values()))


def test_repeat_words_official_leaves_one_word_alone():
    assert set(draws(RepeatWords(0.9, "official_word"), "word", 50)) == {"word"}


def test_rate_must_be_a_share():
    with pytest.raises(UserError, match="at least 0 and below 1, not 2"):
        RepeatWords(2)


# Crop and deletion


@pytest.mark.parametrize(
    ("words", "rate", "cut"), [(10, 0.25, 2), (10, 0.99, 9), (3, 0.5, 1), (2, 0.4, 0)]
)
def test_crop_keeps_every_window_equally_often(words, rate, cut):
    before = [f"w{i}" for i in range(words)]
    windows = [" ".join(before[start : start + words - cut]) for start in range(cut + 1)]
    assert_uniform(Counter(draws(Crop(rate), " ".join(before), 2000)), windows, 2000)


def test_delete_items_leaves_the_rest_in_order():
    assert delete_items("abcd", {0, 2}) == ["b", "d"]


def test_delete_words_deletes_every_set_of_places_equally_often():
    pairs = Counter(draws(DeleteWords(0.5), "a b c d", 3000))
    assert_uniform(pairs, ["a b", "a c", "a d", "b c", "b d", "c d"], 3000)


def test_delete_words_rounds_down_and_then_leaves_the_text_as_it_is():
    assert set(draws(DeleteWords(0.3), "a  b\tc", 20)) == {"a  b\tc"}


def test_delete_one_word_deletes_exactly_one():
    assert_uniform(Counter(draws(DeleteOneWord(), "a b c", 3000)), ["b c", "a c", "a b"], 3000)
    assert set(draws(DeleteOneWord(), " word ", 10)) == {" word "}


# Random strings


def test_a_random_string_depends_on_the_text_and_the_seed_alone():
    text = "two dogs run in a field"
    string = RandomString(seed=3)(text, random.Random(0))
    assert len(string) == len(text)
    assert string.isalnum()
    assert string == string.lower()
    assert string == RandomString(seed=3)(text, random.Random(1))
    assert string != RandomString(seed=4)(text, random.Random(0))
    assert string != RandomString(seed=3)("two cats run in a field", random.Random(0))
    assert RandomString()("", random.Random(0)) == ""


def test_shares_of_the_words_are_exact():
    text = " ".join(f"w{i}" for i in range(100))
    assert len(DeleteWords(0.29)(text, random.Random(0)).split()) == 71
    assert len(Crop(0.29)(text, random.Random(0)).split()) == 71
