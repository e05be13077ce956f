"""The classifier: from texts to classes, saved whole and loaded equal."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from families import FAMILIES, tiny_encoder
from labelled import labelled
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from textcl.classifier.classifier import Classifier
from textcl.classifier.head import make_head
from textcl.encoder.encoder import Encoder
from textcl.errors import RunError, UserError

TEXTS = ["a man runs", "", "two dogs eat good food in the city", "ball"]
CLASSES = ("food", "sport", "town")


def classifier(family="bert", kind="own", classes=CLASSES, options=None, **more):
    encoder = tiny_encoder(family, **(options or {}))
    torch.manual_seed(1)
    head = make_head(kind, family, encoder.dimension, len(classes))
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return Classifier(encoder, head, classes, **more).eval()


def slow_logits(model, text):
    """One text at a time, by the formula."""
    vector = model.encoder.encode([text], precision="float32", normalize=False)[0].astype(float)
    w, b, v, d = (p.detach().double().numpy() for p in model.head.parameters())
    act = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh}[model.head.shape.activation]
    return v @ act(w @ vector + b) + d


@pytest.mark.parametrize("kind", ["own", "lcl"])
def test_logits_are_head_of_encoder(kind):
    model = classifier(kind=kind, options={"pooling": "mean", "normalize": True})
    logits = model.logits(TEXTS, precision="float32")
    np.testing.assert_allclose(logits, [slow_logits(model, text) for text in TEXTS], atol=1e-5)
    tokens = model.encoder.tokenize(TEXTS)
    np.testing.assert_allclose(model(tokens).detach().numpy(), logits, atol=1e-5)


def test_probabilities_are_softmax_at_the_temperature():
    model = classifier(temperature=2.0)
    logits = model.logits(TEXTS, precision="float32").astype(float)
    want = np.exp(logits / 2) / np.exp(logits / 2).sum(1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(TEXTS, precision="float32"), want, atol=1e-6)
    assert model.predict(TEXTS) == [CLASSES[i] for i in want.argmax(1)]


def test_several_labels_are_those_that_reach_their_threshold():
    model = classifier(multi_label=True, thresholds=[0.1, 0.5, 0.99])
    logits = model.logits(TEXTS, precision="float32").astype(float)
    want = 1 / (1 + np.exp(-logits))
    got = model.predict_proba(TEXTS, precision="float32")
    np.testing.assert_allclose(got, want, atol=1e-6)
    expected = [
        [c for c, p, t in zip(CLASSES, row, [0.1, 0.5, 0.99], strict=True) if p >= t] for row in got
    ]
    assert model.predict(TEXTS, precision="float32") == expected
    assert model.decide(np.array([[0.1, 0.5, 0.99]])).all()


def test_dropout_acts_in_training_only():
    model = classifier().train()
    tokens = model.encoder.tokenize(TEXTS)
    assert not torch.equal(model(tokens), model(tokens))
    np.testing.assert_array_equal(model.logits(TEXTS), model.logits(TEXTS))
    assert model.training
    assert model.head.training


@pytest.mark.parametrize("family", FAMILIES)
def test_a_saved_classifier_is_the_same_and_its_encoder_is_a_sentence_transformer(family, tmp_path):
    model = classifier(family, options={"pooling": "mean"}, temperature=1.7)
    model.save_pretrained(tmp_path / "model", card={"recipe": "lcl", "seed": 3})
    again = Classifier.from_pretrained(tmp_path / "model")
    assert (again.classes, again.temperature, again.multi_label) == (CLASSES, 1.7, False)
    assert not again.training
    np.testing.assert_array_equal(
        again.logits(TEXTS, precision="float32"), model.logits(TEXTS, precision="float32")
    )
    vectors = model.encoder.encode(TEXTS, precision="float32")
    theirs = SentenceTransformer(str(tmp_path / "model"), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(theirs, vectors, atol=1e-5)
    ours = Encoder.from_pretrained(tmp_path / "model").encode(TEXTS, precision="float32")
    np.testing.assert_array_equal(ours, vectors)


@pytest.mark.parametrize(
    "family", ["bert", "roberta", "xlm-roberta", "mpnet", "electra", "distilbert", "deberta-v2"]
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")
def test_transformers_loads_the_head_of_its_own_shape_with_equal_logits(family, tmp_path):
    model = classifier(family, options={"pooling": "cls"}, multi_label=family == "bert")
    before = torch.get_rng_state()
    model.save_pretrained(tmp_path / "model")
    assert torch.equal(torch.get_rng_state(), before)
    theirs, loading = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "model", output_loading_info=True
    )
    assert not loading["missing_keys"]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    with torch.inference_mode():
        logits = theirs.eval()(**tokenizer(TEXTS, padding=True, return_tensors="pt")).logits
    ours = model.logits(TEXTS, precision="float32")
    np.testing.assert_allclose(logits.numpy(), ours, atol=1e-5)
    assert theirs.config.id2label == dict(enumerate(CLASSES))
    kind = "multi_label_classification" if family == "bert" else "single_label_classification"
    assert theirs.config.problem_type == kind
    again = Classifier.from_pretrained(tmp_path / "model")
    np.testing.assert_allclose(again.logits(TEXTS, precision="float32"), ours, atol=1e-6)
    vectors = model.encoder.encode(TEXTS, precision="float32")
    st = SentenceTransformer(str(tmp_path / "model"), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(st, vectors, atol=1e-5)
    assert "loads the folder too, with equal" in (tmp_path / "model" / "README.md").read_text()


@pytest.mark.parametrize(
    ("family", "kind", "pooling", "why"),
    [
        ("bert", "own", "mean", "read the first token, this one the pooling `mean`"),
        ("bert", "lcl", "cls", "for bert models has another activation than relu"),
        ("modernbert", "own", "cls", "for modernbert models has another shape"),
    ],
)
def test_the_card_says_why_transformers_cannot_give_the_logits(
    family, kind, pooling, why, tmp_path
):
    classifier(family, kind, options={"pooling": pooling}).save_pretrained(tmp_path / "model")
    assert why in (tmp_path / "model" / "README.md").read_text()
    names = load_file(tmp_path / "model" / "model.safetensors")
    assert not any(name.startswith("classifier") for name in names)


def test_a_folder_holds_no_pickle_and_a_card_with_the_classes(tmp_path):
    classifier(multi_label=True, thresholds=[0.2, 0.3, 0.4]).save_pretrained(tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").rglob("*") if path.is_file()}
    assert {"classifier.json", "classifier.safetensors", "modules.json", "README.md"} <= names
    assert not any(name.endswith((".bin", ".pkl", ".pt", ".joblib")) for name in names)
    again = Classifier.from_pretrained(tmp_path / "model")
    assert again.multi_label
    assert again.thresholds.tolist() == [0.2, 0.3, 0.4]
    card = (tmp_path / "model" / "README.md").read_text()
    assert "food, sport, town" in card
    assert "# model" in card
    assert "text-classification" in card


def test_a_changed_head_is_noticed(tmp_path):
    classifier().save_pretrained(tmp_path / "model")
    path = tmp_path / "model" / "classifier.safetensors"
    weights = load_file(path)
    weights["output.bias"] += 0.1
    save_file(weights, path)
    with pytest.raises(RunError, match="gives other vectors than when it was saved"):
        Classifier.from_pretrained(tmp_path / "model")


def test_parts_that_do_not_belong_together_are_told(tmp_path):
    classifier().save_pretrained(tmp_path / "model")
    path = tmp_path / "model" / "classifier.json"
    note = json.loads(path.read_text())
    path.write_text(json.dumps({**note, "head": {**note["head"], "classes": 4}}))
    with pytest.raises(UserError, match=r"classifier\.json and classifier\.safetensors do not fit"):
        Classifier.from_pretrained(tmp_path / "model")


def test_an_encoder_is_no_classifier(tmp_path):
    tiny_encoder().save_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match=r"is no classifier, it has no classifier\.json: train one"):
        Classifier.from_pretrained(tmp_path / "model")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"classes": ("a", "a", "b")}, "a class is named twice"),
        ({"thresholds": [0.5]}, "3 classes do not fit 3 logits and 1 thresholds"),
        ({"temperature": 0.0}, "temperature must be above 0"),
    ],
)
def test_what_does_not_fit_is_told(more, message):
    with pytest.raises(UserError, match=message):
        classifier(**more)


def test_labels_of_new_data_must_be_classes_of_the_model():
    model = classifier()
    assert model.targets(["town", "food"]).tolist() == [2, 0]
    with pytest.raises(UserError, match=r"test\.csv has labels that are none of the 3 classes"):
        model.targets(["town", "sea"], "test.csv")
    several = classifier(multi_label=True)
    assert several.targets([["town", "food"], []]).tolist() == [[True, False, True], [False] * 3]
    rows = labelled(5, several=True)
    names = several.names(several.targets([row["labels"] for row in rows]))
    assert [sorted(row["labels"]) for row in rows] == names


def test_no_texts_give_no_rows():
    assert classifier().predict_proba([]).shape == (0, 3)
    assert classifier().predict([]) == []
