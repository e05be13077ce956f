"""The shape of a space: every number of a probe against plain loops, and what the command makes of it."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
import typer
from families import tiny_model_dir
from made_up import cosine
from typer.testing import CliRunner

import textcl
from textcl.cli.probe import probe_command
from textcl.contrast.statistics import BINS
from textcl.errors import RunError, UserError
from textcl.evaluation.correlation import spearman
from textcl.evaluation.geometry import alignment, tolerance, uniformity
from textcl.evaluation.labelled import find_labelled
from textcl.evaluation.spectrum import spectrum
from textcl.evaluation.tasks import DataFile
from textcl.evaluation.whitening import Whitening
from textcl.probe import measure as probe_module
from textcl.probe import models as probing
from textcl.probe.measure import embed, probe
from textcl.probe.texts import ProbeData, load_probe_data, parse_scale

APP = typer.Typer()
APP.command()(probe_command)


class Letters:
    """Counts letters, so that vectors are known."""

    def encode(self, texts, /, **_):
        return np.array([[1 + text.count(c) for c in "abcde"] for text in texts], np.float32)


def binned(values):
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, max(0, math.floor((value + 1) * BINS / 2)))] += 1
    return counts


def vectors(count, seed=0, width=4):
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)


def pairs_data(gold=True):
    texts = ["a", "b", "c", "a", "d", "A", "B", "b", "e", "D"]
    places = np.array([[i, 5 + i] for i in range(5)])
    scores = np.array([5.0, 4.0, 4.5, 0.0, 2.0]) if gold else None
    return ProbeData("made up", "pairs", texts, places, scores, (0.0, 5.0), rows=5)


def test_pairs_with_gold_scores():
    data, x = pairs_data(), vectors(10)
    got = probe(x, data)
    cosines = [cosine(x[i].tolist(), x[5 + i].tolist()) for i in range(5)]
    rank = spearman(np.array(cosines), data.gold)
    assert rank is not None
    assert got.spearman == pytest.approx(100 * rank)
    import torch

    near = torch.from_numpy(x[[0, 2]]), torch.from_numpy(x[[5, 7]])  # gold above 4, strictly
    assert got.alignment == pytest.approx(float(alignment(*near)), rel=1e-5)
    assert got.uniformity == pytest.approx(float(uniformity(torch.from_numpy(x))), rel=1e-5)
    assert (got.tolerance, got.tolerance_joint) == (None, None)
    assert got.histograms["positives"] == binned([cosines[0], cosines[2]])
    every = [cosine(x[i].tolist(), x[j].tolist()) for i in range(10) for j in range(i)]
    assert got.histograms["random"] == binned(every)
    assert got.score_means["random"] == pytest.approx(statistics.mean(every), rel=1e-4)
    assert got.mean_cosine == pytest.approx(statistics.mean(every), rel=1e-4)
    shape = spectrum(x)
    assert got.effective_rank == shape.effective_rank
    assert got.spectrum == pytest.approx(shape.shares.tolist(), rel=1e-3)
    assert sum(got.spectrum) == pytest.approx(1, rel=1e-3)


def test_hardest_neighbours_are_no_equal_texts_and_no_positives():
    data, x = pairs_data(), vectors(10)
    texts = data.texts
    positive = {("a", "A"), ("A", "a"), ("c", "b"), ("b", "c")}  # whatever row says so
    want = [
        max(
            cosine(x[i].tolist(), x[j].tolist())
            for j in range(10)
            if texts[j] != texts[i] and (texts[i], texts[j]) not in positive
        )
        for i in range(10)
    ]
    got = probe_module.hardest_neighbours(unit(x), data)
    assert got.tolist() == pytest.approx(want, rel=1e-5)


def test_hardest_neighbours_are_found_block_by_block(monkeypatch):
    data, x = pairs_data(), vectors(10)
    whole = probe_module.hardest_neighbours(unit(x), data)
    monkeypatch.setattr(probe_module, "_TABLE", 30)
    assert probe_module.hardest_neighbours(unit(x), data).tolist() == pytest.approx(whole.tolist())


def unit(x):
    import torch

    return torch.nn.functional.normalize(torch.from_numpy(x), dim=1)


def test_bands_of_the_gold_score():
    data, x = pairs_data(), vectors(10)
    bands = probe(x, data).bands
    assert [band.pairs for band in bands] == [1, 0, 1, 0, 3]  # 5.0 belongs to the last
    assert [(band.low, band.high) for band in bands] == [(i, i + 1) for i in range(5)]
    cosines = [cosine(x[i].tolist(), x[5 + i].tolist()) for i in (0, 1, 2)]
    assert bands[4].mean == pytest.approx(statistics.mean(cosines), rel=1e-5)
    assert bands[4].std == pytest.approx(statistics.stdev(cosines), rel=1e-4)
    assert bands[4].histogram == binned(cosines)
    assert (bands[1].mean, bands[0].std) == (None, None)


def test_pairs_without_gold_scores_are_all_positive():
    got = probe(vectors(10), pairs_data(gold=False))
    assert got.spearman is None
    assert got.alignment is not None
    assert sum(got.histograms["positives"]) == 5
    assert got.bands == []


def test_labelled_texts():
    import torch

    labels = ["x", "x", "y", "y", "y", "z"]
    data = ProbeData("made up", "labelled", list("abcdef"), labels=labels, rows=6)
    x = vectors(6)
    got = probe(x, data)
    ids = torch.tensor([0, 0, 1, 1, 1, 2])
    for name, kind in (("tolerance", "conditional"), ("tolerance_joint", "joint")):
        want = float(tolerance(torch.from_numpy(x), ids, kind))
        assert getattr(got, name) == pytest.approx(want, rel=1e-5)
    prior = data.to_dict()["class_prior"]
    assert prior == pytest.approx(4 / 15)
    assert got.tolerance_joint == pytest.approx(got.tolerance * prior, rel=1e-5)
    same = [cosine(x[i].tolist(), x[j].tolist()) for i, j in ((0, 1), (2, 3), (2, 4), (3, 4))]
    assert got.histograms["positives"] == binned(same)
    hardest = [
        max(cosine(x[i].tolist(), x[j].tolist()) for j in range(6) if labels[j] != labels[i])
        for i in range(6)
    ]
    assert got.histograms["hardest"] == binned(hardest)
    assert (got.spearman, got.alignment) == (None, None)


def test_labels_that_make_no_pair_are_undefined_and_not_an_error():
    data = ProbeData("made up", "labelled", list("abc"), labels=list("xyz"), rows=3)
    got = probe(vectors(3), data)
    assert got.tolerance is None
    assert got.score_means["positives"] is None
    one = ProbeData("made up", "labelled", list("abc"), labels=list("xxx"), rows=3)
    assert sum(probe(vectors(3), one).histograms["hardest"]) == 0


def test_pairs_of_one_class_are_drawn_evenly_where_there_are_many(monkeypatch):
    monkeypatch.setattr(probe_module, "PAIRS", 4000)
    classes = np.array([0] * 100 + [1] * 50 + [2])
    drawn = probe_module._class_pairs(classes, np.random.default_rng(0))
    assert len(drawn) == 4000
    assert (drawn[:, 0] != drawn[:, 1]).all()
    assert (classes[drawn[:, 0]] == classes[drawn[:, 1]]).all()
    share = (classes[drawn[:, 0]] == 0).mean()
    assert share == pytest.approx(9900 / (9900 + 2450), abs=0.03)
    some = probe_module._any_pairs(200, np.random.default_rng(0))
    assert (some[:, 0] != some[:, 1]).all()
    assert some.max() == 199


def test_whitening_leaves_no_mean_and_equal_variances():
    data, x = pairs_data(), vectors(10) + 3
    got = probe(x, data, Whitening.fit(x, 3))
    assert got.dimensions == 3
    plain = probe(x, data).mean_cosine
    assert got.mean_cosine is not None
    assert plain is not None
    assert abs(got.mean_cosine) < 0.2 < plain


def test_each_text_is_encoded_once_and_broken_vectors_are_refused():
    seen = []

    class Counting(Letters):
        def encode(self, texts, /):
            seen.extend(texts)
            return super().encode(texts)

    assert (
        embed(Counting(), ["ab", "c", "ab"]).tolist()
        == Letters().encode(["ab", "c", "ab"]).tolist()
    )
    assert seen == ["ab", "c"]
    Broken = type("Broken", (), {"encode": lambda self, texts: np.full((len(texts), 2), np.nan)})
    with pytest.raises(RunError, match="not finite"):
        embed(Broken(), ["a", "b"])


# where the texts come from


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_the_columns_say_what_the_texts_are(tmp_path):
    both = [{"sentence1": "a b", "sentence2": f"c {i}", "score": i} for i in range(4)]
    graded = load_probe_data(write(tmp_path / "g.jsonl", both))
    assert (graded.kind, graded.gold_range) == (
        "pairs",
        (0, 5),
    )  # not the scores that occur, 0 to 3
    assert graded.threshold == pytest.approx(4)
    assert graded.positives.tolist() == []
    graded = load_probe_data(str(tmp_path / "g.jsonl"), scale=parse_scale("0..3"))
    assert graded.threshold == pytest.approx(2.4)
    assert graded.texts == ["a b"] * 4 + [f"c {i}" for i in range(4)]
    assert graded.positives.tolist() == [[3, 7]]
    plain = load_probe_data(write(tmp_path / "p.jsonl", [{"anchor": "a", "positive": "b"}] * 2))
    assert (plain.kind, plain.gold, plain.threshold) == ("pairs", None, None)
    labelled = [{"text": f"t {i}", "emotion": "joy"} for i in range(2)]
    path = write(tmp_path / "l.jsonl", labelled)
    assert load_probe_data(path).kind == "texts"
    assert load_probe_data(path, columns={"label": "emotion"}).labels == ["joy", "joy"]
    lines = tmp_path / "t.txt"
    lines.write_text("one\ntwo\n")
    assert load_probe_data(str(lines)).texts == ["one", "two"]
    (tmp_path / "c.csv").write_text("text,label\nhello,x\nworld,y\n")
    assert load_probe_data(str(tmp_path / "c.csv")).labels == ["x", "y"]


def test_a_task_brings_its_range():
    data = load_probe_data("sample-pairs-dev")
    assert data.kind == "pairs"
    assert data.to_dict()["positives"] == "gold > 4 of 0..5"


def test_a_task_of_labelled_texts_brings_its_labels(tmp_path, monkeypatch):
    rows = [{"text": f"t {i}", "label": ["joy", "fear"][i % 2]} for i in range(4)]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    (tmp_path / "made_up.jsonl").write_bytes(content)
    about = DataFile("made_up.jsonl", hashlib.sha256(content).hexdigest(), rows=4)
    known = find_labelled("ISEAR")
    local = replace(known.local, test=about)
    monkeypatch.setenv("TEXTCL_DATA", str(tmp_path))
    monkeypatch.setattr(
        "textcl.probe.texts.named_task", lambda source: (replace(known, local=local), False)
    )
    data = load_probe_data("ISEAR")
    assert (data.source, data.kind) == ("ISEAR test", "labelled")
    assert data.labels == ["joy", "fear"] * 2
    several = find_labelled("GoEmotions-multilabel")
    monkeypatch.setattr("textcl.probe.texts.named_task", lambda source: (several, False))
    with pytest.raises(UserError, match="has several labels a text"):
        load_probe_data("ISEAR")


def test_bad_data_is_one_sentence(tmp_path):
    path = write(tmp_path / "x.jsonl", [{"body": "a"}, {"body": "b"}])
    with pytest.raises(
        UserError, match=r"has the columns body; a probe wants .*--column role=NAME"
    ):
        load_probe_data(path)
    (tmp_path / "one.txt").write_text("alone\n")
    with pytest.raises(UserError, match="has 1 text: a probe compares at least two"):
        load_probe_data(str(tmp_path / "one.txt"))
    with pytest.raises(UserError, match="no file or folder"):
        load_probe_data("no-such-thing")


def test_a_scale_that_cannot_be_guessed_is_asked_for(tmp_path):
    rows = [{"sentence1": "a", "sentence2": f"b {i}", "score": 10 * i} for i in range(4)]
    path = write(tmp_path / "g.jsonl", rows)
    with pytest.raises(UserError, match=r"gold scores from 0 to 30, .* --scale LOW\.\.HIGH"):
        load_probe_data(path)
    assert load_probe_data(path, scale=(0, 30)).threshold == 24
    for wrong in ("5", "5..0", "a..b", "nan..1"):
        with pytest.raises(UserError, match=r"such as 0\.\.5"):
            parse_scale(wrong)


def test_many_texts_are_sampled_pairs_together(tmp_path):
    rows = [{"sentence1": f"a {i}", "sentence2": f"b {i}", "score": i % 6} for i in range(50)]
    path = write(tmp_path / "g.jsonl", rows)
    data = load_probe_data(path, sample=20, seed=3)
    assert len(data.texts) == 20
    assert data.to_dict()["sampled"]
    for (first, second), gold in zip(data.pairs, data.gold, strict=True):
        number = int(data.texts[first].split()[1])
        assert data.texts[second] == f"b {number}"
        assert gold == number % 6
    assert load_probe_data(path, sample=20, seed=3).texts == data.texts
    assert load_probe_data(path, sample=20, seed=4).texts != data.texts
    assert not load_probe_data(path, sample=100).to_dict()["sampled"]


# the command


@pytest.fixture
def letters(monkeypatch):
    class Known:
        @staticmethod
        def from_pretrained(name, **_):
            return Letters()

    monkeypatch.setattr(probing, "Encoder", Known)


def run(*arguments):
    return CliRunner().invoke(APP, arguments, catch_exceptions=False)


def graded(tmp_path):
    rows = [
        {"sentence1": a, "sentence2": b, "score": s}
        for a, b, s in [("ab", "abb", 5), ("cd", "ab", 1), ("ade", "ad", 4.5), ("e", "a", 0)]
    ]
    return write(tmp_path / "graded.jsonl", rows)


def test_models_stand_side_by_side(tmp_path, letters):
    result = run("first", "second", "--data", graded(tmp_path), "-o", str(tmp_path / "p.json"))
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["first", "second"] in lines
    (uniform,) = [line for line in lines if line[:1] == ["uniformity"]]
    assert uniform[1] == uniform[2]
    assert not any(line[:1] == ["tolerance"] for line in lines)
    assert "gold 4 to 5 (2 pairs)" in result.stdout
    written = json.loads((tmp_path / "p.json").read_text())
    assert (written["kind"], written["format"], written["bins"]) == ("textcl-probe", 1, BINS)
    assert [model["model"] for model in written["models"]] == ["first", "second"]
    assert written["data"]["pairs"] == 4


def test_json_is_all_there_is_on_standard_output(tmp_path, letters):
    result = run("m", "--data", graded(tmp_path), "--json")
    assert json.loads(result.stdout)["models"][0]["dimensions"] == 5


def test_whitening_on_the_target_or_on_a_file(tmp_path, letters):
    texts = tmp_path / "t.txt"
    texts.write_text("".join(f"{'a' * i}{'b' * (i % 3)}{'c' * (i % 4)}\n" for i in range(1, 20)))
    plain, target, file = (
        json.loads(run("m", "--data", str(texts), "--json", *more).stdout)["models"][0]
        for more in (
            (),
            ("--whiten", "target", "--components", "2"),
            ("--whiten", str(texts), "--components", "2"),
        )
    )
    assert (plain["dimensions"], target["dimensions"]) == (5, 2)
    assert target["uniformity"] == pytest.approx(file["uniformity"])
    assert (target["whitening"], file["whitening"]) == ("target", str(texts))
    assert target["uniformity"] < plain["uniformity"]


def test_what_cannot_be_done_is_said(tmp_path, letters):
    path = graded(tmp_path)
    for arguments, message in {
        ("m", "--data", path, "--whiten", "nowhere"): "there is no file nowhere",
        ("m", "--data", path, "--components", "2"): "--components goes with --whiten",
        ("m", "--data", path, "-o", path): "exists already",
        ("m", "--data", path, "--before"): "is no run",
        ("m", "--data", path, "--column", "text"): "expected --column ROLE=NAME",
    }.items():
        with pytest.raises(UserError, match=message):
            run(*arguments)


def test_before_and_after_of_a_run(tmp_path):
    model = str(tiny_model_dir(tmp_path / "model"))
    data = [f"sentence {word} {i}" for i, word in enumerate("a b c d e f g h".split())]  # noqa: SIM905
    textcl.train(
        "unsup-simcse", model=model, data=data, dev="", output=tmp_path / "run",
        settings=["batch_size=4", "steps=2", "learning_rate=1e-2", "pooling=mean", "head=none"],
    )  # fmt: skip
    lines = tmp_path / "t.txt"
    lines.write_text("\n".join(data) + "\n")
    found = probing.probe_models([str(tmp_path / "run")], str(lines), before=True)
    first, second = found.models
    assert first.model == f"{tmp_path / 'run'}, before"
    assert first.uniformity != second.uniformity
    start = embed(textcl.Encoder.from_pretrained(model, pooling="mean"), data)
    assert first.mean_cosine == pytest.approx(spectrum(start).mean_cosine, abs=1e-3)
