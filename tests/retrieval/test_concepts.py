"""Names of concepts in pairs, and stored vectors of a length that is found."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from families import WORDS, tiny_model_dir
from rich.console import Console

from textcl import Encoder
from textcl.data.rows import load_rows
from textcl.distributed import ALONE
from textcl.encoder.shared import SharedEncoder
from textcl.errors import UserError
from textcl.retrieval.concepts import NamePairs
from textcl.retrieval.dev_names import hold_out_names
from textcl.training.session import train

LABELS = np.array([0, 1, 0, 2, 1, 1, 3, 0, 0, 4, 4, 4, 4, 4])


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return str(tiny_model_dir(tmp_path_factory.mktemp("model"), layers=2))


def test_every_name_of_a_concept_with_several_comes_once_and_an_odd_one_twice():
    sampler = NamePairs(LABELS, 4, seed=3)
    assert sampler.pairs == 2 + 2 + 3
    assert len(sampler) == 3
    for epoch in (0, 1):
        rows = sampler._plan(epoch).ravel()
        counts = np.bincount(rows, minlength=len(LABELS))
        assert counts[LABELS == 0].tolist() == [1, 1, 1, 1]
        assert sorted(counts[LABELS == 1].tolist()) == [1, 1, 2]
        assert sorted(counts[LABELS == 4].tolist()) == [1, 1, 1, 1, 2]
        assert not counts[np.isin(LABELS, [2, 3])].any()
        for pair in rows.reshape(-1, 2):
            assert LABELS[pair[0]] == LABELS[pair[1]]
            assert pair[0] != pair[1]
    assert sampler.batch(0, 1).tolist() == NamePairs(LABELS, 4, seed=3).batch(0, 1).tolist()
    assert sampler.batch(0, 1).tolist() != sampler.batch(1, 1).tolist()


def run(recipe, rows, model, output, **settings):
    console = Console(file=io.StringIO(), width=300)
    train(
        recipe, model=model, data=rows, dev="", output=output, console=console,
        settings={"steps": 1, "max_length": 16, "batch_size": 4, "log_every": 1, **settings},
    )  # fmt: skip
    return console.file.getvalue()


def names(count):
    return [{"text": f"man {i}", "label": f"c{i // 2 if i < 8 else i}"} for i in range(count)]


def test_concepts_with_one_name_are_told(model, tmp_path):
    shown = run("sapbert", names(10), model, tmp_path / "run")
    assert (
        "6 concepts, 4 pairs of names an epoch; 2 concepts with a single name do not come" in shown
    )


@pytest.mark.parametrize(
    ("count", "batch", "message"),
    [(3, 4, "has 1 pairs of names of one concept"), (10, 5, "batch_size=5 is odd")],
)
def test_too_few_names_are_refused(count, batch, message, model, tmp_path):
    with pytest.raises(UserError, match=message):
        run("sapbert", names(count), model, tmp_path / "run", batch_size=batch)


@pytest.mark.parametrize(("projection", "width"), [("keep", 6), ("train", 32)])
def test_student_gets_the_width_of_the_stored_vectors(projection, width, model, tmp_path):
    rows = [{"text": f"man {i}", "vector": [float(i), 1, 2, 3, 4, 5]} for i in range(6)]
    run("distill-vectors", rows, model, tmp_path / "run", projection=projection, num_layers=1)
    assert Encoder.from_pretrained(tmp_path / "run/best").dimension == width


def test_vectors_of_several_lengths_are_refused(model, tmp_path):
    rows = [{"text": f"man {i}", "vector": [1.0] * (3 + (i == 4))} for i in range(6)]
    with pytest.raises(
        UserError, match="usable row 5: the vector has 4 numbers, those before it 3"
    ):
        run("distill-vectors", rows, model, tmp_path / "run")


def test_scores_must_fit_the_texts(model, tmp_path):
    row = {"anchor": "a man", "positive": "b", "negative": "c"}
    rows = [row | {"scores": [1, 2] if i < 3 else [1]} for i in range(6)]
    with pytest.raises(UserError, match="usable row 4: 1 scores, but 1 positive and 1 negatives"):
        run("distill-scores", rows, model, tmp_path / "run")


def held_out(labels, share=0.5):
    rows = [{"text": f"name {i}", "label": label} for i, label in enumerate(labels)]
    return hold_out_names(load_rows(rows, roles=("text", "label")), share, 0)


def test_a_concept_with_three_names_gives_one_of_them_to_the_dev_set():
    kept, dev = held_out("aaabbcccd")
    assert sorted(dev.held_concepts) == ["a", "c"]
    assert sorted(kept.column("label")) == list("aabbccd")
    assert not {*dev.held} & {*kept.strings("text"), *dev.names}
    assert sorted(dev.names) == sorted(kept.strings("text"))

    class Table:
        def encode(self, texts, **_):
            places = dict(zip(dev.names, dev.concepts, strict=True))
            known = [places.get(text, dev.held_concepts[0]) for text in texts]
            return np.eye(4, dtype=np.float32)[[ord(label) - ord("a") for label in known]]

    assert dev(SharedEncoder(Table(), ALONE)) == 50.0
    with pytest.raises(UserError, match="no concept has 3 different names"):
        held_out("aabbcd")


def test_held_out_names_select_the_weights(model, tmp_path):
    rows = [{"text": f"man {WORDS[i]}", "label": f"c{i // 4}"} for i in range(24)]
    found = train(
        "sapbert", model=model, data=rows, dev=0.2, output=tmp_path / "run", console=Console(file=io.StringIO()),
        settings={"steps": 2, "max_length": 16, "batch_size": 4, "log_every": 1},
    )  # fmt: skip
    facts = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert facts["dev"].startswith("4 of 24 names, held out, accuracy of the nearest name")
    assert found is not None
