"""The data that ships with the package keeps the promises of its README."""

import json
import re
import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import textcl.errors

SAMPLE = Path(textcl.errors.__file__).parent / "sample"
SUBSETS = {"captions", "news", "questions", "reviews", "emotions"}
LABELS = {
    *("joy", "sadness", "grief", "disappointment"),
    *("anger", "annoyance", "fear", "nervousness"),
}


def _lines(name: str) -> list[str]:
    content = (SAMPLE / name).read_bytes().decode("utf-8")
    assert content.endswith("\n")
    return content[:-1].split("\n")


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _lines(name)]


def _pair_texts(name: str) -> set[str]:
    return {row[key] for row in _rows(name) for key in ("sentence1", "sentence2")}


def _texts(name: str) -> list[str]:
    if name.endswith(".txt"):
        return _lines(name)
    return [
        v for row in _rows(name) for k, v in row.items() if k not in ("score", "subset", "label")
    ]


FILES = [
    "sentences.txt",
    *(f"pairs_{split}.jsonl" for split in ("dev", "test")),
    *(f"emotions_{split}.jsonl" for split in ("train", "dev", "test")),
]


@pytest.mark.parametrize("name", FILES)
def test_sample_texts_are_clean(name):
    for text in _texts(name):
        assert text.isprintable(), text
        assert text == " ".join(text.split()), text
        assert text == unicodedata.normalize("NFC", text)
        assert not text[0].islower(), text
        assert text[-1] in ".?!", text


@pytest.mark.parametrize("name", FILES)
def test_sample_readme_states_the_row_counts(name):
    readme = (SAMPLE / "README.md").read_text(encoding="utf-8")
    stated = re.search(rf"\| `{re.escape(name)}` \| ([\d,]+) \|", readme)
    assert stated is not None
    assert int(stated[1].replace(",", "")) == len(_lines(name))


def test_sample_sentences_are_many_distinct_and_varied():
    sentences = _lines("sentences.txt")
    words = [len(sentence.split()) for sentence in sentences]
    assert len(sentences) >= 2000
    assert len({sentence.lower() for sentence in sentences}) == len(sentences)
    assert min(words) >= 4
    assert 25 <= max(words) <= 32
    assert sum(sentence.endswith("?") for sentence in sentences) > 300


@pytest.mark.parametrize("split", ["dev", "test"])
def test_sample_pairs_are_graded_over_the_whole_range(split):
    rows = _rows(f"pairs_{split}.jsonl")
    assert len(rows) >= 200
    assert all(list(row) == ["subset", "score", "sentence1", "sentence2"] for row in rows)
    assert all(isinstance(row["score"], float) and 0 <= row["score"] <= 5 for row in rows)
    assert {row["subset"] for row in rows} == SUBSETS
    for subset in SUBSETS:
        bands = Counter(min(int(row["score"]), 4) for row in rows if row["subset"] == subset)
        assert set(bands) == {0, 1, 2, 3, 4}, subset
    bands = Counter(min(int(row["score"]), 4) for row in rows)
    assert min(bands.values()) >= 0.1 * len(rows)
    assert any(row["score"] == 5 for row in rows)


def test_sample_pairs_are_distinct_and_splits_share_no_sentence():
    rows = _rows("pairs_dev.jsonl") + _rows("pairs_test.jsonl")
    assert len({frozenset((row["sentence1"], row["sentence2"])) for row in rows}) == len(rows)
    assert all(row["sentence1"] != row["sentence2"] for row in rows)
    assert not _pair_texts("pairs_dev.jsonl") & _pair_texts("pairs_test.jsonl")


def test_sample_pairs_do_not_follow_from_common_words_alone():
    rows = _rows("pairs_dev.jsonl") + _rows("pairs_test.jsonl")
    words = [
        [set(re.findall(r"\w+", row[k].lower())) for k in ("sentence1", "sentence2")]
        for row in rows
    ]
    overlap = [len(a & b) / len(a | b) for a, b in words]
    scored = [(row["score"], common) for row, common in zip(rows, overlap, strict=True)]
    assert sum(score < 3 and common > 0.4 for score, common in scored) >= 20
    assert sum(score >= 4 and common < 0.2 for score, common in scored) >= 50


def test_sample_pairs_and_training_sentences_are_apart():
    sentences = set(_lines("sentences.txt"))
    assert not sentences & (_pair_texts("pairs_dev.jsonl") | _pair_texts("pairs_test.jsonl"))


def test_sample_emotions_are_balanced_and_distinct():
    splits = {split: _rows(f"emotions_{split}.jsonl") for split in ("train", "dev", "test")}
    for rows in splits.values():
        assert all(list(row) == ["text", "label"] for row in rows)
        counts = Counter(row["label"] for row in rows)
        assert set(counts) == LABELS
        assert len(set(counts.values())) == 1
    everything = [row["text"].lower() for rows in splits.values() for row in rows]
    assert len(everything) >= 480
    assert len(set(everything)) == len(everything)


def test_sample_emotions_rarely_name_their_label():
    rows = [row for split in ("train", "dev", "test") for row in _rows(f"emotions_{split}.jsonl")]
    named = [row for row in rows if row["label"] in row["text"].lower()]
    assert len(named) < 0.05 * len(rows)
