import importlib
from dataclasses import dataclass
from typing import Any

import families
import numpy as np
import pytest
import torch
from datasets import Dataset, DatasetDict
from scipy.stats import spearmanr

from textcl.encoder.encoder import Encoder
from textcl.errors import UserError
from textcl.suites import MtebEncoder

TEXTS = ["a cat", "the dog sat on the mat", "a dog", "the cat and the dog"]


@dataclass
class Task:
    name: str = "Toy"
    type: str = "STS"


@pytest.fixture(scope="module")
def encoder():
    model = families.tiny_encoder()
    model.prompts = {"query": "the cat ", "passage": "a dog ", "Toy-query": "red ", "STS": "blue "}
    return model


@pytest.fixture(scope="module")
def folder(encoder, tmp_path_factory):
    place = tmp_path_factory.mktemp("model") / "mine"
    encoder.save_pretrained(place)
    return place


@pytest.mark.parametrize(
    ("task", "role", "prompt"),
    [
        (Task("Other", "Retrieval"), "query", "query"),
        (Task("Other", "Retrieval"), "document", "passage"),
        (Task("Other", "Retrieval"), None, ""),
        (Task(), "query", "Toy-query"),
        (Task(), "document", "STS"),
        (Task("Other"), None, "STS"),
    ],
)
def test_texts_get_the_prompt_of_the_task_or_of_their_role(encoder, task, role, prompt):
    batches = [{"text": TEXTS[:3]}, {"text": TEXTS[3:]}]
    vectors = MtebEncoder(encoder).encode(batches, task_metadata=task, prompt_type=role)
    assert np.array_equal(vectors, encoder.encode(TEXTS, prompt=prompt, precision="float32"))


def test_similarities_are_those_of_the_model(encoder):
    model, rows = MtebEncoder(encoder), encoder.encode(TEXTS)
    torch.testing.assert_close(
        model.similarity(rows, rows), torch.from_numpy(encoder.similarity(rows, rows))
    )
    pairs = model.similarity_pairwise(torch.from_numpy(rows), rows[::-1].copy())
    torch.testing.assert_close(pairs, model.similarity(rows, rows).flip(1).diagonal())


def test_another_model_under_the_same_name_has_another_revision(folder):
    first = MtebEncoder(folder).revision
    assert MtebEncoder(Encoder(folder), "me/model").revision == first
    again = Encoder(folder)
    again.prompts = {}
    assert MtebEncoder(again, "me/model").revision != first
    assert MtebEncoder(again, "me/model", "v2").revision == "v2"


def test_names_are_those_that_mteb_takes(encoder, folder):
    assert MtebEncoder(folder).name == "textcl/mine"
    with pytest.raises(UserError, match="a model \"organisation/model\", got 'mine'"):
        MtebEncoder(encoder, "mine")


def test_the_library_is_named_where_it_is_missing(encoder, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"install textcl-train\[mteb\]"):
        _ = MtebEncoder(encoder).mteb_model_meta


GOLD = [5.0, 1.0, 3.0, 0.5, 4.0, 2.0]
LEFT = ["a cat", "the dog", "a dog runs", "red ball", "the man", "a child eats"]
RIGHT = ["the cat", "red food", "a dog plays", "the city", "a man", "the dog eats"]


@pytest.fixture
def mteb(monkeypatch, tmp_path):
    monkeypatch.setenv("MTEB_CACHE", str(tmp_path / "cache"))
    return pytest.importorskip("mteb")


def about(mteb, name, kind, score):
    return mteb.TaskMetadata(
        name=name, type=kind, category="t2t", modalities=["text"], eval_splits=["test"], eval_langs=["eng-Latn"],
        main_score=score, description="Made for a test.", reference=None,
        dataset={"path": "none/none", "revision": "1"},
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore")
def test_mteb_gives_the_numbers_of_the_vectors(mteb, folder, encoder, tmp_path):
    graded: Any = importlib.import_module("mteb.abstasks.sts").AbsTaskSTS
    ranked: Any = importlib.import_module("mteb.abstasks.retrieval").AbsTaskRetrieval

    class Sts(graded):
        metadata = about(mteb, "LocalSts", "STS", "cosine_spearman")

        def load_data(self, *_, **__):
            rows = {"sentence1": LEFT, "sentence2": RIGHT, "score": GOLD}
            self.dataset = DatasetDict(test=Dataset.from_dict(rows))
            self.data_loaded = True

    class Search(ranked):
        metadata = about(mteb, "LocalSearch", "Retrieval", "ndcg_at_10")

        def load_data(self, *_, **__):
            documents = [{"id": f"d{n}", "text": text, "title": ""} for n, text in enumerate(RIGHT)]
            queries = [{"id": f"q{n}", "text": text} for n, text in enumerate(LEFT)]
            data = {
                "corpus": Dataset.from_list(documents),
                "queries": Dataset.from_list(queries),
                "relevant_docs": {f"q{n}": {f"d{n}": 1} for n in range(len(LEFT))},
                "top_ranked": None,
            }
            self.dataset = {"default": {"test": data}}
            self.data_loaded = True

    cache = mteb.ResultCache(tmp_path / "cache")
    result = mteb.evaluate(MtebEncoder(folder), [Sts(), Search()], cache=cache, co2_tracker=False)
    sts, search = (each.get_score() for each in result.task_results)
    sides = [encoder.encode(texts, prompt="STS", normalize=True) for texts in (LEFT, RIGHT)]
    assert sts == pytest.approx(spearmanr((sides[0] * sides[1]).sum(1), GOLD).statistic, abs=1e-6)
    queries = encoder.encode(LEFT, prompt="query", normalize=True)
    table = queries @ encoder.encode(RIGHT, prompt="passage", normalize=True).T
    ranks = (table > table.diagonal()[:, None]).sum(1) + 1
    assert search == pytest.approx(np.mean(1 / np.log2(ranks + 1)), abs=1e-5)
    assert (result.model_name, result.model_revision) == (
        "textcl/mine",
        MtebEncoder(folder).revision,
    )
