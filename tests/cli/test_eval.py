import json
import re
from dataclasses import replace

import numpy as np
import pytest
import typer
from families import tiny_model_dir
from typer.testing import CliRunner

from textcl.cli import eval as command
from textcl.cli import eval_encoder
from textcl.encoder.encoder import Encoder
from textcl.errors import UserError
from textcl.evaluation import tasks
from textcl.evaluation.benchmarks import evaluate
from textcl.evaluation.tasks import StsTask, manifests, suites

LOAD, LOAD_TASK = eval_encoder.load, tasks.load_task
APP = typer.Typer()
APP.command(epilog=command.EXAMPLES)(command.eval_command)


class Letters:
    def encode(self, texts, /):
        return np.array([[text.count(c) for c in "abcd"] for text in texts], dtype=np.float32)


def small(name):
    """A few pairs in place of a task's data, with its manifest."""
    first, second = ["ab", "abc", "aab", "dd", "cd"], ["abb", "c", "ddd", "d", "cc"]
    manifest = manifests()[name]
    if name == "STS16":
        manifest = replace(manifest, note="toy pairs, no [benchmark]")
    subsets = ["x", "x", "x", "y", "y"]
    gold = np.array([4.0, 2.0, 1.0, 3.0, 5.0])
    return StsTask(name, first, second, gold, subsets, manifest, "here")


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """No real model and no real data; what the model was loaded with is in the list."""
    asked = []

    def load(*arguments):
        asked.append(arguments)
        return Letters()

    monkeypatch.setattr(eval_encoder, "load", load)
    monkeypatch.setattr(tasks, "load_task", small)
    return asked


def run(*arguments):
    return CliRunner().invoke(APP, arguments, catch_exceptions=False)


def test_default_is_the_sts_suite_with_pairs_average_and_protocol():
    result = run("some/model[x]")
    lines = [re.split(r"\s{2,}", line.strip()) for line in result.stdout.splitlines()]
    assert ["model", "STS12", "STS13", "STS14", "STS15", "STS16", "STS-B", "SICK-R", "avg"] in lines
    assert ["pairs", *["5"] * 7] in lines
    assert ["some/model[x]", *["60.00"] * 8] in lines
    protocol = "senteval-all: Spearman x100 over the concatenated subsets, cosine, no regression"
    assert [protocol] in lines
    assert result.stdout.count("toy pairs, no [benchmark]") == 1


def test_time_and_speed_go_to_standard_error():
    result = run("m", "--task", "STS12")
    assert re.search(r"10 sentences in \d+\.\d s \([\d,]+ sentences/s\)", result.stderr)
    assert "sentences/s" not in result.stdout


def test_json_is_all_there_is_on_standard_output():
    result = run(
        "m", "--json", "--task", "STS12", "--task", "STSBenchmark-dev", "--beside", "simcse"
    )
    found = json.loads(result.stdout)
    assert (found["model"], found["precision"], found["aggregation"]) == ("m", "float32", "all")
    assert list(found["tasks"]) == ["STS12", "STSBenchmark-dev"]
    assert found["tasks"]["STS12"]["spearman"]["all"] == pytest.approx(60.0)
    assert found["tasks"]["STS12"]["pairs"] == 5
    assert list(found["protocols"]) == ["senteval-all", "stsb-dev"]
    assert {row["protocol"] for row in found["published"]} == {"senteval-all", "stsb-dev"}
    assert all(row["source"] for row in found["published"])


def test_tables_are_apart_where_protocols_differ():
    out = run("m", "--task", "STS12", "--task", "STSBenchmark-dev").stdout
    assert out.count("\n pairs ") == 2
    assert out.index("senteval-all:") < out.index("STS-B dev") < out.index("stsb-dev:")
    assert "avg" not in out


def test_published_rows_of_the_same_protocol_stand_below_ours():
    out = run("m", "--beside", "bert-base simcse", "--beside", "SimCSE unsup bert-base").stdout
    rows = [line for line in out.splitlines() if "SimCSE bert-base-uncased, unsup" in line]
    assert [row.split()[-8:] for row in rows if "50 seeds" not in row] == [
        ["68.40", "82.41", "74.38", "80.91", "78.56", "76.85", "72.23", "76.25"]
    ]
    (average_only,) = [line for line in out.splitlines() if "user run #246" in line]
    assert average_only.split()[-8:] == ["–"] * 7 + ["75.99"]
    assert out.index("m  ") < out.index("SimCSE bert-base-uncased")
    assert "sources of the published rows are in --json" in out


def test_weighted_mean_stands_beside_weighted_means_only():
    found = json.loads(run("m", "--json", "--aggregation", "wmean", "--beside", "bert-base").stdout)
    assert {row["protocol"] for row in found["published"]} == {"senteval-wmean"}
    assert found["tasks"]["STS12"]["spearman"]["all"] == pytest.approx(60.0)
    assert found["tasks"]["STS12"]["spearman"]["wmean"] == pytest.approx((3 * 100 - 2 * 100) / 5)
    assert found["average"] == pytest.approx(20.0)


def test_output_holds_the_json_and_is_not_overwritten_unasked(tmp_path, offline):
    path = tmp_path / "scores.json"
    printed = run("m", "--json", "--task", "STS13", "-o", str(path)).stdout
    assert path.read_text() == printed
    with pytest.raises(UserError, match=r"scores.json exists already: .* --overwrite"):
        run("m", "--task", "STS13", "-o", str(path))
    assert len(offline) == 1
    run("other", "--task", "STS13", "-o", str(path), "--overwrite")
    assert json.loads(path.read_text())["model"] == "other"
    assert [entry.name for entry in tmp_path.iterdir()] == ["scores.json"]


def test_suite_and_tasks_together_are_scored_once_each():
    found = json.loads(run("m", "--json", "--suite", "sts", "--task", "STS12").stdout)
    assert list(found["tasks"]) == suites()["sts"]


def test_model_folder_scores_as_its_encoder_does(tmp_path, monkeypatch):
    monkeypatch.setattr(eval_encoder, "load", LOAD)
    monkeypatch.setattr(tasks, "load_task", LOAD_TASK)
    folder = tiny_model_dir(tmp_path)
    arguments = [str(folder), "--json", "--task", "sample-pairs-dev", "--batch-tokens", "2000"]
    exact = json.loads(run(*arguments).stdout)["tasks"]["sample-pairs-dev"]
    encoder = Encoder.from_pretrained(folder)

    class Float32:
        def encode(self, texts, /):
            return encoder.encode(texts, precision="float32")

    expected = evaluate(Float32(), "sample-pairs-dev")["sample-pairs-dev"]
    assert exact["spearman"]["all"] == pytest.approx(expected, abs=1e-4)
    assert "smoke set" in exact["note"]
    fast = json.loads(run(*arguments, "--precision", "bfloat16").stdout)
    assert fast["precision"] == "bfloat16"
    assert fast["tasks"]["sample-pairs-dev"]["pearson"] != exact["pearson"]


def test_options_reach_the_model(offline):
    run("m", "--task", "STS12")
    run("m", "--task", "STS12", "--precision", "bfloat16", "--batch-tokens", "512")
    assert offline == [("m", "float32", None, False), ("m", "bfloat16", 512, False)]


def test_unknown_suite_or_task_fails_before_a_model_is_loaded(offline):
    with pytest.raises(UserError, match="called 'stss': did you mean sts"):
        run("m", "--suite", "stss")
    with pytest.raises(UserError, match="called 'STS17': did you mean STS1"):
        run("m", "--task", "STS17")
    assert offline == []


def test_wrong_choices_are_usage_errors():
    assert run("m", "--precision", "float8").exit_code == 2
    assert run("m", "--aggregation", "median").exit_code == 2
    assert run("m", "--batch-tokens", "0").exit_code == 2


def test_help_shows_examples():
    out = re.sub(r"\s+", " ", run("--help").stdout)
    assert "textcl eval RUN --task STSBenchmark-dev" in out
    assert "--beside" in out


def test_whitened_scores_say_so(tmp_path):
    plain = json.loads(run("m", "--task", "STS12", "--json").stdout)
    assert plain["whitening"] is None
    result = run("m", "--task", "STS12", "--whiten", "target", "--components", "4", "--json")
    white = json.loads(result.stdout)
    assert white["whitening"] == {"fitted_on": "target", "components": 4}
    assert white["average"] != plain["average"]
    texts = tmp_path / "texts.txt"
    texts.write_text(
        "".join(f"{'a' * (i % 5)}{'b' * (i % 3)}c{'d' * (i % 7)}\n" for i in range(40))
    )
    shown = run("m", "--task", "STS12", "--whiten", str(texts), "--components", "2").stdout
    assert "ours whitened, fitted on" in shown


def test_a_wrong_whitening_is_told_before_the_model_is_loaded(offline):
    with pytest.raises(UserError, match="there is no file nowhere"):
        run("m", "--task", "STS12", "--whiten", "nowhere")
    with pytest.raises(UserError, match="--components goes with --whiten"):
        run("m", "--task", "STS12", "--components", "3")
    assert offline == []
