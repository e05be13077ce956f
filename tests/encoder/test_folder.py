"""Saved folders: the same vectors in sentence-transformers, whole or not at all, checked when loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import families
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules as st_modules

from textcl.encoder import folder_writing
from textcl.encoder.encoder import Encoder
from textcl.encoder.pooling import POOLINGS
from textcl.errors import RunError, UserError

TEXTS = ["a dog runs in the street", "", "Two men PLAY the guitar , and é 世界", "word " * 100]

ONLY_OURS = ("first_token", "mean_all")


def save(encoder: Encoder, path: Path, **card: object) -> Path:
    encoder.save_pretrained(path / "saved", card=card)
    return path / "saved"


def assert_same_everywhere(encoder: Encoder, folder: Path) -> None:
    """Textcl loads the same encoder, and sentence-transformers gives its vectors."""
    expected = encoder.encode(TEXTS, precision="float32")
    loaded = Encoder.from_pretrained(folder, device="cpu")
    np.testing.assert_allclose(loaded.encode(TEXTS, precision="float32"), expected, atol=1e-6)
    theirs = SentenceTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(theirs.encode(TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize("pooling", [*(p for p in POOLINGS if p not in ONLY_OURS), "mean+cls"])
def test_sentence_transformers_gives_the_same_vectors(pooling, tmp_path):
    encoder = families.tiny_encoder(pooling=pooling, max_length=20)
    assert_same_everywhere(encoder, save(encoder, tmp_path))


@pytest.mark.parametrize("family", families.FAMILIES)
def test_every_family_is_saved_and_loaded(family, tmp_path):
    encoder = families.tiny_encoder(family, pooling="first_last", normalize=True)
    folder = save(encoder, tmp_path)
    assert_same_everywhere(encoder, folder)
    assert "textcl_packed" not in (folder / "config.json").read_text()
    assert Encoder.from_pretrained(folder, device="cpu").max_length == families.LENGTH


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("pooling", ["first_last", "first_last_embedding", "top2"])
def test_means_of_layers_survive_any_depth(layers, pooling, tmp_path):
    encoder = families.tiny_encoder(pooling=pooling, layers=layers)
    assert_same_everywhere(encoder, save(encoder, tmp_path))


@pytest.mark.parametrize("pooling", ["first_token", "mean_all", "mean+first_token"])
def test_poolings_unknown_elsewhere_fail_loudly_there_and_are_told_in_the_card(pooling, tmp_path):
    encoder = families.tiny_encoder(pooling=pooling, max_length=20)
    folder = save(encoder, tmp_path)
    loaded = Encoder.from_pretrained(folder, device="cpu")
    assert loaded.pooling == pooling
    np.testing.assert_allclose(loaded.encode(TEXTS), encoder.encode(TEXTS), atol=1e-6)
    with pytest.raises(ValueError, match=f"Invalid pooling mode: '{pooling.split('+')[-1]}'"):
        SentenceTransformer(str(folder), device="cpu")
    card = (folder / "README.md").read_text()
    assert f"has no pooling `{pooling}`" in card
    assert "from sentence_transformers" not in card


def test_a_pretrained_pooler_is_saved_as_a_layer_behind_the_first_token(tmp_path):
    encoder = families.tiny_encoder(pooling="cls_pooler")
    encoder.add_projector(keep=True)
    folder = save(encoder, tmp_path)
    assert [path.name for path in sorted(folder.glob("?_*"))] == ["1_Pooling", "2_Dense", "3_Dense"]
    assert Encoder.from_pretrained(folder, device="cpu").pooling == "cls"
    assert_same_everywhere(encoder, folder)
    assert "from sentence_transformers" in (folder / "README.md").read_text()


def test_kept_projector_is_saved_as_dense_and_a_train_only_one_is_not(tmp_path):
    for keep in (True, False):
        encoder = families.tiny_encoder(normalize=True)
        plain = encoder.encode(TEXTS)
        encoder.add_projector(keep=keep)
        assert np.allclose(encoder.encode(TEXTS), plain) != keep
        folder = save(encoder, tmp_path / str(keep))
        assert (folder / "2_Dense").is_dir() == keep
        assert_same_everywhere(encoder, folder)
        # once loaded, the layer belongs to the model and another can be put behind it
        again = Encoder.from_pretrained(folder, device="cpu")
        again.add_projector(keep=True)
        assert_same_everywhere(again, save(again, tmp_path / f"{keep} again"))


def test_prompts_are_saved(tmp_path):
    encoder = families.tiny_encoder(
        prompts={"query": "find : ", "document": ""}, default_prompt="query"
    )
    folder = save(encoder, tmp_path)
    assert_same_everywhere(encoder, folder)
    loaded = Encoder.from_pretrained(folder, device="cpu")
    assert loaded.prompts == encoder.prompts
    theirs = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, prompt_name="document")
    ours = loaded.encode(TEXTS, prompt="document", precision="float32")
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize("mode", [*st_modules.Pooling.POOLING_MODES, ("max", "cls")])
def test_folder_of_sentence_transformers_is_kept(mode, tmp_path):
    transformer = st_modules.Transformer(str(families.tiny_model_dir(tmp_path)))
    transformer.max_seq_length = 12
    pooling = st_modules.Pooling(32, mode)
    width = pooling.get_embedding_dimension()
    parts = [transformer, pooling]
    parts.append(st_modules.Dense(width, 24, activation_function=torch.nn.GELU()))
    parts.append(st_modules.Dense(24, 16, bias=False, activation_function=None))
    parts.append(st_modules.Normalize())
    theirs = SentenceTransformer(modules=parts, prompts={"query": "find : "}, device="cpu")
    theirs.save_pretrained(str(tmp_path / "theirs"), create_model_card=False)
    encoder = Encoder.from_pretrained(tmp_path / "theirs", device="cpu")
    assert (encoder.max_length, encoder.dimension, encoder.normalize) == (12, 16, True)
    assert {name: text for name, text in encoder.prompts.items() if text} == {"query": "find : "}
    ours = encoder.encode(TEXTS, precision="float32")
    np.testing.assert_allclose(ours, theirs.encode(TEXTS), atol=1e-5)
    assert_same_everywhere(encoder, save(encoder, tmp_path))


def test_old_layout_of_sentence_transformers_is_read(tmp_path):
    folder = tmp_path / "old"
    model = families.tiny_model_dir(tmp_path)
    folder.mkdir()
    model.rename(folder / "0_Transformer")
    (folder / "1_Pooling").mkdir()
    chain = [("0_Transformer", "Transformer"), ("1_Pooling", "Pooling")]
    (folder / "modules.json").write_text(
        json.dumps(
            [
                {
                    "idx": i,
                    "name": str(i),
                    "path": path,
                    "type": f"sentence_transformers.models.{kind}",
                }
                for i, (path, kind) in enumerate(chain)
            ]
        )
    )
    pooling = {"word_embedding_dimension": 32, "pooling_mode_max_tokens": True}
    (folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    settings = {"max_seq_length": 500, "do_lower_case": True}
    (folder / "0_Transformer/sentence_bert_config.json").write_text(json.dumps(settings))
    encoder = Encoder.from_pretrained(folder, device="cpu")
    assert (encoder.pooling, encoder.max_length) == ("max", families.LENGTH)
    ours = encoder.encode(TEXTS[:3], precision="float32")
    theirs = SentenceTransformer(str(folder), device="cpu")
    np.testing.assert_allclose(ours, theirs.encode(TEXTS[:3]), atol=1e-5)


def change_json(path: Path, change: dict[str, Any]) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | change))


def test_modules_that_textcl_does_not_know_are_named(tmp_path):
    folder = save(families.tiny_encoder(), tmp_path)
    chain = json.loads((folder / "modules.json").read_text())

    def load_with(*types: str) -> None:
        (folder / "modules.json").write_text(
            json.dumps([*chain, *({"path": "", "type": kind} for kind in types)])
        )
        Encoder.from_pretrained(folder)

    known = "sentence_transformers.models."
    with pytest.raises(UserError, match=r"module sentence_transformers.models.LSTM at place 2"):
        load_with(f"{known}LSTM")
    with pytest.raises(UserError, match=r"module custom_code\.Pooling at place 2"):
        load_with("custom_code.Pooling")
    with pytest.raises(
        UserError, match=r"module sentence_transformers.models.Normalize at place 2"
    ):
        load_with(f"{known}Normalize", f"{known}Dense")
    chain[0]["path"] = "../elsewhere"
    with pytest.raises(
        UserError, match=r"modules.json points outside of its folder: \.\./elsewhere"
    ):
        load_with()


def test_options_of_modules_that_textcl_does_not_know_are_named(tmp_path):
    encoder = families.tiny_encoder()
    encoder.add_projector(keep=True)
    folder = save(encoder, tmp_path)
    (folder / "textcl.json").unlink()
    for config in ({"use_residual": True}, {"activation_function": "os.system"}):
        old = (folder / "2_Dense/config.json").read_text()
        change_json(folder / "2_Dense/config.json", config)
        with pytest.raises(UserError, match="2_Dense is not a plain layer"):
            Encoder.from_pretrained(folder)
        (folder / "2_Dense/config.json").write_text(old)
    (folder / "2_Dense/model.safetensors").rename(folder / "2_Dense/pytorch_model.bin")
    with pytest.raises(
        UserError, match=r"2_Dense has no model.safetensors: textcl opens no pickles"
    ):
        Encoder.from_pretrained(folder)


def test_broken_json_is_told(tmp_path):
    folder = save(families.tiny_encoder(), tmp_path)
    (folder / "modules.json").write_text("[{")
    with pytest.raises(UserError, match=r"modules.json, column 3: expected JSON \(Expecting"):
        Encoder.from_pretrained(folder)


def test_changed_weights_are_found_when_loading(tmp_path):
    folder = save(families.tiny_encoder(), tmp_path)
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.1.output.dense.weight"][3, 3] += 1
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        RunError, match=r"other vectors than when it was saved \(largest difference 0"
    ):
        Encoder.from_pretrained(folder)
    # with another pooling the saved vectors say nothing
    assert Encoder.from_pretrained(folder, pooling="cls").pooling == "cls"


def test_a_failed_save_leaves_the_old_folder_and_nothing_else(tmp_path, monkeypatch):
    encoder = families.tiny_encoder()
    folder = save(encoder, tmp_path)
    before = sorted(path.read_bytes() for path in folder.rglob("*") if path.is_file())

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(folder_writing, "_write_json", fail)
    with pytest.raises(OSError, match="no space left"):
        encoder.save_pretrained(folder)
    assert sorted(path.read_bytes() for path in folder.rglob("*") if path.is_file()) == before
    assert list(tmp_path.iterdir()) == [folder]


def test_saving_replaces_an_older_folder_whole(tmp_path):
    folder = save(families.tiny_encoder(normalize=True), tmp_path)
    (folder / "leftover.txt").touch()
    other = families.tiny_encoder(seed=1)
    other.save_pretrained(folder)
    assert not (folder / "leftover.txt").exists()
    assert not (folder / "2_Normalize").exists()
    assert list(tmp_path.iterdir()) == [folder]
    assert_same_everywhere(other, folder)


def test_saving_onto_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("precious")
    with pytest.raises(UserError, match="is a file: name a folder"):
        families.tiny_encoder().save_pretrained(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "precious"


def test_saving_makes_missing_parents_and_no_pickles(tmp_path):
    families.tiny_encoder().save_pretrained(tmp_path / "a" / "b")
    suffixes = {path.suffix for path in (tmp_path / "a/b").rglob("*") if path.is_file()}
    assert suffixes == {".json", ".safetensors", ".md"}


def test_card_tells_where_the_model_comes_from(tmp_path):
    folder = save(
        families.tiny_encoder(prompts={"query": "find : "}),
        tmp_path,
        base_model="bert-base-uncased",
        license="apache-2.0",
        recipe="unsup-simcse",
        data={"source": "wiki.txt", "rows": 10, "sha256": "0123abcd"},
        seed=42,
        command="textcl train --recipe unsup-simcse",
        settings={"temperature": 0.05, "learning_rate": 3e-05},
        scores=[{"task": "STS-B dev", "score": 82.5, "protocol": "all | Spearman"}],
    )
    card = (folder / "README.md").read_text(encoding="utf-8")
    front, body = card.removeprefix("---\n").split("\n---\n", 1)
    values = dict(line.split(": ", 1) for line in front.splitlines())
    assert values["base_model"] == '"bert-base-uncased"'
    assert json.loads(values["tags"])[0] == "sentence-transformers"
    for line in (
        "- Recipe: unsup-simcse",
        "- Data: source wiki.txt, rows 10, sha256 0123abcd",
        "- Seed: 42",
        "| temperature | 0.05 |",
        "| learning_rate | 3e-05 |",
        "| STS-B dev | 82.5 | all \\| Spearman |",
        "textcl train --recipe unsup-simcse",
        "- Prompt `query`: `find : `",
        f"- pytorch {torch.__version__}",
    ):
        assert line in body.splitlines()


@pytest.mark.parametrize("length", [None, 5])
def test_the_saved_tokenizer_cuts_at_the_length_of_the_model_whatever_it_read_last(
    tmp_path, length
):
    encoder = families.tiny_encoder(max_length=9)
    encoder.tokenize(["the cat sat on the mat"], length)
    encoder.save_pretrained(tmp_path / "model")
    saved = json.loads((tmp_path / "model" / "tokenizer.json").read_text())
    assert (saved["truncation"]["max_length"], saved["padding"]) == (9, None)
