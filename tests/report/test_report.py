"""What a report holds, what it leaves out and says so, and that the user's texts stay texts."""

import json
import math
import re
import shutil
import sys
from html.parser import HTMLParser

import numpy as np
import pyarrow.parquet
import pytest
import torch
from report_runs import NASTY, classifier_run, encoder_run

import textcl.cli
from textcl.encoder.encoder import Encoder
from textcl.errors import RunError, UserError
from textcl.evaluation.geometry import alignment, uniformity
from textcl.evaluation.labelled import find_labelled
from textcl.figures.curves import curves, mean_of, ridges
from textcl.figures.space import LABELS, OTHER, groups
from textcl.probe.maps import pca_map, umap_map
from textcl.probe.measure import counts
from textcl.probe.neighbours import distinct, drawn, nearest
from textcl.report.page import Document
from textcl.report.runs import open_all, open_run
from textcl.report.training import thin, trajectory, uniformity_of
from textcl.report.write import ReportOptions, write_report

PCA = ReportOptions(maps=("pca",))


class Page(HTMLParser):
    """What a browser would make of a page: text, elements, and the content of scripts by id."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.words, self.elements, self.scripts, self.inside = [], [], {}, None
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.inside = (tag, dict(attrs).get("id", "")) if tag in ("script", "style") else None

    def handle_endtag(self, tag):
        self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.scripts[self.inside] = self.scripts.get(self.inside, "") + data
        else:
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))

    def data(self, figure):
        return json.loads(self.scripts["script", f"figure-{figure}"])

    def rows(self, figure):
        """All rows of data of a figure."""
        return [row for values in values_of(self.data(figure)) for row in values]

    def ids(self, tag):
        return [attrs["id"] for name, attrs in self.elements if name == tag and "id" in attrs]


def values_of(spec):
    """Every list of data in a specification."""
    found = [spec["values"]] if isinstance(spec, dict) and "values" in spec else []
    inner = spec.values() if isinstance(spec, dict) else spec if isinstance(spec, list) else []
    return [
        *(values for values in found if values and isinstance(values[0], dict)),
        *(values for each in inner for values in values_of(each)),
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return encoder_run(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def classes(tmp_path_factory):
    return classifier_run(tmp_path_factory.mktemp("classifier"))


@pytest.fixture(scope="module")
def page(run, tmp_path_factory):
    output = tmp_path_factory.mktemp("page") / "report.html"
    write_report([run], output, PCA)
    return Page(output.read_text())


def report(paths, tmp_path, options=PCA, **more):
    output = tmp_path / "report.html"
    write_report(paths, output, options, **more)
    return Page(output.read_text())


def copied(run, tmp_path):
    """The run, to change its files."""
    target = tmp_path / "copy"
    shutil.copytree(run, target)
    return target


def rewrite(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_a_report_has_every_part(page):
    assert page.ids("section") == [
        "results", "training", "scores", "space", "map", "neighbours", "data", "settings",
    ]  # fmt: skip
    assert set(page.ids("figure")) == {
        "dev", "loss", "learning-rate", "gradient-norm", "rows-per-second", "ridges", "trajectory", "score-means",
        "effective-negatives", "gradient-weight", "dimensions", "spectrum", "cosines", "gold", "uniformity",
        "pca-before-training", "pca-after-training",
    } | (set(page.ids("figure")) & {"saturated", "masked"})  # fmt: skip
    assert len([tag for tag, _ in page.elements if tag == "h1"]) == 1
    tables = [tag for tag, _ in page.elements].count("table")
    assert [tag for tag, _ in page.elements].count("caption") == tables >= 6


def test_every_figure_has_a_title_and_a_text_alternative(page):
    assert [tag for tag, _ in page.elements].count("h3") >= len(page.ids("figure"))
    for name in page.ids("figure"):
        spec = page.data(name)
        assert len(spec["description"]) > 20
        assert spec["description"] in " ".join(page.words)
        assert spec["width"] == "container"
        assert "title" not in spec  # it is a heading, which can wrap


def test_nothing_is_loaded_and_no_text_of_the_user_is_markup(page):
    assert page.ids("script") == [
        *(f"figure-{name}" for name in page.ids("figure")), "themes", "vega",
    ]  # fmt: skip
    for tag, attributes in page.elements:
        assert tag not in ("img", "link", "iframe", "i", "b") or attributes == {}
        assert not {"src", "onerror"} & set(attributes)
        assert attributes.get("href", "#").startswith("#")
    assert NASTY in " ".join(page.words)
    assert "run <i>&" in page.text
    texts = [row["text"] for row in page.rows("pca-after-training")]
    assert NASTY in texts


def test_scores_stand_with_their_protocol_and_seed(page, run):
    scores = json.loads((run / "scores.json").read_text())
    for key in ("before", "best"):
        assert f"{scores[key]:.2f}" in page.text
    assert f"Scores on dev: {scores['protocol']}" in page.text
    assert "seed 0" in page.text


def test_scores_of_rows_left_out_in_turn_stand_under_their_own_protocol(run, tmp_path):
    part = copied(run, tmp_path)
    rewrite(part / "settings.json", lambda facts: facts.update(dev=None))
    rewrite(part / "scores.json", lambda scores: scores.update(protocol="45 rows left out"))
    text = report([part], tmp_path).text
    assert "Scores on 45 rows left out" in text
    assert "has no dev set" not in text


def test_data_facts_name_duplicates_and_what_is_cut(page):
    assert "3 (kept)" in page.text
    assert re.search(r"[1-9] of 45 texts \([\d.]+%\) are cut at 16 tokens", page.text)


def test_dev_curve_begins_with_the_model_before(page, run):
    record = open_run(run)
    points = record.dev_scores()
    assert [step for step, _ in points] == [0, 4, 8]
    drawn = page.rows("dev")
    assert [row["step"] for row in drawn] == [step for step, _ in points]
    assert [row["value"] for row in drawn] == pytest.approx(
        [score for _, score in points], rel=1e-5
    )


def test_a_classifier_report_shows_its_confusions(classes, tmp_path):
    page = report([classes], tmp_path)
    assert {"confusion", "calibration"} <= set(page.ids("figure"))
    cells = page.rows("confusion")
    assert sum(cell["rows"] for cell in cells) == 20
    assert '<b>"one"</b>' in page.text
    assert "dev.jsonl, which also selected the weights" in page.text
    rows = page.rows("pca-after-training")
    assert {"label", "group", "text"} <= set(rows[0])
    assert "Neighbours that share the text's label" in page.text


def test_texts_that_are_given_did_not_select_the_weights(classes, tmp_path):
    data = str(classes.parent / "train.jsonl")
    page = report([classes], tmp_path, ReportOptions(maps=("pca",), data=data))
    assert "train.jsonl, which did not select the weights" in page.text


def test_held_out_rows_are_shown_where_dev_was_a_share(classes, tmp_path):
    run = copied(classes, tmp_path)
    rewrite(run / "settings.json", lambda facts: facts["settings"].update(dev="0.25"))
    page = report([run], tmp_path)
    assert re.search(r"\d+ texts of \d+ of \d+ rows \(2\d\.\d %\), .*, held out", page.text)


def test_several_runs_share_their_figures(run, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(run, other)
    page = report([run, other], tmp_path)
    rows = page.rows("loss")
    assert {row["series"] for row in rows} == {"run <i>&", "other"}
    names = [row["model"] for row in page.rows("spectrum")]
    assert list(dict.fromkeys(names)) == ["bert, before training", "run <i>&", "other"]


def test_an_unfinished_run_is_shown_as_far_as_it_came(run, tmp_path):
    part = copied(run, tmp_path)
    (part / "scores.json").unlink()
    shutil.rmtree(part / "best")
    lines = (part / "metrics.jsonl").read_text().splitlines()
    (part / "metrics.jsonl").write_text("\n".join(lines[:3]) + '\n{"step": 4, "lo')
    page = report([part], tmp_path)
    assert "copy is not finished: the report shows it as of update 3 of 8" in page.text
    assert "after training is left out: the run has saved no weights yet" in page.text
    assert "pca-before-training" in page.ids("figure")
    assert "loss" in page.ids("figure")
    assert "dev" not in page.ids("figure")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda facts: facts.update(dev=None), "has no dev set"),
        (lambda facts: facts["settings"].update(model="/nowhere/model"), "before training is left out: /nowhere"),
        (
            lambda facts: (facts["settings"].update(data="", dev=""), facts.update(dev=None)),
            "there are no texts to show them on: the run was trained on rows in memory",
        ),
        (
            lambda facts: facts["data"].update(sha256="0" * 64),
            "is no longer known: the data in corpus.txt changed since the run",
        ),
    ],
)  # fmt: skip
def test_what_is_missing_is_left_out_with_a_sentence(run, tmp_path, change, said):
    part = copied(run, tmp_path)
    rewrite(part / "settings.json", change)
    if json.loads((part / "settings.json").read_text())["dev"] is None:
        rewrite(part / "scores.json", lambda scores: scores.update(protocol=None))
    assert said in report([part], tmp_path).text


def test_a_log_without_statistics_is_said_to_have_none(run, tmp_path):
    part = copied(run, tmp_path)
    lines = [json.loads(line) for line in (part / "metrics.jsonl").read_text().splitlines()]
    plain = [{k: v for k, v in line.items() if "/" not in k} for line in lines]
    (part / "metrics.jsonl").write_text("\n".join(map(json.dumps, plain)) + "\n")
    page = report([part], tmp_path)
    assert "logged no statistics of scores" in page.text
    assert not {"ridges", "trajectory", "score-means"} & set(page.ids("figure"))


def test_a_run_with_one_logged_update_has_a_sentence_and_no_chart_of_one_dot(run, tmp_path):
    part = copied(run, tmp_path)
    lines = [json.loads(line) for line in (part / "metrics.jsonl").read_text().splitlines()]
    first = next(line for line in lines if "loss" in line)
    (part / "metrics.jsonl").write_text(json.dumps(first) + "\n")
    page = report([part], tmp_path)
    assert (
        "A curve needs two logged updates, and one was logged of copy (update 1: loss" in page.text
    )
    drawn = set(page.ids("figure"))
    assert not drawn & {"dev", "loss", "learning-rate", "score-means", "trajectory", "dimensions"}
    assert {"ridges", "spectrum"} <= drawn  # histograms of one update are worth a look


def test_ticks_of_a_curve_have_the_digits_that_tell_them_apart():
    near = curves({"a": [(1, 2.30001), (2, 2.30004)]}, "Loss", "loss", form=".2f").to_dict()
    axis = near["layer"][0]["encoding"]["y"]["axis"]
    assert "format" not in axis
    share = curves({"a": [(1, 0.001), (2, 0.004)]}, "Share", "share", form=".0~%").to_dict()
    assert share["layer"][0]["encoding"]["y"]["axis"]["format"] == "~%"


def test_a_tile_says_what_got_worse(run, tmp_path):
    part = copied(run, tmp_path)
    rewrite(part / "scores.json", lambda scores: scores.update(before=99.0, best=98.0))
    source = (tmp_path / "report.html", report([part], tmp_path))[0].read_text()
    assert re.search(
        r'<div class="worse"><dt>dev score</dt><dd><b>99.00 → 98.00</b><span><em>worse</em>', source
    )
    assert '<div class="worse"><dt>mean cosine' not in source


def test_no_figures_leave_no_folder(tmp_path, monkeypatch):
    folder = tmp_path / "sweep"
    folder.mkdir()
    content = {**sweep(), "table": []}
    (folder / "sweep.json").write_text(json.dumps(content))
    report([folder], tmp_path, figures=tmp_path / "figures")
    assert not (tmp_path / "figures").exists()
    (folder / "sweep.json").write_text(json.dumps(sweep()))

    def full(*_):
        raise RunError("the disk is full")

    monkeypatch.setattr("textcl.report.write.save", full)
    with pytest.raises(RunError, match="full"):
        report([folder], tmp_path, figures=tmp_path / "figures")
    assert not (tmp_path / "figures").exists()


def test_training_that_did_not_help_is_said(run, tmp_path):
    part = copied(run, tmp_path)
    rewrite(part / "scores.json", lambda scores: scores.update(before=99.0, best=98.0))
    assert "Training did not help copy on this dev set" in report([part], tmp_path).text


def test_numbers_that_are_not_finite_do_not_break_the_page(run, tmp_path):
    part = copied(run, tmp_path)
    text = (part / "metrics.jsonl").read_text()
    text = re.sub(r'"grad_norm": [^,]+', '"grad_norm": NaN', text, count=1)
    (part / "metrics.jsonl").write_text(text)
    page = report([part], tmp_path)
    assert len(page.rows("gradient-norm")) == 7


def test_a_recipe_that_a_folder_names_is_not_executed(run, tmp_path, monkeypatch):
    part, evil = copied(run, tmp_path), tmp_path / "my_transform.py"
    evil.write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    for name in (str(evil), evil.name):
        rewrite(part / "settings.json", lambda facts, name=name: facts.update(recipe=name))
        page = report([part], tmp_path)
        assert not (tmp_path / "executed").exists()
        assert "my_transform.py" in page.text
        assert "trajectory" in page.ids("figure")  # what the log holds counts, not the name
        assert "are cut at 16 tokens" in page.text


def test_scores_that_are_no_cosines_have_no_path_between_alignment_and_uniformity(run, tmp_path):
    part = copied(run, tmp_path)
    lines = [json.loads(line) for line in (part / "metrics.jsonl").read_text().splitlines()]
    mixed = [{**line, "scores/cosines": 0.0} if "loss" in line else line for line in lines]
    (part / "metrics.jsonl").write_text("\n".join(map(json.dumps, mixed)) + "\n")
    assert trajectory(open_run(part)) == []
    page = report([part], tmp_path)
    assert "trajectory" not in page.ids("figure")
    assert "it is made of score statistics of cosines" in page.text


def test_a_sweep_has_its_table_and_curves(tmp_path):
    folder = tmp_path / "sweep"
    folder.mkdir()
    (folder / "sweep.json").write_text(json.dumps(sweep()))
    page = report([folder], tmp_path, figures=tmp_path / "figures")
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {
        f"{name}.{ending}" for name in page.ids("figure") for ending in ("svg", "png")
    }
    assert "<path" in (tmp_path / "figures" / "sweep-sweep-score.svg").read_text()
    assert {"sweep-sweep-score", "sweep-sweep-uniformity", "sweep-sweep-plane"} <= set(
        page.ids("figure")
    )
    assert "71.50" in page.text
    assert "3 of 4 runs are finished; failed: r/temperature=0.5/seed-1" in page.text


def sweep():
    def number(mean):
        return {"mean": mean, "sd": 0.1, "n": 2}

    table = [
        {
            "recipe": "r", "settings": {"temperature": t}, "scores": {}, "n": 2, "mean": mean, "sd": 0.2,
            "probes": {"labelled": {"uniformity": number(-float(t)), "tolerance": number(float(t))}},
        }
        for t, mean in (("0.05", 71.5), ("0.5", 60.0))
    ]  # fmt: skip
    cells = [
        {
            "name": f"r/temperature={t}/seed-{seed}",
            "status": "failed" if (t, seed) == ("0.5", 1) else "finished",
        }
        for t in ("0.05", "0.5")
        for seed in (0, 1)
    ]
    plan = {"seeds": [0, 1]}
    return {
        "kind": "textcl-sweep",
        "format": 1,
        "plan": plan,
        "cells": cells,
        "table": table,
        "tests": [],
    }


def test_an_atlas_holds_the_texts_and_their_neighbours(run, tmp_path, monkeypatch):
    monkeypatch.setattr("textcl.report.atlas.has_umap", lambda: False)
    report([run], tmp_path, atlas=tmp_path / "atlas.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "atlas.parquet").to_pylist()
    assert {"text", "x", "y", "neighbors"} <= set(table[0])
    texts = [row["text"] for row in table]
    assert len(set(texts)) == len(texts)
    vectors = Encoder.from_pretrained(run).encode(texts, normalize=True, precision="float32")
    for place, row in enumerate(table):
        cosines = vectors @ vectors[place]
        assert row["neighbors"]["ids"][0] == place
        order = row["neighbors"]["ids"][1:]
        assert len(set(order)) == len(order) == 15
        np.testing.assert_allclose(row["neighbors"]["distances"][1:], 1 - cosines[order], atol=1e-5)
        assert (np.diff(row["neighbors"]["distances"][1:]) >= 0).all()


def test_a_large_map_is_sampled_with_a_seed_and_says_so(run, tmp_path):
    page = report([run], tmp_path, ReportOptions(maps=("pca",), points=6, seed=3))
    assert len(page.rows("pca-after-training")) == 6
    assert re.search(r"6 of \d+ texts, drawn with seed 3", page.text)


def test_an_older_report_stays_when_a_new_one_fails(run, tmp_path, monkeypatch):
    (tmp_path / "report.html").write_text("old")

    def broken(self):
        raise RuntimeError

    monkeypatch.setattr(Document, "render", broken)
    with pytest.raises(RuntimeError):
        report([run], tmp_path)
    assert (tmp_path / "report.html").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def command(monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", ["textcl", "report", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        textcl.cli.main()
    out, err = capsys.readouterr()
    return stopped.value.code or 0, out, err


def test_help_has_examples_and_names_the_extra(monkeypatch, capsys):
    code, out, _ = command(monkeypatch, capsys, "--help")
    assert code == 0
    assert "textcl report runs/mine" in out
    assert "extra report" in out.replace("`", "")


def test_bad_input_is_one_sentence(run, tmp_path, monkeypatch, capsys):
    output = tmp_path / "a.html"
    output.write_text("old")
    for arguments, said in (
        ((tmp_path / "none",), "there is no run in"),
        ((tmp_path, "-o", tmp_path / "b.html"), "has no settings.json"),
        ((run / "best", "-o", tmp_path / "b.html"), "is a part of the run"),
        ((run, run, "-o", tmp_path / "b.html"), "is given twice"),
        ((run, "-o", output), "exists already"),
        ((run, "-o", tmp_path / "b.pdf"), "a report is an HTML page"),
        ((run, "-o", tmp_path / "b.html", "--data", "nowhere.jsonl"), "there is no file"),
        ((run, "-o", tmp_path / "b.html", "--suite", "nothing"), "nothing"),
        (
            (run, "-o", tmp_path / "b.html", "--column", "label=x"),
            "--column and --split describe --data",
        ),
    ):
        code, _, err = command(monkeypatch, capsys, *arguments)
        assert code == 2, err
        assert said in err
        assert err.count("\n") == 1
    assert output.read_text() == "old"
    assert not (tmp_path / "b.html").exists()


def test_a_broken_line_of_the_log_is_named(run, tmp_path):
    part = copied(run, tmp_path)
    text = (part / "metrics.jsonl").read_text()
    (part / "metrics.jsonl").write_text("{oops\n" + text)
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 1, column 2: expected JSON"):
        open_run(part)


def test_missing_extras_are_told_before_any_work(run, tmp_path, monkeypatch):
    monkeypatch.setattr("textcl.report.write.has_umap", lambda: False)
    with pytest.raises(UserError, match=r"pip install 'textcl-train\[umap\]'"):
        report([run], tmp_path, ReportOptions(maps=("umap",)))
    monkeypatch.setitem(sys.modules, "altair", None)
    with pytest.raises(UserError, match=r"pip install 'textcl-train\[report\]'"):
        report([tmp_path / "no run at all"], tmp_path)


def test_labels_of_runs_tell_them_apart(run, tmp_path):
    for folder in ("a", "b"):
        shutil.copytree(run, tmp_path / folder / "run")
    runs, _ = open_all([tmp_path / "a" / "run", tmp_path / "b" / "run"])
    assert [run.label for run in runs] == ["a/run", "b/run"]


def test_uniformity_from_a_histogram_is_that_of_the_cosines():
    g = torch.Generator().manual_seed(0)
    units = torch.nn.functional.normalize(
        torch.randn((300, 12), generator=g, dtype=torch.float64) + 0.4, dim=-1
    )
    cosines = (units @ units.T)[tuple(torch.triu_indices(300, 300, 1))]
    exact = math.log(float(torch.exp(-2 * (2 - 2 * cosines)).mean()))
    assert uniformity_of(counts(cosines.float())) == pytest.approx(exact, abs=1e-2)
    assert float(uniformity(units)) == pytest.approx(exact, abs=1e-9)


def test_alignment_is_two_minus_twice_the_mean_cosine(run):
    g = torch.Generator().manual_seed(0)
    x, y = torch.nn.functional.normalize(
        torch.randn((2, 20, 5), generator=g, dtype=torch.float64), dim=-1
    )
    assert float(alignment(x, y)) == pytest.approx(2 - 2 * float((x * y).sum(1).mean()))
    record = open_run(run)
    line = record.updates[0]
    step, _, value = trajectory(record)[0]
    assert (step, value) == (line.step, 2 - 2 * line.numbers["scores/positive_mean"])


def test_neighbours_are_those_of_a_plain_loop():
    draw = np.random.default_rng(0)
    units = draw.standard_normal((30, 4))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    places, cosines = nearest(units, np.array([3, 17]), 5)
    for row, query in enumerate((3, 17)):
        others = sorted(
            (k for k in range(30) if k != query), key=lambda k: -units[k] @ units[query]
        )
        assert places[row].tolist() == others[:5]
        np.testing.assert_allclose(cosines[row], units[others[:5]] @ units[query])
    assert nearest(units[:3], np.arange(3), 5)[0].shape == (3, 2)


def test_a_pca_map_keeps_its_orientation_and_tells_its_variance():
    draw = np.random.default_rng(0)
    units = draw.standard_normal((40, 6)) * [5, 3, 1, 1, 1, 1]
    found, mirrored = pca_map(units), pca_map(-units)
    centred = units - units.mean(0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    for axis in (0, 1):
        own = centred @ vectors[:, -1 - axis]
        assert abs(np.corrcoef(own, found.points[:, axis])[0, 1]) == pytest.approx(1)
    np.testing.assert_allclose(mirrored.points, -found.points, atol=1e-9)
    shares = values[::-1] / values.sum()
    assert f"{shares[0]:.1%} and {shares[1]:.1%}" in found.how


def test_draws_thinning_and_groups():
    assert drawn(5, 9, 0).tolist() == [0, 1, 2, 3, 4]
    assert drawn(100, 9, 1).tolist() == drawn(100, 9, 1).tolist() != drawn(100, 9, 2).tolist()
    assert thin(list(range(101)), 5) == [0, 25, 50, 75, 100]
    assert thin([1, 2], 5) == [1, 2]
    assert distinct(["a", "b", "a", "c"]).tolist() == [0, 1, 3]
    few = [str(k) for k in range(LABELS)]
    assert groups([*few, "3"])[0] == "3"
    assert len(groups(few)) == LABELS
    many = [str(k) for k in range(LABELS + 1)]
    assert groups([*many, "5"]) == [
        "5",
        *[name for name in many if name != "5"][: LABELS - 2],
        OTHER,
    ]


def test_ridges_say_how_the_means_moved():
    rows = [
        ("0", {"positives": [0, 0, 0, 4], "negatives": [4, 0, 0, 0]}),
        ("9", {"positives": [0, 0, 4, 0]}),
    ]
    chart = ridges(rows, "Scores", side="update").to_dict()
    assert "Mean of positives: 0.75 (0), 0.25 (9)" in chart["description"]
    assert mean_of([0, 0, 0, 0]) is None


@pytest.mark.slow
def test_a_umap_follows_from_its_seed():
    pytest.importorskip("umap", reason="the extra umap is not installed", exc_type=ImportError)
    units = np.random.default_rng(0).standard_normal((60, 5)).astype(np.float32)
    one, same, other = (umap_map(units, seed).points for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.allclose(one, other)


def test_a_run_on_a_named_task_is_shown_on_its_dev_split(classes, tmp_path, monkeypatch):
    class Task:
        texts, labels, multi_label = (
            ["eat food", "run ball", "city man", "old food"],
            list("abca"),
            False,
        )

        def rows(self):
            return [
                {"text": text, "label": label}
                for text, label in zip(self.texts, self.labels, strict=True)
            ]

    asked = []

    def load(task, split, *, lcl_preparation):
        asked.append((task, split, lcl_preparation))
        return Task()

    task = find_labelled("ISEAR")
    for module in ("textcl.report.texts", "textcl.training.request"):
        monkeypatch.setattr(
            f"{module}.named_task", lambda name: (task, True) if "Toy" in str(name) else None
        )
        monkeypatch.setattr(f"{module}.load_labelled", load)
    run = copied(classes, tmp_path)
    rewrite(
        run / "settings.json", lambda facts: facts["settings"].update(data="Toy:lcl", dev="Toy:lcl")
    )
    page = report([run], tmp_path)
    assert "4 texts of Toy:lcl, dev" in page.text
    assert asked == [(task, "dev", True), (task, "train", True)]
    assert "the data in Toy:lcl changed since the run" in page.text
    assert "no confusion matrix" in page.text  # labels that the classifier does not know
