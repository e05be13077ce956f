import json

import numpy as np
import pytest

from textcl.errors import RunError, UserError
from textcl.evaluation.correlation import spearman
from textcl.evaluation.descent import Descent
from textcl.evaluation.linear_probe import GradientTrainer
from textcl.evaluation.ranking import rank_measures
from textcl.evaluation.resampling import observed
from textcl.evaluation.tasks import StsTask, suites
from textcl.suites.bm25 import bm25_installed
from textcl.suites.graded import GradedPairs
from textcl.suites.load import load_tasks
from textcl.suites.manifests import SuiteManifest, suite_manifests
from textcl.suites.names import Names
from textcl.suites.probe import LabelledRows
from textcl.suites.questions import Questions
from textcl.suites.ranking import CUTS, Ranking
from textcl.suites.suite import Role, TaskResult, run_suite
from textcl.suites.transfer import Transfer
from textcl.suites.translation import Translation


class Letters:
    """Counts of letters; remembers what it was asked for."""

    def __init__(self):
        self.asked = []

    def encode(self, texts, /):
        self.asked.append(list(texts))
        return np.array([[text.count(c) + 0.1 for c in "abcd"] for text in texts], np.float32)


class TwoSided(Letters):
    def encode_query(self, texts, /):
        return -self.encode(texts)

    encode_document = Letters.encode


def manifest(kind, **changes):
    about = {"name": "toy", "label": "toy", "kind": kind, "metric": "m", "protocol": "p"}
    return SuiteManifest(**about, licence="", citation="", local={}, **changes)


def measure(result, name):
    value = result.measures[name]
    assert value is not None
    return value


def score(task, model=None):
    return run_suite(model or Letters(), [task]).tasks[task.name]


@pytest.fixture
def corpus(tmp_path):
    documents = {"d1": "aa", "d2": "ab", "d3": "cd", "d4": "ccc"}
    queries = {"q1": "aab", "q2": "c"}
    for name, rows in (("corpus", documents), ("queries", queries)):
        lines = [json.dumps({"_id": key, "text": text}) for key, text in rows.items()]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels/test.tsv").write_text("q\tc\ts\nq1\td1\t2\nq1\td3\t1\nq2\td3\t1\n")
    return tmp_path


def test_each_text_is_encoded_once_over_all_tasks():
    model = Letters()
    pairs = [StsTask(n, ["a", "b", "ab"], ["b", "b", "c"], np.arange(3.0)) for n in "xy"]
    result = run_suite(model, [GradedPairs(each) for each in pairs])
    assert model.asked == [["a", "b", "ab", "c"]]
    assert (result.texts, list(result.tasks)) == (4, ["x", "y"])


def test_a_suite_needs_tasks_with_names_of_their_own():
    task = GradedPairs(StsTask("x", ["a"], ["b"], np.ones(1)))
    with pytest.raises(UserError, match="a name of its own"):
        run_suite(Letters(), [task, task])
    with pytest.raises(UserError, match="at least one task"):
        run_suite(Letters(), [])

    class Broken:
        def encode(self, texts, /):
            return np.full((len(texts), 2), np.nan)

    with pytest.raises(RunError, match="not finite"):
        run_suite(Broken(), [task])


@pytest.mark.parametrize("aggregation", ["all", "mean", "wmean"])
def test_graded_pairs_have_the_score_of_every_aggregation(aggregation):
    gold = np.array([1.0, 2.0, 5.0, 3.0, np.nan, 0.5, 4.0])
    texts = ["ab", "abb", "c", "dd", "a", "cd", "ad"]
    subsets = ["x", "x", "x", "y", "y", "y", "y"]
    task = StsTask("toy", texts, ["aab", "c", "ccd", "d", "b", "c", "dda"], gold, subsets)
    result = score(GradedPairs(task, aggregation))
    assert result.measures["spearman"] == pytest.approx(
        100 * observed(result.statistics["spearman"])
    )
    assert (result.unit, result.units) == ("pairs", 6)
    assert spearman(np.arange(3.0), np.arange(3.0)) == 1.0


def test_a_folder_is_ranked_by_cosine_as_trec_eval_measures(corpus):
    task = Ranking.of_folder(corpus)
    result = score(task)
    rows = {text: row / np.linalg.norm(row) for text in ["aab", "c", "aa", "ab", "cd", "ccc"]
            for row in Letters().encode([text])}  # fmt: skip
    runs = {q: {d: float(rows[a] @ rows[b]) for d, b in task.data.corpus.items()}
            for q, a in task.data.queries.items()}  # fmt: skip
    want = rank_measures(task.data.qrels, runs, CUTS).mean
    assert result.measures == pytest.approx({key: 100 * value for key, value in want.items()})
    assert result.counts == {"documents": 4, "judgements": 3}
    assert "4 documents a query" in result.description
    assert measure(score(task, TwoSided()), "ndcg@10") < measure(result, "ndcg@10")


def test_a_model_of_the_dot_product_ranks_by_it(corpus):
    class Dot(Letters):
        similarity_fn_name = "dot"  # as sentence-transformers says it

        def encode(self, texts, /):
            return super().encode(texts) * np.array([[10.0 - len(text)] for text in texts])

    task = Ranking.of_folder(corpus)
    x, y = (Dot().encode(list(texts)) for texts in task.texts().values())
    runs = {q: dict(zip(task.data.corpus, map(float, row), strict=True))
            for q, row in zip(task.data.queries, x @ y.T, strict=True)}  # fmt: skip
    want = rank_measures(task.data.qrels, runs, CUTS).mean
    result = score(task, Dot())
    assert result.measures == pytest.approx({key: 100 * value for key, value in want.items()})
    assert result.measures != score(task).measures
    assert "ranked by dot product" in result.description
    Dot.similarity_fn_name = "euclidean"
    with pytest.raises(UserError, match="the model compares by euclidean"):
        score(task, Dot())


def test_measures_are_those_of_pytrec_eval(corpus):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    task = Ranking.of_folder(corpus)
    sides = [Letters().encode(list(texts)) for texts in task.texts().values()]
    x, y = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in sides)
    runs = {q: dict(zip(task.data.corpus, map(float, row), strict=True))
            for q, row in zip(task.data.queries, x @ y.T, strict=True)}  # fmt: skip
    names = {"ndcg_cut.10": "ndcg@10", "map": "map", "recip_rank": "mrr", "P.10": "precision@10",
             "recall.100": "recall@100"}  # fmt: skip
    official = pytrec_eval.RelevanceEvaluator(task.data.qrels, set(names)).evaluate(runs)
    result = score(task)
    for theirs, ours in names.items():
        values = [each[theirs.replace(".", "_")] for each in official.values()]
        assert result.measures[ours] == pytest.approx(100 * np.mean(values), abs=1e-4)


@pytest.mark.skipif(not bm25_installed(), reason="needs bm25s")
def test_bm25_ranks_documents_that_share_words(tmp_path, corpus):
    (corpus / "corpus.jsonl").write_text(
        "".join(json.dumps({"_id": k, "text": t}) + "\n" for k, t in
                {"d1": "red apple tree", "d2": "blue sky", "d3": "green apple"}.items())
    )  # fmt: skip
    (corpus / "queries.jsonl").write_text(
        '{"_id": "q1", "text": "a red apple"}\n{"_id": "q2", "text": "green"}\n'
    )
    result = Ranking.of_folder(corpus).score_bm25()
    assert result.measures["ndcg@10"] == 100
    assert result.protocol == score(Ranking.of_folder(corpus)).protocol
    assert "bm25s" in result.description


def test_questions_are_queries_and_sentences_documents():
    about = manifest("questions", classes=["no", "yes"])
    task = Questions(about, ["a", "b", "c"], ["aa", "d", "cc"], np.array([True, False, True]))
    assert task.texts()[Role.query] == ["a", "b", "c"]
    result = score(task)
    assert result.measures == {"auc": 100}
    assert observed(result.statistics["auc"]) == 1
    assert score(task, TwoSided()).measures == {"auc": 0}


def test_a_rotation_is_fitted_on_the_train_dictionary():
    train = [("a", "b"), ("aa", "bb"), ("c", "d"), ("cc", "dd"), ("ac", "bd"), ("aca", "bdb")]
    task = Translation(manifest("translation"), [("acc", "bdd"), ("aac", "bbd")], train)
    result = score(task)
    assert result.headline == ["mapped P@1", "P@1", "cosine P@1"]
    assert result.measures["mapped P@1"] == 100
    assert measure(result, "cosine P@1") < 100
    assert result.counts["train lines"] == 6
    several = Translation(manifest("translation"), [("a", "c"), ("a", "aa"), ("b", "bb")], [])
    assert score(several).measures["cosine P@1"] == 100
    assert {name: 100 * observed(each) for name, each in score(several).statistics.items()} == {
        name: score(several).measures[name] for name in ("P@1", "cosine P@1")
    }


def test_every_part_of_a_composite_mention_must_hit():
    dictionary = [("aa", frozenset("1")), ("bb", frozenset("2")), ("cccc", frozenset("3"))]
    mentions = [("AAA", frozenset("1")), ("a|b", frozenset("12")), ("b+d", frozenset("2"))]
    result = score(Names(manifest("names"), mentions, dictionary))
    hits = [1, 1, 0]
    assert result.statistics["acc@5"].values.tolist() == [1, 1, 1]
    assert result.statistics["acc@1"].values.tolist() == hits
    assert (result.units, result.counts) == (3, {"names": 3, "concepts": 3})


@pytest.mark.parametrize("sizes", [[30], [20, 10], [16, 6, 8]])
def test_parts_decide_how_a_transfer_task_is_tested(sizes):
    texts = ["ab" * (1 + n % 3) + "cd"[n % 2] * (n % 5 + 2) for n in range(30)]
    labels = np.arange(30) % 2
    about = manifest("transfer", classes=["even", "odd"])
    trainer = GradientTrainer(Descent(batch=8, patience=0, passes=1), (1e-4,), (1e-4,))
    task = Transfer(about, [texts], labels, sizes, trainer, folds=3)
    result = score(task)
    assert result.units == (30 if len(sizes) == 1 else sizes[-1])
    assert (result.seed, result.headline) == (1111, ("accuracy",))
    assert result.measures["accuracy"] == pytest.approx(
        100 * observed(result.statistics["accuracy"]), abs=3
    )


def labelled(tmp_path, name, count, extra=()):
    rows = [{"text": "cd"[n % 2] * (n % 7 + 1) + "ab", "label": "xy"[n % 2]} for n in range(count)]
    path = tmp_path / name
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *extra]))
    return str(path)


def test_a_labelled_file_is_probed_by_folds_or_after_another(tmp_path):
    data = labelled(tmp_path, "rows.jsonl", 40)
    folds = score(LabelledRows.of_files(data))
    assert (folds.name, folds.protocol, folds.units) == ("rows.jsonl", "probe-folds", 40)
    assert min(measure(folds, name) for name in folds.measures) > 90
    train = labelled(tmp_path, "train.jsonl", 30)
    fitted = score(LabelledRows.of_files(data, train))
    assert (fitted.protocol, fitted.units) == ("probe-train-test", 40)
    assert measure(fitted, "kNN accuracy") > 90


def test_rows_that_cannot_be_probed_are_refused(tmp_path):
    rare = [{"text": "d", "label": "z"}]
    with pytest.raises(UserError, match="has 1 rows of the class 'z', and 5 folds need 5"):
        LabelledRows.of_files(labelled(tmp_path, "rare.jsonl", 20, rare))
    data, train = labelled(tmp_path, "data.jsonl", 20, rare), labelled(tmp_path, "train.jsonl", 20)
    with pytest.raises(UserError, match="'z' has no row in the training file"):
        LabelledRows.of_files(data, train)
    (tmp_path / "one.jsonl").write_text('{"text": "a", "label": "x"}\n' * 9)
    with pytest.raises(UserError, match="one class only"):
        LabelledRows.of_files(str(tmp_path / "one.jsonl"))


def test_manifests_name_tasks_of_the_suites(monkeypatch):
    known = suite_manifests()
    for name in ("retrieval", "qa", "bli", "linking", "transfer"):
        assert set(suites()[name]) <= set(known)
    assert len([name for name in suites()["words"] if name.startswith("MultiSimLex")]) == 12
    assert all(each.licence and each.citation and each.local for each in known.values())
    monkeypatch.delenv("TEXTCL_DATA", raising=False)
    with pytest.raises(UserError, match="QNLI has no copy on the hub: set TEXTCL_DATA"):
        load_tasks("qa")
    with pytest.raises(UserError, match="ISEAR is a task of labelled texts"):
        load_tasks("ISEAR")
    with pytest.raises(UserError, match="called 'QNLY': did you mean QNLI"):
        load_tasks(["QNLY"])


def test_data_is_checked_against_its_manifest(monkeypatch, tmp_path):
    (tmp_path / "qa").mkdir()
    (tmp_path / "qa/qnli_dev.jsonl").write_text("{}\n")
    monkeypatch.setenv("TEXTCL_DATA", str(tmp_path))
    with pytest.raises(
        UserError, match=r"qnli_dev.jsonl is not the benchmark file: expected 5,463"
    ):
        load_tasks("qa")


def test_a_result_says_how_it_came_about():
    result = score(GradedPairs(StsTask("x", ["a", "b"], ["a", "c"], np.arange(2.0))))
    assert isinstance(result, TaskResult)
    assert {
        "protocol",
        "description",
        "measures",
        "pairs",
        "seed",
        "source",
    } <= result.to_dict().keys()
    json.dumps(result.to_dict(), allow_nan=False)
