"""Properties over drawn inputs: whatever comes, a value of the domain or one sentence."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable

import hypothesis
from hypothesis import strategies as st

from textcl.data.json_files import parse
from textcl.data.labels import LabelReader
from textcl.data.roles import text_group
from textcl.data.texts import normal_text
from textcl.errors import UserError
from textcl.training import recipes
from textcl.training.domains import values_of
from textcl.training.facts import RunFacts
from textcl.training.settings import parse_overrides, with_values

# the same inputs every time, and no clock: a slow machine fails nothing
hypothesis.settings.register_profile(
    "textcl", deadline=None, derandomize=True, max_examples=40, database=None
)
hypothesis.settings.load_profile("textcl")

# What UTF-8 holds. The default, the same by the name of the codec, tries each of a million code points.
CHARACTERS = st.characters(exclude_categories=["Cs"])
NUMBERS = st.one_of(st.integers(), st.floats(), st.sampled_from(["1e400", "0x10", "１", "1_0"]))
TEXTS = st.one_of(
    st.text(CHARACTERS, max_size=20), NUMBERS.map(str), st.sampled_from(["", "none", "true"])
)
PLAIN = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(CHARACTERS, max_size=8)
)
JSON = st.recursive(
    PLAIN,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(CHARACTERS, max_size=5), inner)
    ),
    max_leaves=6,
)
KINDS = {
    name: recipes.find(name).settings_type
    for name in ("unsup-simcse", "pairs", "few-shot", "proto-nce", "distill-scores")
}
SETTINGS = sorted((name, key) for name, kind in KINDS.items() for key in values_of(kind))


def refusal(call: Callable[..., object], *given: object) -> str:
    """The sentence that refuses it; "" where it is taken. Any other exception fails the test."""
    try:
        call(*given)
    except UserError as error:
        return str(error)
    return ""


@hypothesis.given(setting=st.sampled_from(SETTINGS), text=TEXTS)
def test_a_text_for_a_setting_is_a_value_of_its_domain_or_one_sentence(setting, text):
    name, key = setting
    kind = KINDS[name]
    said = refusal(parse_overrides, kind, [f"{key}={text}"])
    assert not said or said.startswith(f"setting {key} is ")
    if not said:
        changes = parse_overrides(kind, [f"{key}={text}"])
        assert not isinstance(changes[key], float) or math.isfinite(changes[key])
        assert not refusal(with_values, kind(), changes)  # it is taken as a value, too


@hypothesis.given(setting=st.sampled_from(SETTINGS), value=JSON)
def test_a_value_for_a_setting_is_taken_or_one_sentence(setting, value):
    name, key = setting
    settings = KINDS[name]()
    said = refusal(with_values, settings, {key: value})
    assert not said or key in said
    if not said:  # settings.json holds it
        json.dumps(dataclasses.asdict(with_values(settings, {key: value})), allow_nan=False)


@hypothesis.given(
    values=st.dictionaries(
        st.sampled_from(["recipe", "settings", "data", "roles", "limit", "seed", "versions"]), JSON
    )
)
def test_edited_facts_of_a_run_are_read_or_one_sentence(values):
    said = refusal(RunFacts.from_json, values, "settings.json")
    assert not said or said.startswith("settings.json")


@hypothesis.given(
    text=st.one_of(st.text(CHARACTERS), JSON.map(json.dumps), st.text(alphabet='[]{}",:1e'))
)
def test_any_text_is_json_or_one_sentence(text):
    said = refusal(parse, text, "file.json")
    assert not said or said.startswith("file.json")


@hypothesis.given(values=st.lists(PLAIN, max_size=4), several=st.booleans())
def test_labels_are_names_that_are_read_again_as_themselves_or_refused(values, several):
    reader = LabelReader(several)
    for value in values:
        try:
            name = reader(value)
        except ValueError:
            continue
        again = None if name is None else LabelReader(several)(name)
        assert again == name
        assert name not in ("", "nan")


@hypothesis.given(text=st.text(CHARACTERS))
def test_the_identity_of_a_text_is_that_of_its_normal_form(text):
    assert text_group(text) == text_group(f" {normal_text(text)}\n")
