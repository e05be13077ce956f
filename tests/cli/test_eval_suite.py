import json
import re

import numpy as np
import pytest
import typer
from torch import nn
from typer.testing import CliRunner

from textcl.classifier import classifier as classifiers
from textcl.cli import eval as command
from textcl.errors import UserError
from textcl.evaluation import tasks
from textcl.evaluation.labelled import LabelledTask
from textcl.evaluation.tasks import StsTask, manifests
from textcl.suites import load, ranking
from textcl.suites.manifests import suite_manifests
from textcl.suites.questions import Questions
from textcl.suites.suite import TaskResult

APP = typer.Typer()
APP.command(epilog=command.EXAMPLES)(command.eval_command)


class Letters:
    def __init__(self, letters="abcd"):
        self.letters = letters

    def encode(self, texts, /):
        return np.array([[text.count(c) + 0.1 for c in self.letters] for text in texts], np.float32)

    encode_query = encode_document = encode


@pytest.fixture(autouse=True)
def models(monkeypatch):
    """No real model; the name of a model says what it counts."""
    for place in ("textcl.cli.eval.load", "textcl.cli.eval_encoder.load"):
        monkeypatch.setattr(place, lambda model, *_: Letters(model.rpartition("/")[2]))
    monkeypatch.setattr("textcl.cli.eval_tasks._is_encoder", lambda model: True)


@pytest.fixture
def corpus(tmp_path):
    place = tmp_path / "toy"
    (place / "qrels").mkdir(parents=True)
    for name, texts in (("corpus", ["aa bb", "cd dd", "bc ab"]), ("queries", ["aa", "dd", "bc"])):
        lines = [json.dumps({"_id": str(n), "text": text}) + "\n" for n, text in enumerate(texts)]
        (place / f"{name}.jsonl").write_text("".join(lines))
    (place / "qrels/test.tsv").write_text("q\tc\ts\n0\t0\t1\n1\t1\t1\n2\t2\t2\n")
    return str(place)


def run(*arguments):
    return CliRunner().invoke(APP, arguments, catch_exceptions=False)


def cells(out):
    return [re.split(r"\s{2,}", line.strip()) for line in out.splitlines()]


def test_a_folder_is_ranked_with_bm25_beside(corpus, monkeypatch):
    monkeypatch.setattr(ranking.Ranking, "score_bm25", lambda task: bm25())
    monkeypatch.setattr("textcl.suites.bm25.bm25_installed", lambda: True)
    result = run("abcd", "--data", corpus)
    head, ours, theirs = cells(result.stdout)[1:6:1][0], *cells(result.stdout)[3:5]
    assert head[0] == "toy: 3 queries, 3 documents, 3 judgements"
    assert head[1:] == ["ndcg@10", "map", "mrr", "recall@100", "precision@10"]
    assert ours[0] == "abcd"
    assert theirs == ["BM25", "50.00", "40.00", "–", "20.00", "10.00"]
    assert "own-corpus: ranked by cosine, 3 documents a query" in result.stdout
    assert re.search(r"6 texts in \d+\.\d s .*, scored in", result.stderr)
    content = json.loads(run("abcd", "--data", corpus, "--json").stdout)
    assert content["bm25"]["toy"]["measures"]["map"] == 40
    assert content["tasks"]["toy"]["queries"] == 3
    monkeypatch.setattr("textcl.suites.bm25.bm25_installed", lambda: False)
    assert "BM25" not in run("abcd", "--data", corpus).stdout


def bm25():
    values = dict(zip(ranking.HEADLINE, [50, 40, None, 20, 10], strict=True))
    statistics = {name: ranking.Mean(np.array([0.5, 0.5, 0.5])) for name in values}
    return TaskResult(
        "toy", "toy", "own-corpus", "by BM25", values, ranking.HEADLINE, "queries", statistics, "x"
    )


def test_models_are_compared_by_difference_interval_and_p(corpus):
    result = run("abcd", "--data", corpus, "--against", "models/ab")
    rows = cells(result.stdout)
    assert ["task", "measure", "abcd", "ab", "difference", "95 % interval", "p", "drawn"] in rows
    (row,) = [row for row in rows if row[:2] == ["toy", "ndcg@10"]]
    assert row[-1] == "3 queries"
    assert "paired bootstrap: 10,000 resamples of the queries" in result.stdout
    same = json.loads(run("ab", "--data", corpus, "--against", "ab", "--json").stdout)
    assert {row["p"] for row in same["differences"]} == {1.0}
    assert same["against"]["model"] == "ab"


def test_graded_pairs_are_compared_and_averaged(monkeypatch):
    def small(name):
        first, second = ["ab", "abc", "aab", "dd", "cd"], ["abb", "c", "ddd", "d", "cc"]
        gold = np.array([4.0, 2.0, 1.0, 3.0, 5.0])
        return StsTask(name, first, second, gold, ["x"] * 3 + ["y"] * 2, manifests()[name], "here")

    monkeypatch.setattr(load, "load_task", small)
    monkeypatch.setattr(tasks, "load_task", small)
    plain = json.loads(run("abcd", "--task", "STS12", "--json").stdout)
    found = json.loads(
        run("abcd", "--task", "STS12", "--task", "STS13", "--against", "a", "--json").stdout
    )
    assert found["tasks"]["STS12"]["measures"]["spearman"] == pytest.approx(
        plain["tasks"]["STS12"]["spearman"]["all"]
    )
    assert [row["task"] for row in found["differences"]] == ["STS12", "STS13", "average"]
    assert "avg" in run("abcd", "--suite", "sts", "--against", "a").stdout


def test_published_rows_stand_beside_tasks_of_one_number(monkeypatch):
    def small(names, aggregation):
        about = suite_manifests()["QNLI"]
        return [Questions(about, ["a", "b"], ["aa", "a"], np.array([True, False]))]

    monkeypatch.setattr(load, "load_tasks", small)
    out = run("abcd", "--suite", "qa", "--beside", "mirror-bert").stdout
    assert ["model", "QNLI"] in cells(out)
    assert ["pairs", "2"] in cells(out)
    assert ["abcd", "100.00"] in cells(out)
    assert any(row[-1] == "70.90" for row in cells(out))
    assert "qnli-auc: area under the ROC curve" in out


def test_an_encoder_is_probed_on_a_labelled_file(tmp_path):
    rows = "".join(json.dumps({"t": "abcd"[n % 4] * 3, "y": n % 2}) + "\n" for n in range(40))
    (tmp_path / "rows.jsonl").write_text(rows)
    path = str(tmp_path / "rows.jsonl")
    out = run("abcd", "--data", path, "--column", "text=t", "--column", "label=y").stdout
    assert "rows.jsonl: 40 rows, 2 classes" in out
    assert ["abcd", *["100.00"] * 4] in cells(out)
    with pytest.raises(UserError, match="--train goes with --data FILE"):
        run("abcd", "--train", path)


def test_an_encoder_is_scored_on_graded_pairs_of_ones_own(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("sentence1,b,score\naa,aa,3\naa,ab,2\naa,bb,1\n")
    named = ("--data", str(path), "--column", "sentence2=b")
    out = run("abcd", *named).stdout
    assert ["model", "mine"] in cells(out)
    assert ["pairs", "3"] in cells(out)
    assert ["abcd", "100.00"] in cells(out)
    assert "own-pairs-all: Spearman" in out
    assert "own-pairs-all" in run("abcd", *named, "--against", "ab").stdout
    with pytest.raises(UserError, match="graded pairs need none"):
        run("abcd", *named, "--train", str(path))


def test_classifiers_are_compared_on_the_classes_of_both(monkeypatch, tmp_path):
    class Stub(classifiers.Classifier):
        def __init__(self, name):
            nn.Module.__init__(self)
            self.encoder, self.multi_label, self.thresholds = Stub.stub_encoder, False, None
            self.classes, self.wrong = ["x", "y"] if name != "z" else ["x", "z"], name == "b"

        def targets(self, labels, place):
            return np.array([self.classes.index(label) for label in labels])

        def logits_of(self, vectors):
            return vectors

        def probabilities(self, logits):
            return np.roll(logits, 1, axis=1) if self.wrong else logits

    Stub.stub_encoder = nn.Identity()
    task = LabelledTask("toy", ["t"] * 6, ["x", "y"] * 3, ["x", "y"], False, "here")
    hot = np.eye(2)[[0, 1] * 3]
    monkeypatch.setattr("textcl.cli.eval_tasks._is_encoder", lambda model: False)
    monkeypatch.setattr("textcl.classifier.columns.load_classifier", Stub)
    monkeypatch.setattr("textcl.suites.classes.vectors_of", lambda *_, **__: hot)
    monkeypatch.setattr("textcl.cli.eval_classifier.labelled_tasks", lambda *_: [task])
    content = json.loads(run("a", "--suite", "emotion", "--against", "b", "--json").stdout)
    assert [(row["measure"], row["difference"]) for row in content["differences"]] == [
        ("accuracy", 100), ("macro-F1", 100),
    ]  # fmt: skip
    assert content["differences"][0]["p"] < 0.05
    with pytest.raises(UserError, match="a and z have other classes"):
        run("a", "--suite", "emotion", "--against", "z")


def test_options_that_do_not_fit_are_refused(corpus, monkeypatch):
    with pytest.raises(UserError, match="--train and --column go with a labelled file"):
        run("abcd", "--data", corpus, "--column", "text=t")
    with pytest.raises(UserError, match="--lcl-preparation and --label-separator do not go"):
        run("abcd", "--data", corpus, "--whiten", "target")
    with pytest.raises(UserError, match="leave --suite and --task out"):
        run("abcd", "--data", corpus, "--suite", "retrieval")
    monkeypatch.setattr(load, "load_tasks", lambda *_: [Questions(
        suite_manifests()["QNLI"], ["a"], ["b"], np.array([True]))])  # fmt: skip
    with pytest.raises(UserError, match="bm25 ranks documents: it has no score on QNLI"):
        run("abcd", "--suite", "qa", "--against", "bm25")
