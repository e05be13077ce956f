import random
import time
from collections import Counter

import pytest

from textcl.errors import UserError
from textcl.views.augmentations import SpanMask
from textcl.views.view import View, draw_generator

SENTENCE = "Economist Paul Krugman mainly works on trade models."


def first_letters(text, rng):
    return text[: rng.randint(1, len(text))]


def test_draw_generator_depends_on_each_of_the_four():
    def draw(*key):
        return draw_generator(*key).random()

    base = draw(1, 2, 3, "anchor")
    assert base == draw(1, 2, 3, "anchor")
    others = [draw(0, 2, 3, "anchor"), draw(1, 0, 3, "anchor"), draw(1, 2, 0, "anchor")]
    others += [draw(1, 2, 3, "positive"), draw(12, 3, 3, "anchor"), draw(1, 23, 3, "anchor")]
    assert len({base, *others}) == 7


def test_draw_generator_is_the_same_on_every_machine():
    # Written down once: a change here changes what every run with a fixed seed sees.
    assert draw_generator(13, 0, 5, "positive").getrandbits(32) == 4124396704


def test_draw_generator_is_uniform_over_rows():
    counts = Counter(draw_generator(0, 0, row, "view").randrange(10) for row in range(10_000))
    chi_squared = sum((count - 1000) ** 2 / 1000 for count in counts.values())
    assert len(counts) == 10
    assert chi_squared < 27.9  # the 99.9 % point with 9 degrees of freedom


def test_draw_generator_ignores_the_global_generator():
    random.seed(0)
    one = draw_generator(1, 1, 1, "a").random()
    state = random.getstate()
    assert draw_generator(1, 1, 1, "a").random() == one
    assert random.getstate() == state


@pytest.mark.slow
def test_draw_generator_makes_100_000_a_second():
    start = time.perf_counter()
    for row in range(50_000):
        draw_generator(1, 2, row, "positive")
    assert time.perf_counter() - start < 0.5


def test_view_reads_its_column_and_nothing_else():
    row = {"text": "one", "positive": "two", "label": 3}
    assert View("positive")(row, random.Random(0)) == "two"


def test_view_applies_augmentations_in_order():
    def upper(text, rng):
        return text.upper()

    def ending(text, rng):
        return text + "x"

    row, rng = {"text": "ab"}, random.Random(0)
    assert View("text", (upper, ending))(row, rng) == "ABx"
    assert View("text", (ending, upper))(row, rng) == "ABX"


def test_view_draw_is_the_call_with_the_generator_of_the_slot():
    view = View("text", (SpanMask(), first_letters))
    row = {"text": SENTENCE}
    drawn = [view.draw(row, 7, 1, index, "positive") for index in range(20)]
    called = [view(row, draw_generator(7, 1, index, "positive")) for index in range(20)]
    assert drawn == called
    assert len(set(drawn)) > 10


def test_view_draw_does_not_depend_on_what_was_drawn_before():
    view = View("text", (first_letters,))
    rows = [{"text": SENTENCE[i:]} for i in range(20)]
    forwards = [view.draw(rows[i], 0, 0, i, "a") for i in range(20)]
    backwards = [view.draw(rows[i], 0, 0, i, "a") for i in reversed(range(20))]
    assert forwards == backwards[::-1]


def test_view_that_draws_once_repeats_itself_in_every_epoch():
    row = {"text": SENTENCE}
    every, once = View("text", (first_letters,)), View("text", (first_letters,), once=True)
    assert len({every.draw(row, 0, epoch, 4, "a") for epoch in range(10)}) > 3
    assert len({once.draw(row, 0, epoch, 4, "a") for epoch in range(10)}) == 1


def test_view_without_its_column_says_what_the_rows_have():
    with pytest.raises(
        UserError, match="reads column 'positive', but the rows have 'text', 'label'"
    ):
        View("positive")({"text": "a", "label": 1}, random.Random(0))


def test_view_of_a_column_without_text_says_what_is_there():
    with pytest.raises(UserError, match="Column 'label' must hold text for a view, but has 3"):
        View("label")({"label": 3}, random.Random(0))
