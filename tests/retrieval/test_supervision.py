"""Training on pairs: prompts and lengths by role, short lists, drawn positives, dev by retrieval, exact resume."""

from __future__ import annotations

import io
import json
import shutil

import pytest
import torch
from families import tiny_encoder
from recipe_rows import WORDS
from rich.console import Console
from safetensors.torch import load_file
from training_runs import crash_at

from textcl import Encoder
from textcl.errors import UserError
from textcl.report.runs import open_run
from textcl.report.texts import shown_texts
from textcl.retrieval.dev import dev_of_folder, dev_of_pairs, is_beir
from textcl.training.session import resume, train

SETTINGS = {"batch_size": 6, "max_length": 16, "log_every": 1, "learning_rate": 1e-3}


def text(number):
    return f"{WORDS[number % 15]} {WORDS[(3 * number + 1) % 15]} {WORDS[(7 * number + 2) % 15]}"


def listed(count=24):
    """Rows with one to three positives and none to two negatives."""
    return [
        {
            "anchor": f"{text(i)} {WORDS[i % 13]}",
            "positives": [text(40 + 3 * i + k) for k in range(1 + i % 3)],
            "negatives": [text(200 + 2 * i + k) for k in range(i % 3)],
        }
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("start") / "model"
    tiny_encoder(layers=2, pooling="mean").save_pretrained(folder)
    return str(folder)


@pytest.fixture
def short_model(model, tmp_path):
    """A folder of sentence-transformers that reads less than its model could."""
    folder = shutil.copytree(model, tmp_path / "short")
    for name in ("textcl.json", "textcl_parity.json"):
        (folder / name).unlink()
    limits = {"max_seq_length": 24, "do_lower_case": False}
    (folder / "sentence_bert_config.json").write_text(json.dumps(limits))
    return str(folder)


def run(rows, model, output, dev="", **settings):
    console = Console(file=io.StringIO(), width=400)
    done = train(
        "pairs", model=model, data=rows, dev=dev, output=output,
        settings={**SETTINGS, **settings}, console=console,
    )  # fmt: skip
    return done, console.file.getvalue()


def losses(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines if '"loss"' in line]


def assert_same_weights(left, right):
    whole, again = (load_file(folder / "last/model.safetensors") for folder in (left, right))
    assert all(torch.equal(whole[key], again[key]) for key in whole)


def test_prompts_and_lengths_of_roles_are_kept_with_the_model(short_model, tmp_path):
    _, shown = run(
        listed(), short_model, tmp_path / "run", steps=1,
        anchor_prompt="find ", positive_prompt="read ", positive_length=40, anchor_length=8,
    )  # fmt: skip
    saved = Encoder.from_pretrained(tmp_path / "run/best")
    assert saved.prompts == {"query": "find ", "document": "read "}
    assert saved.default_prompt is None
    assert saved.max_length == 40
    assert "'find ' in front of anchor, 'read ' in front of positive, negative_1" in shown
    assert "are cut at 8 tokens" in shown
    assert "are cut at 40 tokens" in shown
    config = json.loads((tmp_path / "run/best/config_sentence_transformers.json").read_text())
    assert config["prompts"] == saved.prompts


def test_prompt_of_one_role_leaves_the_other_without(model, tmp_path):
    run(listed(), model, tmp_path / "run", steps=1, anchor_prompt="find ")
    assert Encoder.from_pretrained(tmp_path / "run/best").prompts == {
        "query": "find ",
        "document": "",
    }


def test_too_long_positives_are_refused_before_training(model, tmp_path):
    with pytest.raises(UserError, match="max_length=999 does not fit the model"):
        run(listed(), model, tmp_path / "run", positive_length=999)


def test_chunks_change_nothing(model, tmp_path):
    for chunk in (0, 2):
        run(
            listed(), model, tmp_path / str(chunk), steps=2, precision="fp32",
            directions="four", chunk_size=chunk, mask_margin="relative:0.01", dropout=0.0,
        )  # fmt: skip
    assert losses(tmp_path / "2") == pytest.approx(losses(tmp_path / "0"), rel=1e-4)


def test_a_crashed_run_goes_on_with_the_same_drawn_positives(model, tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in listed()))
    settings = {"steps": 5, "save_every": 2}
    run(str(path), model, tmp_path / "whole", dev="0.2", **settings)
    with monkeypatch.context() as patch:
        crash_at(patch, 4)
        with pytest.raises(ConnectionError):
            run(str(path), model, tmp_path / "crashed", dev="0.2", **settings)
    resume(tmp_path / "crashed", console=Console(file=io.StringIO()))
    assert_same_weights(tmp_path / "whole", tmp_path / "crashed")


@pytest.mark.parametrize("recipe", ["triplets", "distill-scores"])
def test_a_loss_of_negatives_alone_refuses_data_without_one(recipe, model, tmp_path):
    rows = [
        {"anchor": f"{text(i)}", "positive": text(40 + i), "negative": "", "scores": [1.0]}
        for i in range(8)
    ]
    with pytest.raises(UserError, match=r"this recipe learns from negatives .* no row has one"):
        train(recipe, model=model, data=rows, dev="", output=tmp_path / "a", settings=SETTINGS)
    rows = [
        {"anchor": text(i), "positive": text(40 + i), "negative": text(i + 1)} for i in range(8)
    ]
    if recipe == "triplets":
        settings = {**SETTINGS, "negatives": 0}
        with pytest.raises(UserError, match="and the setting negatives is 0"):
            train(recipe, model=model, data=rows, dev="", output=tmp_path / "a", settings=settings)


def test_negatives_are_cut_to_what_is_asked_for(model, tmp_path):
    _, shown = run(listed(), model, tmp_path / "run", steps=1, negatives=1)
    assert "in-batch 5, hard 6" in shown
    _, shown = run(listed(), model, tmp_path / "all", steps=1)
    assert "in-batch 5, hard 12" in shown


@pytest.fixture
def beir(tmp_path):
    folder = tmp_path / "beir"
    (folder / "qrels").mkdir(parents=True)
    corpus = [{"_id": f"d{i}", "title": "", "text": text(i)} for i in range(12)]
    queries = [{"_id": f"q{i}", "text": text(i)} for i in range(3)]
    for name, rows in (("corpus", corpus), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lines = "".join(f"q{i}\td{i}\t1\n" for i in range(3))
    (folder / "qrels/dev.tsv").write_text(f"query-id\tcorpus-id\tscore\n{lines}")
    (folder / "qrels/test.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td3\t1\n")
    return folder


def test_folder_of_judged_queries_selects_the_weights(beir, model, tmp_path):
    assert is_beir(str(beir))
    _, shown = run(listed(), model, tmp_path / "run", dev=str(beir), steps=2, evaluate_every=1)
    assert (
        "beir, dev, nDCG@10 × 100 by the model's similarity, float32, 3 queries, 12 passages"
        in shown
    )
    before = json.loads((tmp_path / "run/scores.json").read_text())
    assert before["protocol"].startswith("beir, dev, nDCG@10")
    # each query is the text of its document: the best possible score
    assert dev_of_folder(str(beir))(Encoder.from_pretrained(model)) == pytest.approx(100)


def test_judgements_of_the_test_are_said_to_be_such(beir):
    (beir / "qrels/dev.tsv").unlink()
    assert "no test score" in dev_of_folder(str(beir)).note
    (beir / "qrels/other.tsv").write_text("query-id\tcorpus-id\tscore\nq0\td3\t1\n")
    with pytest.raises(UserError, match="name those that select the weights"):
        dev_of_folder(str(beir))


def test_held_out_pairs_look_for_all_their_positives(model, tmp_path):
    _, shown = run(listed(), model, tmp_path / "run", dev="0.25", steps=1)
    assert "6 of 24 rows (25.0 %), held out, nDCG@10" in shown
    from textcl.data.rows import load_rows

    rows = load_rows(listed(), roles=("anchor", "positives"))
    held, kept = rows.take([2, 5]), rows.take([0, 1, 3, 4])
    dev = dev_of_pairs(held, kept, "held", 0)
    assert len(dev.queries) == 2
    assert sum(map(len, dev.qrels.values())) == 6
    assert len(dev.corpus) >= 6
    assert all(document in dev.corpus for grades in dev.qrels.values() for document in grades)


def test_too_few_pairs_for_the_default_dev_are_told(model, tmp_path):
    console = Console(file=io.StringIO(), width=300)
    train(
        "pairs", model=model, data=[row | {"anchor": "the same"} for row in listed(6)],
        output=tmp_path / "run", settings={**SETTINGS, "steps": 1}, console=console,
    )  # fmt: skip
    assert "too few pairs to hold some of them out" in console.file.getvalue()


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_several_data_sets_come_by_weight_and_a_run_goes_on_with_them(model, tmp_path, monkeypatch):
    large = write(tmp_path / "large.jsonl", listed(30))
    plain = [{"anchor": f"q {text(i)}", "positive": text(i + 3)} for i in range(12)]
    small = write(tmp_path / "small.jsonl", plain)
    data = f"{large}=1 + {small}=3"
    settings = {"steps": 9, "save_every": 4}
    _, shown = run(data, model, tmp_path / "whole", **settings)
    assert "small.jsonl is 75.0% of the batches, each of its 12 rows comes 2.50 times" in shown
    assert "sources" in shown
    with monkeypatch.context() as patch:
        crash_at(patch, 6)
        with pytest.raises(ConnectionError):
            run(data, model, tmp_path / "crashed", **settings)
    resume(tmp_path / "crashed", console=Console(file=io.StringIO()))
    assert_same_weights(tmp_path / "whole", tmp_path / "crashed")


def test_report_shows_training_texts_where_pairs_were_held_out(model, tmp_path):
    plain = [{"anchor": f"q {text(i)}", "positive": text(i + 3)} for i in range(12)]
    path, other = (write(tmp_path / name, plain) for name in ("a.jsonl", "b.jsonl"))
    run(f"{path} + {other}", model, tmp_path / "run", steps=1, dev="0.2")
    shown = shown_texts(open_run(tmp_path / "run"), None, {}, None, 0)
    assert "a.jsonl" in shown.source
    assert len(shown.texts) > 12


def test_data_sets_without_weights_come_by_their_size(model, tmp_path):
    large = write(tmp_path / "large.jsonl", listed(24))
    small = write(tmp_path / "small.jsonl", listed(6))
    for name, settings, share in (("a", {}, "20.0%"), ("b", {"source_alpha": 0.5}, "33.3%")):
        _, shown = run(f"{large} + {small}", model, tmp_path / name, steps=1, **settings)
        assert f"small.jsonl is {share} of the batches" in shown
    _, shown = run(
        f"{large} + {small}", model, tmp_path / "c", steps=1, mixed_batches=True, dev="0.2"
    )
    assert "of each batch" in shown
