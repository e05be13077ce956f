"""Negatives from a corpus on disk: rules, marks, a reranker, the cache, what is refused."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from families import WORDS, tiny_encoder, tiny_model_dir
from sentence_transformers import CrossEncoder

from textcl.cli.mine import load_reranker
from textcl.data.rows import load_rows
from textcl.errors import RunError, UserError
from textcl.retrieval import triplets as module
from textcl.retrieval.build import Tools
from textcl.retrieval.documents import documents_of
from textcl.retrieval.hard_negatives import EQUAL, MARKED, NEAR, MiningOptions
from textcl.retrieval.near import NearTexts, trigrams
from textcl.retrieval.triplets import Anchors, Marks, mine_pairs

DRAW = np.random.default_rng(1)
TEXTS = [" ".join(DRAW.choice(WORDS, 6, replace=False)) for _ in range(120)]
CORPUS = [{"_id": f"d{n}", "title": "", "text": text} for n, text in enumerate(TEXTS)]
PAIRS = [{"anchor": " ".join(TEXTS[n].split()[:3]), "positive": TEXTS[n]} for n in (3, 40, 77)] + [
    {"anchor": " ".join(TEXTS[3].split()[:3]), "positive": "two children run"}
]


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "cache_folder", lambda: tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def model():
    return tiny_encoder(prompts={"query": "a "}, hidden=32)


@pytest.fixture
def mined(model, tmp_path):
    def run(corpus=CORPUS, pairs=PAIRS, name="out.jsonl", **options):
        keep = {key: options.pop(key) for key in ("reranker", "marks", "tools") if key in options}
        rows = load_rows(pairs, roles=("anchor", "positive"))
        documents = None if corpus is None else documents_of(corpus)
        target = tmp_path / name
        tally = mine_pairs(
            model, rows, documents, target, MiningOptions(**options), overwrite=True, **keep
        )
        return tally, [json.loads(line) for line in target.read_text().splitlines()]

    return run


def unit(x):
    return torch.nn.functional.normalize(torch.tensor(x), dim=1)


def test_negatives_are_those_of_a_plain_loop(model, mined):
    margin = 0.02
    tally, rows = mined(negatives=3, relative_margin=margin, near=2, range_max=121)
    texts = [*TEXTS, "two children run"]
    corpus = unit(model.encode(texts))
    assert [row["anchor"] for row in rows] == [PAIRS[i]["anchor"] for i in (0, 3, 1, 2)]
    for row in rows:
        query = unit(model.encode([row["anchor"]], prompt="query"))[0]
        scores = (corpus @ query).tolist()
        own = {p["positive"] for p in PAIRS if p["anchor"] == row["anchor"]}
        weakest = min(scores[texts.index(text)] for text in own)
        bound = weakest - abs(weakest) * margin
        order = sorted(range(len(texts)), key=lambda n: -scores[n])
        window = [n for n in order if texts[n] not in own and texts[n] != row["anchor"]]
        passing = [n for n in window if scores[n] <= bound][:3]
        assert [row[f"negative_{place}"] for place in (1, 2, 3)] == [texts[n] for n in passing]
        assert np.allclose(
            row["scores"], [scores[texts.index(row["positive"])], *(scores[n] for n in passing)], atol=1e-4
        )  # fmt: skip
        assert [row[f"negative_{place}_id"] for place in (1, 2, 3)] == [f"d{n}" for n in passing]
    assert [row["positive_id"] for row in rows] == ["d3", "positive 1", "d40", "d77"]
    assert (tally.anchors, tally.pairs, tally.short) == (3, 4, 0)
    assert len(tally.scores["kept"]) == 9
    assert len(tally.scores["positive"]) == 4


def test_equal_and_near_texts_and_marks_are_left_out_and_counted(mined, tmp_path):
    anchor, positive = PAIRS[1].values()
    corpus = [
        *CORPUS,
        {"_id": "same", "title": "", "text": f" {positive} "},
        {"_id": "near", "title": "", "text": positive.upper() + "!"},
        {"_id": "self", "title": "", "text": anchor},
    ]
    options = {"negatives": 3, "relative_margin": None}
    tally, rows = mined(corpus, PAIRS[1:2], **options)
    given = {rows[0][f"negative_{place}_id"] for place in (1, 2, 3)}
    assert not given & {"same", "near", "self", "d40"}
    assert EQUAL in tally.rules
    drawn, _ = mined(corpus, PAIRS[1:2], sampling="random", range_max=125, **options)
    assert drawn.rules == {EQUAL: 2, NEAR: 1}  # drawn from all ranks, all of them are judged
    marks = tmp_path / "marks.csv"
    marks.write_text(
        f'anchor,negative,mark\n"{anchor}","{rows[0]["negative_1"]}",relevant\n'
        f'"{anchor}","{rows[0]["negative_2"]}",irrelevant\n"{anchor}","{rows[0]["negative_3"]}",\n'
    )
    read = Marks.read(marks)
    assert read.describe() == "of 2 marked negatives 1 are relevant (50 %): left out"
    tally, again = mined(corpus, PAIRS[1:2], marks=read, **options)
    assert tally.rules[MARKED] == 1
    assert again[0]["negative_1"] == rows[0]["negative_2"]
    marks.write_text("anchor,negative,mark\na,b,perhaps\n")
    with pytest.raises(UserError, match=r"row 1: expected an anchor, a negative and a mark"):
        Marks.read(marks)
    marks.write_text("anchor,negative,mark\na,b,\n")
    with pytest.raises(UserError, match="has no mark"):
        Marks.read(marks)


@pytest.mark.parametrize("sampling", ["top", "random"])
def test_near_texts_are_left_out_wherever_they_rank(model, mined, sampling):
    anchor, positive = PAIRS[1].values()
    words = positive.split()
    copies = [
        {"_id": f"near{n}", "title": "", "text": f"{positive} {word}"}
        for n, word in enumerate(words * 2)
    ]
    options = {"negatives": 5, "range_max": 150, "relative_margin": 0.1, "sampling": sampling}
    near = NearTexts([anchor, positive], 0.8)
    assert sum(copy["text"] in near for copy in copies) > 5
    _, rows = mined([*copies, *CORPUS], PAIRS[1:2], near=0.8, **options)
    kept = [each for each in copies if each["text"] not in near]
    _, wanted = mined(
        [*kept, *(row for row in CORPUS if row["text"] not in near or row["text"] == positive)],
        PAIRS[1:2],
        near=2,
        **options,
    )
    ids = [[row[f"negative_{place}"] for place in range(1, 6)] for row in (rows[0], wanted[0])]
    assert ids[0] == ids[1]


class Letters:
    """A reranker whose score has nothing to do with the model's."""

    def predict(self, pairs):
        return np.array([float(len(text)) for _, text in pairs])


def test_a_reranker_decides_and_both_scores_are_kept(mined):
    tally, rows = mined(
        negatives=2, relative_margin=None, absolute_margin=1.0, range_max=50, reranker=Letters()
    )
    for row in rows:
        negatives = [row["negative_1"], row["negative_2"]]
        assert row["scores"] == [float(len(row["positive"])), *(len(text) for text in negatives)]
        own = [pair["positive"] for pair in PAIRS if pair["anchor"] == row["anchor"]]
        assert max(row["scores"][1:]) <= min(map(len, own)) - 1
        assert all(-1 <= score <= 1.0001 for score in row["model_scores"])
    assert tally.rules["within 1 of the positive"] > 0

    class Broken(Letters):
        def predict(self, pairs):
            return np.where(np.arange(len(pairs)) == 1, np.nan, 1.0)

    with pytest.raises(RunError, match="1 of them not finite"):
        mined(negatives=2, reranker=Broken())


def test_vectors_come_from_the_cache_the_second_time(monkeypatch, mined, model, cache):
    _, first = mined(negatives=2)
    monkeypatch.setattr(type(model), "encode", lambda *_, **__: pytest.fail("encoded again"))
    _, second = mined(negatives=2)
    assert first == second
    _, fewer = mined(negatives=1, range_min=2)
    assert len(fewer) == len(first)
    monkeypatch.undo()
    monkeypatch.setattr(module, "cache_folder", lambda: cache)
    mined(CORPUS[:100], negatives=2)
    assert len(list(cache.glob("index-*"))) == 2


DAMAGES = {
    "manifest.json": b"{",
    "vectors": b"cut",
    "rows.jsonl": b"",
    "offsets": bytes(8 * 121),
    "groups": None,
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_cached_index_is_made_anew(mined, cache, name):
    _, first = mined(negatives=2)
    (folder,) = cache.glob("index-*")
    whole = (folder / name).read_bytes()
    (folder / name).unlink()  # it is mapped into memory
    if DAMAGES[name] is not None:
        (folder / name).write_bytes(DAMAGES[name])
    assert mined(negatives=2)[1] == first
    assert (folder / name).read_bytes() == whole


def test_random_negatives_are_drawn_by_the_seed(mined):
    options = {"negatives": 2, "sampling": "random", "relative_margin": None}
    draws = [mined(seed=seed, **options)[1] for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_pairs_of_anchors_with_fewer_negatives_are_written_with_those_where_asked_for(mined):
    options: dict[str, Any] = {"negatives": 2, "relative_margin": None}
    second = sorted({row["scores"][2] for row in mined(**options)[1]})
    options["min_score"] = (
        second[0] + second[1]
    ) / 2  # between the second negatives of two anchors
    _, whole = mined(**options)
    tally, rows = mined(keep_short=True, **options)
    short = [row for row in rows if not row["negative_2"]]
    assert [row for row in rows if row["negative_2"]] == whole
    assert len(rows) == len(PAIRS) == tally.pairs == len(whole) + len(short)
    assert tally.short == len({row["anchor"] for row in short}) > 0
    assert tally.summary.endswith(f"up to 2 negatives each; {tally.short} of 3 anchors have fewer")
    for row in short:
        given = [row[f"negative_{place}"] for place in (1, 2)]
        assert [bool(row[f"negative_{place}_id"]) for place in (1, 2)] == list(map(bool, given))
        assert len(row["scores"]) == 1 + sum(map(bool, given))


def test_positives_are_the_corpus_where_there_is_none(mined):
    _, rows = mined(None, negatives=1, relative_margin=None, near=2)
    assert {row["negative_1"] for row in rows} <= {pair["positive"] for pair in PAIRS}


def test_anchors_with_too_few_negatives_are_left_out_and_none_at_all_is_an_error(mined, tmp_path):
    options = {"negatives": 2, "relative_margin": None, "min_score": 0.0, "range_max": 2}
    tally, rows = mined(**options)
    assert tally.short + len({row["anchor"] for row in rows}) == 3
    assert tally.summary == (
        f"{len(rows)} pairs with 2 negatives each; {tally.short} of 3 anchors have too few and are left out"
    )
    (tmp_path / "out.jsonl").unlink()
    with pytest.raises(UserError, match="none of 3 anchors has 2 negatives by the rules"):
        mined(negatives=2, max_score=-2.0)
    assert not (tmp_path / "out.jsonl").exists()
    with pytest.raises(UserError, match="a corpus of 4 documents cannot give 4 negatives"):
        mined(CORPUS[:0] or None, negatives=4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"relative_margin": -0.1}, "relative_margin must be 0 or more"),
        ({"absolute_margin": float("nan")}, "absolute_margin must be 0 or more"),
        ({"near": 0.0}, "near must be above 0"),
        ({"negatives": 5, "range_min": 0, "range_max": 3}, "cannot hold 5 negatives"),
    ],
)
def test_rules_out_of_range_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        _ = MiningOptions(**options).rules


def test_vectors_that_are_not_finite_are_refused(monkeypatch, mined, model):
    monkeypatch.setattr(
        type(model), "encode", lambda self, texts, **_: np.full((len(texts), 32), np.nan, "f4")
    )
    with pytest.raises(RunError, match="not finite for the document 'd0'"):
        mined()

    def queries(self, texts, prompt=None, **_):
        return np.full((len(texts), 32), np.nan if prompt else 1, "f4")

    monkeypatch.setattr(type(model), "encode", queries)
    with pytest.raises(RunError, match="not finite for anchor 1"):
        mined(CORPUS[:50])


def test_equal_anchors_are_one_with_all_their_positives():
    anchors = Anchors.of([{"anchor": "a ", "positive": "x"}, {"anchor": "a", "positive": " y"},
                          {"anchor": "b", "positive": "x"}, {"anchor": "a", "positive": "x"}])  # fmt: skip
    assert (anchors.texts, anchors.positives) == (["a ", "b"], [["x", "y"], ["x"]])


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("What is a heat pump?", True),
        ("what is a HEAT-pump", True),
        ("What is a heat pumps?", True),
        ("What is a heat sink?", False),
        ("A pump", False),
        ("", False),
    ],
)
def test_texts_are_near_by_their_letters(text, near):
    assert (text in NearTexts(["something else", "What is a heat pump?"], 0.8)) is near
    assert text not in NearTexts(["What is a heat pump?"], 1.5)


def test_a_bar_and_lines_are_shown_when_asked(mined):
    said = []
    mined([*CORPUS, {"_id": "e", "title": "", "text": ""}], tools=Tools(log=said.append))
    assert said == ["1 document without a text left out"]


def test_texts_are_near_by_the_trigrams_of_both_whatever_ends_the_comparison_early():
    draw = np.random.default_rng(0)
    words = ["été", "Straße", "ﬁne", "I'm", "don't", "a", "x_y", "42", "cat", "mat-", "\tdog"]
    base = [" ".join(draw.choice(words, 9)) for _ in range(12)]
    texts = ["", "…", "ab", *base, *(text.replace("a", "o", 1) for text in base)]
    for share in (0.3, 0.7, 0.9, 1.0):
        for text in texts:
            near = NearTexts([text], share)
            for other in texts:
                a, b = trigrams(text), trigrams(other)
                lengths = sorted([len(text), len(other)])
                alike = lengths[0] >= 0.8 * share * lengths[1]
                assert (other in near) == (alike and len(a & b) / len(a | b) >= share)


@pytest.fixture(scope="module")
def reranker(tmp_path_factory):
    place = tiny_model_dir(tmp_path_factory.mktemp("reranker"))
    torch.manual_seed(0)
    CrossEncoder(str(place), num_labels=1).save_pretrained(str(place / "trained"))
    return place


def test_a_cross_encoder_of_sentence_transformers_decides(mined, reranker):
    model = load_reranker(str(reranker / "trained"))
    _, rows = mined(negatives=2, relative_margin=None, range_max=30, reranker=model)
    for row in rows:
        texts = [row["positive"], row["negative_1"], row["negative_2"]]
        scores = model.predict([(row["anchor"], text) for text in texts])
        assert row["scores"] == pytest.approx(scores.tolist(), abs=1e-5)
        assert row["scores"][1] >= row["scores"][2]


def test_what_is_no_reranker_is_one_sentence(reranker, tmp_path):
    with pytest.raises(UserError, match="was not trained to give one score for two texts"):
        load_reranker(str(reranker))
    with pytest.raises(UserError, match="is no CrossEncoder that can be loaded"):
        load_reranker(str(tmp_path))
