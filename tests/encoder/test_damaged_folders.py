"""Damaged and hostile folders: one sentence, or the same encoder; never a raw exception and never a silent default."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import families
import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer

from textcl.encoder.encoder import Encoder
from textcl.errors import RunError, UserError

TEXTS = ["a dog runs in the street", "", "two men PLAY the guitar"]

FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "1_Pooling/config.json",
    "2_Dense/config.json",
    "2_Dense/model.safetensors",
    "3_Normalize/config.json",
    "textcl.json",
    "textcl_parity.json",
)
OURS = ("textcl.json", "textcl_parity.json")

CONTENTS = {
    "empty": b"",
    "an empty object": b"{}",
    "an empty list": b"[]",
    "a number": b"5",
    "null": b"null",
    "cut": b'{"a": [',
    "no text": b"\xff\xfe\x00",
    "brackets": b"[" * 100_000,
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
}


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    encoder = families.tiny_encoder(
        pooling="cls",
        normalize=True,
        max_length=20,
        prompts={"query": "find : "},
        default_prompt="query",
    )
    encoder.add_projector(keep=True)
    folder = tmp_path_factory.mktemp("intact") / "model"
    encoder.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def expected(intact: Path) -> Encoder:
    return Encoder.from_pretrained(intact, device="cpu")


def facts(encoder: Encoder) -> tuple[object, ...]:
    return (
        encoder.pooling,
        encoder.normalize,
        encoder.max_length,
        encoder.prompts,
        encoder.dimension,
    )


def opened(folder: Path) -> tuple[Encoder | None, str]:
    """The encoder, or the sentence that refuses it; any other exception fails the test."""
    try:
        return Encoder.from_pretrained(folder, device="cpu"), ""
    except (UserError, RunError) as error:
        return None, str(error)


def assert_told_or_equal(
    damaged: Path, expected: Encoder, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    encoder, error = opened(damaged)
    if encoder is None:
        assert 20 < len(error) < 500
        assert str(damaged) in error
        return
    if caplog.messages:  # a file that not every version writes; what is taken instead is said
        return
    assert facts(encoder) == facts(expected)
    np.testing.assert_allclose(
        encoder.encode(TEXTS, precision="float32"),
        expected.encode(TEXTS, precision="float32"),
        atol=1e-6,
    )


@pytest.mark.parametrize("ours", [True, False], ids=["textcl", "foreign"])
@pytest.mark.parametrize("file", FILES)
def test_every_file_missing_or_of_another_kind(file, ours, intact, expected, tmp_path, caplog):
    if not ours and file in OURS:
        pytest.skip("not in a foreign folder")
    for kind, content in {"missing": None, **CONTENTS}.items():
        folder = tmp_path / kind.replace(" ", "-")
        shutil.copytree(intact, folder)
        if not ours:
            for name in OURS:
                (folder / name).unlink()
        if content is None:
            (folder / file).unlink()
        else:
            (folder / file).write_bytes(content)
        assert_told_or_equal(folder, expected, caplog)


def change(folder: Path, file: str, **values: object) -> None:
    content = json.loads((folder / file).read_text())
    (folder / file).write_text(json.dumps(content | values))


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("config.json", "hidden_size"),
        ("config.json", "num_hidden_layers"),
        ("config.json", "num_attention_heads"),
        ("config.json", "vocab_size"),
        ("config.json", "intermediate_size"),
        ("config.json", "max_position_embeddings"),
        ("config.json", "model_type"),
        ("config.json", "layer_norm_eps"),
        ("1_Pooling/config.json", "word_embedding_dimension"),
        ("1_Pooling/config.json", "pooling_mode_cls_token"),
        ("1_Pooling/config.json", "include_prompt"),
        ("2_Dense/config.json", "in_features"),
        ("2_Dense/config.json", "out_features"),
        ("2_Dense/config.json", "activation_function"),
        ("sentence_bert_config.json", "max_seq_length"),
        ("sentence_bert_config.json", "do_lower_case"),
        ("config_sentence_transformers.json", "prompts"),
        ("config_sentence_transformers.json", "default_prompt_name"),
        ("config_sentence_transformers.json", "similarity_fn_name"),
        ("config_sentence_transformers.json", "truncate_dim"),
        ("textcl.json", "pooling"),
        ("textcl_parity.json", "texts"),
        ("textcl_parity.json", "vectors"),
    ],
)
def test_every_value_of_another_type_or_size(file, key, intact, tmp_path):
    for number, value in enumerate(
        ([], {}, "384", "nonsense", 0, -1, 10**5, 1e300, [[]], {"a": 1})
    ):
        folder = tmp_path / str(number)
        shutil.copytree(intact, folder)
        change(folder, file, **{key: value})
        encoder, error = opened(folder)
        assert encoder is not None or len(error) > 20


def lose_pooling(folder: Path) -> None:
    shutil.rmtree(folder / "1_Pooling")


def lose_modules(folder: Path) -> None:
    (folder / "modules.json").unlink()


def no_pooling_mode(folder: Path) -> None:
    change(folder, "1_Pooling/config.json", pooling_mode_cls_token=False)


def other_width(folder: Path) -> None:
    change(folder, "1_Pooling/config.json", word_embedding_dimension=16)


def many_layers(folder: Path) -> None:
    change(folder, "config.json", num_hidden_layers=10**7)


def no_heads(folder: Path) -> None:
    change(folder, "config.json", num_attention_heads=0)


def other_kind(folder: Path) -> None:
    change(folder, "config_sentence_transformers.json", model_type="CrossEncoder")


def outside(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    index = {"weight_map": {"a": "../other.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def query_expansion(folder: Path) -> None:
    change(folder, "sentence_bert_config.json", query_length=32)


def unknown_default(folder: Path) -> None:
    change(folder, "config_sentence_transformers.json", default_prompt_name="passage")


def short_dense(folder: Path) -> None:
    weights = {
        k: w[..., :16].contiguous()
        for k, w in load_file(folder / "2_Dense/model.safetensors").items()
    }
    save_file(weights, folder / "2_Dense/model.safetensors")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lose_pooling,
            "1_Pooling/config.json is missing, but .*modules.json names a Pooling there",
        ),
        (
            lose_modules,
            "modules.json is missing, but the folder has config_sentence_transformers.json",
        ),
        (no_pooling_mode, "names no pooling"),
        (other_width, "takes 16 columns, but the model gives 32"),
        (many_layers, "asks for 10,000,000 layers, but the weights beside it have 2"),
        (no_heads, "num_attention_heads .* must be a positive whole number, not 0"),
        (other_kind, "says the model is a CrossEncoder"),
        (outside, "points outside of its folder"),
        (
            query_expansion,
            "sets query_length to 32, under which textcl would compute other vectors",
        ),
        (
            unknown_default,
            "names the default prompt 'passage', which is not among its prompts: query",
        ),
        (short_dense, "but its config.json asks for"),
    ],
)
def test_damage_is_named(damage: Callable[[Path], None], message, intact, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(intact, folder)
    for name in OURS:
        (folder / name).unlink()
    damage(folder)
    with pytest.raises(UserError, match=message):
        Encoder.from_pretrained(folder)


def test_folder_without_tokenizer_is_told(tmp_path):
    folder = families.tiny_model_dir(tmp_path)
    for path in folder.glob("*token*"):
        path.unlink()
    with pytest.raises(UserError, match=r"has no tokenizer: expected tokenizer.json, vocab.txt"):
        Encoder.from_pretrained(folder)


def test_tokenizer_with_more_tokens_than_embeddings_is_told(tmp_path):
    folder = families.tiny_model_dir(tmp_path)
    tokenizer = families.tiny_tokenizer()
    tokenizer.add_tokens(["flugelhorn"])
    tokenizer.save_pretrained(folder)
    with pytest.raises(UserError, match=r"tokens were added without model.resize_token_embeddings"):
        Encoder.from_pretrained(folder)


def test_plain_checkpoint_is_opened_as_such_and_said(tmp_path, caplog):
    folder = families.tiny_model_dir(tmp_path)
    assert Encoder.from_pretrained(folder).pooling == "mean"
    assert "names no pooling: taking 'mean'" in caplog.text
    caplog.clear()
    assert Encoder.from_pretrained(folder, default_pooling="cls").pooling == "cls"
    assert "taking 'cls'" in caplog.text
    caplog.clear()
    Encoder.from_pretrained(folder, pooling="max")
    assert not caplog.text


@pytest.mark.parametrize("measure", ["cosine", "dot", "euclidean", "manhattan"])
def test_settings_of_sentence_transformers_are_honoured_and_kept(measure, tmp_path):
    families.tiny_encoder(normalize=True, max_length=20).save_pretrained(tmp_path / "start")
    theirs = SentenceTransformer(
        str(tmp_path / "start"), device="cpu", truncate_dim=16, similarity_fn_name=measure
    )
    theirs.save_pretrained(str(tmp_path / "theirs"), create_model_card=False)
    change(tmp_path / "theirs", "config_sentence_transformers.json", requirements={"torch": ">=2"})
    ours = Encoder.from_pretrained(tmp_path / "theirs", device="cpu")
    ours.save_pretrained(tmp_path / "again")
    expected = theirs.encode(TEXTS)
    assert expected.shape == (3, 16)
    again = Encoder.from_pretrained(tmp_path / "again", device="cpu")
    for encoder in (ours, again):
        np.testing.assert_allclose(encoder.encode(TEXTS, precision="float32"), expected, atol=1e-5)
        np.testing.assert_allclose(
            encoder.similarity(expected, expected[:2]),
            theirs.similarity(expected, expected[:2]).numpy(),
            atol=1e-4,
        )
    config = json.loads((tmp_path / "again/config_sentence_transformers.json").read_text())
    assert (config["truncate_dim"], config["similarity_fn_name"]) == (16, measure)
    assert config["requirements"] == {"torch": ">=2"}


@pytest.mark.parametrize("normalize", [None, True])
def test_truncated_vectors_are_those_of_sentence_transformers(normalize, tmp_path):
    families.tiny_encoder(normalize=True).save_pretrained(tmp_path / "model")
    ours = Encoder.from_pretrained(tmp_path / "model", device="cpu")
    theirs = SentenceTransformer(str(tmp_path / "model"), device="cpu")
    np.testing.assert_allclose(
        ours.encode(TEXTS, truncate_dim=8, normalize=normalize, precision="float32"),
        theirs.encode(TEXTS, truncate_dim=8, normalize_embeddings=bool(normalize)),
        atol=1e-5,
    )
