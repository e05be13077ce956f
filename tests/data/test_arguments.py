"""Every argument of the public functions × what people pass by mistake: taken, or refused in one sentence."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pandas
import pyarrow
import pytest
import torch
from families import tiny_encoder, tiny_model_dir
from rich.console import Console

import textcl
from textcl.classifier.classifier import Classifier
from textcl.classifier.head import ClassificationHead
from textcl.data.arguments import checked_arguments
from textcl.errors import RunError, UserError
from textcl.retrieval import Index, MiningOptions
from textcl.retrieval.triplets import mine_pairs
from textcl.review import review_labels
from textcl.training.session import resume

TEXTS = ["a dog", "two cats", "a bird", "no fish"]
LABELS = ["x", "y", "x", "y"]
ODD = {
    "None": None,
    "text": "a dog",
    "bytes": b"a dog",
    "number": 3,
    "negative": -1,
    "huge": 10**30,
    "NaN": float("nan"),
    "infinite": float("inf"),
    "True": True,
    "texts": TEXTS,
    "nothing": [],
    "nested": [TEXTS],
    "with None": ["a", None],
    "numbers": [1, 2],
    "set": set(TEXTS),
    "dict": {"text": TEXTS},
    "DataFrame": pandas.DataFrame({"text": TEXTS}),
    "Series": pandas.Series(TEXTS),
    "array": np.array(TEXTS),
    "matrix": np.ones((2, 3)),
    "array of no dimension": np.array("a dog"),
    "Arrow": pyarrow.array(TEXTS),
    "tensor": torch.ones(2, 3),
    "object": object(),
    "class": str,
    "function": lambda x: x,
    "half a surrogate pair": "\ud800",
    "NUL": "a\0b",
}
REFUSED = (UserError, RunError)


@pytest.fixture(scope="module")
def encoder():
    return tiny_encoder(layers=1)


@pytest.fixture(scope="module")
def classifier(encoder):
    return Classifier(encoder, ClassificationHead(encoder.dimension, 2), ["x", "y"])


@pytest.fixture(scope="module")
def calls(tmp_path_factory, encoder, classifier):
    """The public functions, each with arguments that are right."""
    place = tmp_path_factory.mktemp("place")
    model = tiny_model_dir(place, layers=1)
    index = Index.build(encoder, TEXTS, place / "index")
    settings = {"batch_size": 4, "steps": 1, "max_length": 8}
    return {
        "from_pretrained": (textcl.Encoder.from_pretrained, {"name_or_path": model}),
        "encode": (encoder.encode, {"texts": TEXTS}),
        "similarity": (encoder.similarity, {"a": TEXTS, "b": TEXTS}),
        "similarity_pairwise": (encoder.similarity_pairwise, {"a": TEXTS, "b": TEXTS}),
        "tokenize": (encoder.tokenize, {"texts": TEXTS}),
        "reader": (encoder.reader, {}),
        "set_default_prompt": (encoder.set_default_prompt, {"name": None}),
        "Encoder": (textcl.Encoder, {"backbone": encoder.backbone, "tokenizer": encoder.tokenizer}),
        "Classifier": (
            Classifier,
            {"encoder": encoder, "head": classifier.head, "classes": ["x", "y"]},
        ),
        "predict": (classifier.predict, {"texts": TEXTS}),
        "targets": (classifier.targets, {"labels": LABELS}),
        "load_classifier": (Classifier.from_pretrained, {"name_or_path": model}),
        "load_rows": (textcl.load_rows, {"source": {"text": TEXTS}, "roles": ["text"]}),
        "train": (
            textcl.train,
            {
                "recipe": "unsup-simcse", "model": model, "data": TEXTS * 2, "dev": "",
                "settings": settings, "dry_run": True, "console": Console(quiet=True),
            },
        ),
        "resume": (resume, {"folder": place / "no run"}),
        "evaluate": (textcl.evaluate, {"model": encoder, "tasks": "sample-pairs-dev"}),
        "calibrate": (
            textcl.calibrate, {"classifier": classifier, "texts": TEXTS, "labels": LABELS},
        ),
        "fit_rejection": (
            textcl.fit_rejection, {"classifier": classifier, "texts": TEXTS, "labels": LABELS},
        ),
        "review_labels": (review_labels, {"encoder": encoder, "texts": TEXTS, "labels": LABELS}),
        "Index.build": (
            Index.build, {"model": encoder, "corpus": TEXTS, "folder": place / "other"},
        ),
        "Index.load": (Index.load, {"folder": place / "index"}),
        "search": (index.search, {"queries": TEXTS}),
        "neighbours": (index.neighbours, {"ids": ["1"]}),
        "add": (index.add, {"corpus": TEXTS}),
        "mine_pairs": (
            mine_pairs,
            {
                "model": encoder, "pairs": None, "corpus": None, "output": place / "mined.jsonl",
                "options": MiningOptions(),
            },
        ),
        "export_encoder": (
            textcl.export_encoder, {"encoder": encoder, "target": "", "backend": "none"},
        ),
    }  # fmt: skip


NAMES = (
    *("from_pretrained", "encode", "similarity", "similarity_pairwise", "tokenize", "reader"),
    *("set_default_prompt", "Encoder", "Classifier", "predict", "targets", "load_classifier"),
    *("load_rows", "train", "resume", "evaluate", "calibrate", "fit_rejection", "review_labels"),
    *("Index.build", "Index.load", "search", "neighbours", "add", "mine_pairs", "export_encoder"),
)
FEW = ("None", "text", "number", "NaN", "texts", "with None", "dict", "object")
LEFT_OUT = {("train", "dry_run"), ("train", "output"), ("evaluate", "round_before_average")}


@pytest.mark.parametrize(
    "kinds", [FEW, pytest.param(tuple(ODD), marks=pytest.mark.slow)], ids=["few", "all"]
)
@pytest.mark.parametrize("name", NAMES)
def test_an_odd_argument_is_taken_or_one_sentence(calls, name, kinds, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    function, right = calls[name]
    for argument, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD or (name, argument) in LEFT_OUT:
            continue
        for kind in kinds:
            try:
                function(**{**right, argument: ODD[kind]})
            except REFUSED:
                continue
            except Exception as error:
                pytest.fail(f"{argument}={kind}: {type(error).__name__}: {error}")


@checked_arguments
def example(
    text: str,
    path: str | Path = "",
    count: int = 1,
    share: float | None = None,
    flag: bool = False,
    kind: Literal["a", "b"] = "a",
    columns: Mapping[str, str] | None = None,
    names: Sequence[str] = (),
    other: object = None,
    call: Callable[[], int] | None = None,
) -> str:
    return text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"example: missing a required argument: 'text'"),
        ({"text": "x", "wrong": 1}, r"example: got an unexpected keyword argument 'wrong'"),
        ({"text": 3}, r"example: text is a text, got 3"),
        ({"text": "x", "path": 3}, r"path is a text or a path, got 3"),
        ({"text": "x", "count": True}, r"count is a whole number, got True"),
        ({"text": "x", "count": 1.5}, r"count is a whole number, got 1.5"),
        ({"text": "x", "share": "1"}, r"share is a number, got '1'"),
        ({"text": "x", "share": float("nan")}, r"share is a number, got nan"),
        ({"text": "x", "flag": 1}, r"flag is True or False, got 1"),
        ({"text": "x", "kind": "c"}, r"kind is 'a' or 'b', got 'c'"),
        ({"text": "x", "columns": ["a"]}, r"columns is a dict, got \['a'\]"),
        ({"text": "x", "names": "abc"}, r"names is a list of texts, got 'abc'"),
        ({"text": "x", "names": ["a", 1]}, r"names is a list of texts, got \['a', 1\]"),
        ({"text": "x", "names": np.ones((2, 2))}, r"names is a list of texts, got a ndarray"),
        ({"text": "x", "call": 3}, r"call is a function, got 3"),
    ],
)
def test_the_sentence_names_function_argument_and_what_came(given, message):
    with pytest.raises(UserError, match=message):
        example(**given)


def test_what_fits_goes_through():
    numbers = {"count": np.int64(2), "share": np.float32(1), "flag": np.bool_(True)}
    assert example("x", Path("y"), **numbers, names=("a",), other=[], call=lambda: 1) == "x"
    assert example.__doc__ is None
    assert example.__name__ == "example"


def test_one_text_is_taken_as_encode_takes_it(encoder, classifier):
    assert (
        encoder.similarity("a dog", TEXTS).tolist() == encoder.similarity(["a dog"], TEXTS).tolist()
    )
    assert encoder.similarity_pairwise("a dog", "two cats").shape == (1,)
    vector = encoder.encode("a dog")
    assert encoder.similarity(vector, TEXTS).shape == (1, 4)
    assert classifier.predict("a dog") == classifier.predict(["a dog"])[0]
    assert (
        classifier.predict_proba("a dog").tolist()
        == classifier.predict_proba(["a dog"])[0].tolist()
    )


def test_no_folder_of_something_else_is_replaced(encoder, tmp_path, monkeypatch):
    project = tmp_path / "project"
    project.mkdir()
    (project / "thesis.tex").write_text("years of work")
    with pytest.raises(UserError, match=r"project holds something else \(thesis.tex\)"):
        encoder.save_pretrained(project)
    with pytest.raises(UserError, match=r"project holds something else"):
        Index.build(encoder, TEXTS, project, overwrite=True)
    (project / "config.json").write_text("{}")
    monkeypatch.chdir(project)
    for place in ("", ".", "..", project):
        with pytest.raises(UserError, match="holds the working directory"):
            encoder.save_pretrained(place)
    assert (project / "thesis.tex").read_text() == "years of work"
    encoder.save_pretrained("model")
    encoder.save_pretrained("model")  # its own folder is
