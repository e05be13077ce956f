import json
import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from textcl.errors import RunError, UserError
from textcl.evaluation import benchmarks
from textcl.evaluation.benchmarks import evaluate, protocol_line
from textcl.evaluation.tasks import Manifest, StsTask
from textcl.evaluation.whitening import Whitening


class Letters:
    """Counts letters, and remembers what it was asked."""

    def __init__(self):
        self.calls = []

    def encode(self, texts):
        self.calls.append(list(texts))
        return np.array([[text.count(c) for c in "abcd"] for text in texts], dtype=np.float32)


class Gives:
    def __init__(self, embeddings):
        self.embeddings = embeddings

    def encode(self, texts):
        return self.embeddings


def manifest(name="toy", subsets=None, note=""):
    about = {"kind": "sts", "rows": 4, "split": "test", "label": "Toy", "metric": "spearman"}
    terms = {"score_range": [0, 5], "licence": "none", "citation": "nobody"}
    return Manifest(
        name, protocol="toy-{aggregation}", subsets=subsets or {}, note=note, **about, **terms
    )


def first_task(**changes):
    fields = {
        "sentences1": ["ab", "abc", "aab", "dd"],
        "sentences2": ["abb", "c", "ddd", "d"],
        "scores": np.array([4.0, 2.0, 1.0, 5.0]),
        "subsets": ["x", "x", "y", "y"],
        "manifest": manifest(subsets={"x": 2, "y": 2}),
        "source": "somewhere",
    }
    return StsTask("first", **(fields | changes))


def second_task():
    return StsTask("second", ["ab", "cd"], ["abc", "cd"], np.array([2.0, 3.0]), ["x", "x"])


def cosine(a, b):
    x, y = ([text.count(c) for c in "abcd"] for text in (a, b))
    return sum(p * q for p, q in zip(x, y, strict=True)) / (math.hypot(*x) * math.hypot(*y))


def test_evaluate_correlates_the_cosines_of_each_pair():
    task = first_task()
    found = evaluate(Letters(), task).tasks["first"].result
    cosines = [cosine(a, b) for a, b in zip(task.sentences1, task.sentences2, strict=True)]
    assert found.all.pearson == pytest.approx(np.corrcoef(cosines, task.scores)[0, 1], abs=1e-12)
    assert found.all.spearman == pytest.approx(1.0)
    assert list(found.subsets) == ["x", "y"]


def test_each_distinct_sentence_over_all_tasks_is_encoded_once_in_one_call():
    model = Letters()
    scores = evaluate(model, [first_task(), second_task()])
    assert len(model.calls) == 1
    assert model.calls[0] == ["ab", "abc", "aab", "dd", "abb", "c", "ddd", "d", "cd"]
    assert scores.sentences == 9


def test_names_suites_and_loaded_tasks_mix(monkeypatch):
    loaded = {"first": first_task(), "second": second_task()}
    monkeypatch.setattr(benchmarks, "load_task", loaded.__getitem__)
    monkeypatch.setattr(
        benchmarks, "task_names", lambda names: {"suite": ["second"]}.get(names[0], names)
    )
    assert list(evaluate(Letters(), "first").tasks) == ["first"]
    assert list(evaluate(Letters(), ["suite", first_task(), "first"]).tasks) == ["second", "first"]


def test_scores_are_percentages_under_the_aggregation_asked_for():
    task = first_task(scores=np.array([4.0, 2.0, 5.0, 1.0]))
    by_aggregation = {name: evaluate(Letters(), task, aggregation=name) for name in ("all", "mean")}
    assert by_aggregation["mean"]["first"] == pytest.approx(0.0)  # +1 in x, -1 in y
    assert by_aggregation["all"]["first"] == pytest.approx(
        100 * (by_aggregation["all"].tasks["first"].result.all.spearman or 0)
    )
    assert by_aggregation["all"]["first"] != pytest.approx(0.0)
    assert [by_aggregation[name].tasks["first"].protocol for name in ("all", "mean")] == [
        "toy-all",
        "toy-mean",
    ]


def three_tasks():
    def task(name, scores):
        texts = ["a", "ab", "abb", "abbb"]
        return StsTask(name, texts, ["a"] * 4, np.array(scores), None, manifest(name))

    return [task("p", [4, 3, 2, 1.0]), task("q", [4, 3, 1, 2.0]), task("r", [4, 2, 2, 1.0])]


def test_average_is_over_tasks_and_may_be_of_rounded_values():
    exact, rounded = (
        evaluate(Letters(), three_tasks(), round_before_average=option) for option in (False, True)
    )
    values = [exact[name] or 0.0 for name in "pqr"]
    assert values == pytest.approx([100.0, 80.0, 100 * 4.5 / math.sqrt(5 * 4.5)])
    assert exact.average == pytest.approx(sum(values) / 3, abs=1e-12)
    assert rounded.average == pytest.approx((100 + 80 + 94.87) / 3, abs=1e-12)
    assert rounded.average != pytest.approx(exact.average, abs=1e-6)


def test_average_over_an_undefined_task_or_two_protocols_is_undefined():
    constant = StsTask("s", ["a", "b"], ["a", "b"], np.array([1.0, 2.0]), None, manifest("s"))
    scores = evaluate(Letters(), [*three_tasks(), constant])
    assert scores["s"] is None
    assert scores.average is None
    assert evaluate(Letters(), [*three_tasks(), second_task()]).average is None


def test_json_is_pure_with_null_for_what_is_undefined_and_names_the_protocol():
    task = first_task(
        scores=np.array([3.0, 3.0, np.nan, 1.0]), manifest=manifest(note="a smoke set")
    )
    found = json.loads(evaluate(Letters(), [task, second_task()]).to_json())
    toy = found["tasks"]["first"]
    assert found["average"] is None
    assert found["scale"] == 100
    assert found["protocols"]["toy-all"] == protocol_line("toy-all", "all")
    assert toy["protocol"] == "toy-all"
    assert toy["pairs"] == 3
    assert toy["subsets"]["x"] == {"spearman": None, "pearson": None, "pairs": 2}
    assert toy["spearman"]["mean"] is None
    assert toy["source"] == "somewhere"
    assert toy["note"] == "a smoke set"
    assert found["tasks"]["second"]["protocol"] == "own-pairs-all"


def test_protocol_description_says_how_the_number_came_about():
    assert protocol_line("senteval-all", "all") == (
        "senteval-all: Spearman x100 over the concatenated subsets, cosine, no regression"
    )
    assert "weighted by their pairs" in protocol_line("senteval-wmean", "wmean")


def test_copy_without_its_subsets_gives_all_but_no_means():
    task = first_task(subsets=None)
    model = Letters()
    result = evaluate(model, task).tasks["first"].result
    assert result.all.spearman == pytest.approx(1.0)
    assert (result.mean.spearman, result.wmean.spearman, result.subsets) == (None, None, {})
    with pytest.raises(
        UserError, match="'wmean' needs the subsets of first, which somewhere does not name"
    ):
        evaluate(model, task, aggregation="wmean")
    assert len(model.calls) == 1


def test_unknown_aggregation_is_refused():
    with pytest.raises(UserError, match="one of all, mean, wmean; got 'median'"):
        evaluate(Letters(), first_task(), aggregation="median")


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.zeros((3, 2)), r"array \(3, 2\) for 8 texts"),
        (np.zeros(8), r"array \(8,\) for 8 texts"),
        (np.array([[0.0]] * 3 + [[np.nan]] * 2 + [[1.0]] * 3), "2 of 8 embeddings .*that of 'dd'"),
    ],
)
def test_model_that_gives_no_finite_row_for_every_text_is_refused(embeddings, message):
    with pytest.raises(RunError, match=message):
        evaluate(Gives(embeddings), first_task())


def test_embeddings_of_lists_count_too():
    scores = evaluate(Gives([[1.0, 0.0]] * 4 + [[0.0, 1.0]] * 4), first_task())
    assert scores["first"] is None


def test_pairs_are_whitened_task_by_task():
    """Fitted on both columns of a task, as the paper's target setting; by plain arithmetic of its algorithm."""
    rng = np.random.default_rng(0)
    vectors = {f"t{i}": rng.normal(size=6) @ rng.normal(size=(6, 6)) + 3 for i in range(24)}
    tasks = [
        StsTask(name, [f"t{i}" for i in range(k, k + 6)], [f"t{i}" for i in range(k + 6, k + 12)],
                np.arange(6.0))
        for name, k in (("one", 0), ("two", 12))
    ]  # fmt: skip
    model = type(
        "Model", (), {"encode": lambda self, texts: np.array([vectors[t] for t in texts])}
    )()
    scores = evaluate(model, tasks, whiten=lambda rows: Whitening.fit(rows, 4))
    for task in tasks:
        rows = np.array([vectors[t] for t in (*task.sentences1, *task.sentences2)])
        u, s, _ = np.linalg.svd(np.cov(rows.T))
        white = (rows - rows.mean(0)) @ (u / np.sqrt(s))[:, :4]
        white /= np.linalg.norm(white, axis=1, keepdims=True)
        want = spearmanr((white[:6] * white[6:]).sum(1), task.scores).statistic
        assert scores[task.name] == pytest.approx(100 * want)
    plain = evaluate(model, tasks)
    assert plain["one"] != pytest.approx(scores["one"])


class Reads(Letters):
    """Reads three letters of a text."""

    max_length = 3

    def reader(self):
        return self

    def count_cut(self, texts):
        return sum(len(text) > 3 for text in texts)


def test_a_score_counts_the_sentences_that_were_cut():
    long = StsTask("long", ["ab", "abcd"], ["abcd", "cddd"], np.array([2.0, 3.0]), ["x", "x"])
    scores = evaluate(benchmarks.EncodeWith(Reads()), [first_task(), long])
    assert [task.cut for task in scores.tasks.values()] == [0, 2]
    note = "2 of 3 texts have more than the 3 tokens that the model reads: scored cut."
    assert scores.tasks["long"].note == scores.to_dict()["tasks"]["long"]["note"] == note
    assert scores.tasks["first"].note == ""
    noted = manifest(subsets={"x": 2}, note="a smoke set")
    given = StsTask("long", long.sentences1, long.sentences2, long.scores, ["x", "x"], noted)
    score = evaluate(benchmarks.EncodeWith(Reads()), given).tasks["long"]
    assert score.note == f"a smoke set; {note}"
    assert evaluate(Letters(), first_task()).tasks["first"].cut is None
