import json

import numpy as np
import pytest

from textcl.data.rows import load_rows
from textcl.errors import UserError
from textcl.evaluation.ranking import rank_measures
from textcl.retrieval.beir import load_beir, own_places
from textcl.retrieval.dev import dev_of_pairs
from textcl.suites import Ranking, ranking, run_suite

CORPUS = [{"_id": "a", "title": "T", "text": "one"}, {"_id": "b", "title": "", "text": "two"}]
QUERIES = [{"_id": "q", "text": "one?"}, {"_id": "unjudged", "text": "?"}]


def folder(tmp_path, corpus=CORPUS, queries=QUERIES, qrels=("q\ta\t2", "q\tb\t0")):
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "qrels").mkdir(exist_ok=True)
    (tmp_path / "qrels" / "test.tsv").write_text("\n".join(["query-id\tcorpus-id\tscore", *qrels]))
    return tmp_path


class Letters:
    def encode(self, texts):
        return np.array([[text.count("o") + 0.0, text.count("w") + 0.5] for text in texts])


def measures(place, **options):
    (result,) = run_suite(Letters(), [Ranking.of_folder(place, **options)]).tasks.values()
    return result.measures


def test_judged_queries_are_ranked_with_titles_before_texts(tmp_path):
    task = load_beir(folder(tmp_path))
    assert (task.corpus["a"], list(task.queries)) == ("T one", ["q"])
    assert measures(tmp_path)["ndcg@10"] == 100


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"qrels": ["q\tz\t1"]}, "test.tsv:2: document 'z' is not in corpus.jsonl"),
        ({"qrels": ["z\ta\t1"]}, "query 'z' is not in queries.jsonl"),
        ({"qrels": ["q\ta\t0"]}, "query 'q' has no relevant document"),
        ({"qrels": ["q\ta"]}, "expected query id, document id and a whole number"),
        ({"qrels": []}, "no judgement"),
        ({"corpus": [*CORPUS, CORPUS[0]]}, "corpus.jsonl:3: the id 'a' comes twice"),
        ({"corpus": [{"text": "x"}]}, 'with a text "_id"'),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        load_beir(folder(tmp_path, **change))
    with pytest.raises(UserError, match="does not exist"):
        load_beir(tmp_path / "nowhere")


def test_an_empty_passage_that_nobody_judged_is_left_out(tmp_path):
    task = load_beir(folder(tmp_path, corpus=[*CORPUS, {"_id": "e", "title": "", "text": ""}]))
    assert list(task.corpus) == ["a", "b"]


BARE = [*CORPUS, {"_id": "e", "title": "", "text": " "}]


def test_a_judged_passage_without_a_text_counts_as_missed(tmp_path, caplog):
    task = load_beir(folder(tmp_path, corpus=BARE, qrels=["q\ta\t1", "q\te\t1"]))
    assert task.qrels == {"q": {"a": 1, "e": 1}}
    assert "1 judged passage without a text (e): their 1 judgements count as never" in caplog.text
    scores = measures(tmp_path)
    assert (scores["recall@10"], scores["mrr@10"]) == (50, 100)


def test_its_judgements_can_be_left_out_with_the_queries_that_rest_on_them(tmp_path, caplog):
    qrels = ["q\ta\t1", "q\te\t1", "unjudged\te\t1"]
    task = load_beir(folder(tmp_path, corpus=BARE, qrels=qrels), empty="remove")
    assert measures(tmp_path, empty="remove")["recall@10"] == 100
    assert task.qrels == {"q": {"a": 1}}
    assert list(task.queries) == ["q"]
    assert "their 2 judgements are left out, and with them 1 queries" in caplog.text
    with pytest.raises(UserError, match="no query has a relevant document with a text"):
        load_beir(folder(tmp_path, corpus=BARE, qrels=["q\te\t1"]), empty="remove")


ARGUMENTS = [
    {"_id": name, "title": title, "text": text}
    for name, title, text in (
        ("9", "T", "owo"), ("2", "", "oow"), ("3", "", "w"), ("4", "", "oo"), ("5", "", "wwo"),
    )
]  # fmt: skip


@pytest.mark.parametrize("depth", [1000, 4, 3])
def test_a_query_that_is_a_document_is_not_ranked_for_itself(tmp_path, monkeypatch, depth):
    monkeypatch.setattr(ranking, "DEPTH", depth)
    queries = [{"_id": "9", "text": "owo"}, {"_id": "3", "text": "woo"}]
    place = folder(tmp_path, ARGUMENTS, queries, ["9\t2\t1", "3\t9\t1", "3\t4\t1"])
    task = Ranking.of_folder(place)
    x, y = (Letters().encode(list(texts)) for texts in task.texts().values())
    x, y = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (x, y))
    runs = {
        query: dict(sorted(zip(task.data.corpus, map(float, row), strict=True), key=lambda each: -each[1]))
        for query, row in zip(task.data.queries, x @ y.T, strict=True)
    }  # fmt: skip
    del runs["9"]["9"]
    runs = {query: dict(list(run.items())[:depth]) for query, run in runs.items()}
    (result,) = run_suite(Letters(), [task]).tasks.values()
    want = rank_measures(task.data.qrels, runs, ranking.CUTS).mean
    assert result.measures == pytest.approx({name: 100 * value for name, value in want.items()})
    assert result.measures["mrr"] == 100
    assert (
        "queries that are documents themselves, left out of their own lists: 1"
        in result.description
    )


def test_a_query_with_the_number_of_another_text_or_judged_for_itself_is_no_document(tmp_path):
    task = load_beir(folder(tmp_path, qrels=["q\ta\t1"]))
    corpus = {"q": "another text", **task.corpus}
    assert own_places(task.queries, corpus, task.qrels) is None
    corpus = {"q": "one?", **task.corpus}
    assert own_places(task.queries, corpus, {"q": {"q": 1}}) is None
    assert own_places(task.queries, corpus, task.qrels).tolist() == [0]


def test_held_out_anchors_that_are_passages_do_not_find_themselves():
    rows = [{"anchor": "ow", "positive": "oow"}, {"anchor": "w", "positive": "ow"}]
    held = load_rows(rows, roles=("anchor", "positive"))
    dev = dev_of_pairs(held, held, "pairs", 0)

    class Model(Letters):
        prompts, similarity_name = {}, "cosine"

        def encode(self, texts, **options):
            return super().encode(texts)

    assert dev(Model()) == 100
