"""Static models: folders of sentence-transformers and model2vec load, train, and are saved as both read them."""

import json
import shutil

import families
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding

import textcl
from textcl import Encoder
from textcl.encoder.static import UNCUT, StaticBackbone, static_tokenizer
from textcl.errors import UserError
from textcl.export.write import export_encoder

PLACE = "sentence_transformers.models"

TEXTS = [
    "a man plays the guitar",
    "",
    "Dog!",
    "the dog and the cat run in the street " * 20,
    "@ 0 €",
]


def backend():
    return families.tiny_tokenizer().backend_tokenizer


def table(rows, width=12, seed=0):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))


def tiny_static(**options):
    tokenizer = static_tokenizer(backend(), None)
    return Encoder(StaticBackbone.of(table(len(tokenizer))), tokenizer, **options).eval()


@pytest.fixture(scope="module")
def st_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("st") / "model"
    rows = table(len(families.tiny_tokenizer()))
    module = StaticEmbedding(backend(), embedding_weights=rows)
    SentenceTransformer(modules=[module], device="cpu", prompts={"query": "find: "}).save(
        str(folder), create_model_card=False
    )
    return folder


@pytest.fixture(scope="module")
def m2v_folder(tmp_path_factory):
    return write_model2vec(tmp_path_factory.mktemp("m2v") / "model")


def write_model2vec(folder, normalize=True, max_length=512):
    """A folder with everything that model2vec knows: fewer rows than tokens, weights, float16, normalisation."""
    folder.mkdir()
    count, words = len(families.tiny_tokenizer()), backend()
    tensors = {
        "embeddings": table(31).half(),
        "mapping": torch.arange(count) % 31,
        "weights": torch.linspace(0.1, 2, count, dtype=torch.float64),
    }
    save_file(tensors, folder / "model.safetensors")
    words.enable_truncation(max_length)
    words.save(str(folder / "tokenizer.json"))
    config = {"normalize": normalize, "max_length": max_length, "embedding_dtype": "float16"}
    (folder / "config.json").write_text(json.dumps(config))
    kinds = ["StaticEmbedding", "Normalize"][: 1 + normalize]
    chain = [
        {"idx": i, "name": str(i), "path": "." if i == 0 else "1_Normalize", "type": f"{PLACE}.{k}"}
        for i, k in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(chain))
    return folder


def by_hand(folder, text, normalize=True):
    """Mean over the known tokens of embeddings[mapping[t]] · weights[t], in float64."""
    tensors = {
        name: x.double().numpy() for name, x in load_file(folder / "model.safetensors").items()
    }
    unknown = backend().token_to_id("[UNK]")
    ids = [i for i in backend().encode(text, add_special_tokens=False).ids if i != unknown]
    rows = [tensors["embeddings"][int(tensors["mapping"][i])] * tensors["weights"][i] for i in ids]
    mean = sum(rows, np.zeros(12)) / max(1, len(rows))
    return mean / max(np.linalg.norm(mean), 1e-12) if normalize else mean


def vectors_of(folder):
    return Encoder.from_pretrained(folder).encode(TEXTS)


def test_a_folder_of_sentence_transformers_loads_with_equal_vectors(st_folder):
    encoder = Encoder.from_pretrained(st_folder)
    theirs = SentenceTransformer(str(st_folder), device="cpu")
    np.testing.assert_allclose(encoder.encode(TEXTS), theirs.encode(TEXTS), atol=1e-6)
    np.testing.assert_allclose(
        encoder.encode(TEXTS, prompt="query"), theirs.encode(TEXTS, prompt_name="query"), atol=1e-6
    )
    assert encoder.pooling == "mean"
    assert encoder.max_length == UNCUT


def test_a_folder_of_model2vec_loads_with_its_vectors(m2v_folder):
    expected = [by_hand(m2v_folder, text) for text in TEXTS]
    np.testing.assert_allclose(vectors_of(m2v_folder), expected, atol=1e-6)
    model2vec = pytest.importorskip("model2vec")
    theirs = model2vec.StaticModel.from_pretrained(m2v_folder, quantize_to="float32")
    np.testing.assert_allclose(vectors_of(m2v_folder), theirs.encode(TEXTS), atol=1e-6)


def test_a_model2vec_folder_without_modules_loads_too(m2v_folder, tmp_path):
    expected = vectors_of(m2v_folder)
    shutil.copytree(m2v_folder, tmp_path / "m")
    (tmp_path / "m" / "modules.json").unlink()
    np.testing.assert_array_equal(vectors_of(tmp_path / "m"), expected)


def test_a_limit_of_model2vec_is_kept(tmp_path):
    folder = write_model2vec(tmp_path / "m", max_length=5)
    encoder = Encoder.from_pretrained(folder)
    assert encoder.max_length == 5
    found = encoder.encode(["the dog and the cat run in the street", "the dog and the cat"])
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("name", ["st_folder", "m2v_folder"])
@pytest.mark.parametrize("max_length", [None, 7])
def test_what_is_saved_opens_everywhere_with_equal_vectors(name, max_length, request, tmp_path):
    encoder = Encoder.from_pretrained(request.getfixturevalue(name), max_length=max_length)
    encoder.save_pretrained(tmp_path / "saved")
    expected = encoder.encode(TEXTS)
    again = Encoder.from_pretrained(tmp_path / "saved")
    np.testing.assert_allclose(again.encode(TEXTS), expected, atol=1e-6)
    assert again.max_length == encoder.max_length
    theirs = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(theirs.encode(TEXTS), expected, atol=1e-6)
    again.save_pretrained(tmp_path / "again")
    np.testing.assert_array_equal(vectors_of(tmp_path / "again"), again.encode(TEXTS))
    card = (tmp_path / "saved" / "README.md").read_text()
    assert "a table of token vectors" in card
    assert (
        f"Maximum length: {'7 tokens' if max_length else 'any' if name == 'st_folder' else '512 tokens'}"
        in card
    )


def test_model2vec_opens_what_is_saved(st_folder, tmp_path):
    model2vec = pytest.importorskip("model2vec")
    known = ["a man plays the guitar", "dog"]  # it leaves unknown tokens out
    for max_length in (None, 7):
        encoder = Encoder.from_pretrained(st_folder, max_length=max_length, normalize=True)
        encoder.save_pretrained(tmp_path / "saved")
        model = model2vec.StaticModel.from_pretrained(tmp_path / "saved")
        assert model.max_length == max_length
        found = model.encode(
            known, max_length=None
        )  # with one, it cuts letters before it cuts tokens
        np.testing.assert_allclose(found, encoder.encode(known), atol=1e-6)


def test_layers_behind_the_table_are_kept(tmp_path):
    encoder = tiny_static(normalize=True, truncate_dim=4)
    encoder.add_projector(keep=True)
    encoder.save_pretrained(tmp_path / "saved")
    expected = encoder.encode(TEXTS)
    np.testing.assert_allclose(vectors_of(tmp_path / "saved"), expected, atol=1e-6)
    theirs = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(theirs.encode(TEXTS), expected, atol=1e-6)


def test_a_plain_loop_gives_the_same_vectors():
    encoder = tiny_static(normalize=True)
    rows = encoder.backbone.embeddings.weight.detach().double().numpy()
    for text, vector in zip(TEXTS, encoder.encode(TEXTS), strict=True):
        ids = backend().encode(text, add_special_tokens=False).ids
        mean = sum((rows[i] for i in ids), np.zeros(12)) / max(1, len(ids))
        np.testing.assert_allclose(vector, mean / max(np.linalg.norm(mean), 1e-12), atol=1e-6)


def test_a_static_model_trains_on_pairs_and_is_saved(st_folder, tmp_path):
    rows = [{"anchor": f"a {x}", "positive": f"the {x} {x}"} for x in families.WORDS[10:42]]
    settings = {"steps": 8, "batch_size": 16, "learning_rate": 0.05, "log_every": 1}
    run = textcl.train(
        "pairs", model=st_folder, data=rows, dev="", output=tmp_path / "run", settings=settings
    )
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    losses = [json.loads(line)["loss"] for line in lines if "loss" in json.loads(line)]
    assert losses[-1] < losses[0] / 2
    expected = run.encoder.encode(TEXTS)
    np.testing.assert_allclose(vectors_of(tmp_path / "run"), expected, atol=1e-6)
    theirs = SentenceTransformer(str(tmp_path / "run" / "best"), device="cpu")
    np.testing.assert_allclose(theirs.encode(TEXTS), expected, atol=1e-6)


@pytest.mark.parametrize("recipe", ["unsup-simcse", "moco"])
def test_a_recipe_that_lives_on_dropout_is_refused_and_leaves_nothing(recipe, st_folder, tmp_path):
    with pytest.raises(UserError, match=r"dropout alone, which a static model has none of"):
        textcl.train(
            recipe,
            model=st_folder,
            data=["a b", "b c", "c d"],
            dev="",
            output=tmp_path / "run",
            settings={"batch_size": 2, "pooling": "mean"},
        )
    assert not (tmp_path / "run").exists()


def test_settings_of_layers_are_refused(st_folder):
    for options in ({"num_layers": 1}, {"dropout": 0.1}, {"adapter": "lora:2"}, {"pooling": "cls"}):
        with pytest.raises(
            UserError, match="a static model is the mean of token vectors and has no"
        ):
            Encoder.from_pretrained(st_folder, **options)
    with pytest.raises(UserError, match="mean of token vectors"):
        tiny_static(pooling="max")


def test_it_exports_as_a_graph(tmp_path):
    pytest.importorskip("onnxscript")
    encoder = tiny_static(normalize=True, max_length=32)
    exported = export_encoder(encoder, tmp_path / "x", "onnx")
    np.testing.assert_allclose(exported.encode(TEXTS), encoder.encode(TEXTS), atol=1e-6)
    assert not (tmp_path / "x" / "modules.json").exists()


def damage(source, target, change):
    shutil.copytree(source, target)
    change(target)
    return target


def rewrite(name, **changes):
    def change(folder):
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, **changes}))

    return change


def retensor(change):
    def apply(folder):
        tensors = load_file(folder / "model.safetensors")
        change(tensors)
        save_file(tensors, folder / "model.safetensors")

    return apply


DAMAGES = {
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "model.safetensors is missing"),
    "no tokenizer": (lambda f: (f / "tokenizer.json").unlink(), "expected tokenizer.json"),
    "half": (lambda f: (f / "model.safetensors").write_bytes(b"x" * 40), "no intact safetensors"),
    "no json": (lambda f: (f / "tokenizer.json").write_text("{"), r"tokenizer\.json"),
    "no tokenizer in it": (lambda f: (f / "tokenizer.json").write_text("{}"), "can be loaded"),
    "few rows": (
        retensor(lambda t: t.update(weights=t["weights"][:50], mapping=t["mapping"][:50])),
        "the model has embeddings for 50",
    ),
    "far mapping": (retensor(lambda t: t["mapping"].fill_(99)), "mapping .* points to row 99"),
    "negative mapping": (retensor(lambda t: t["mapping"].sub_(1)), "mapping in .* points to row"),
    "few weights": (retensor(lambda t: t.update(weights=t["weights"][:9])), "9 weights for"),
    "other tensors": (
        retensor(lambda t: t.update(scale=torch.ones(2))),
        "holds the tensors .*scale",
    ),
    "flat": (
        retensor(lambda t: t.update(embeddings=t["embeddings"][0])),
        "embeddings .* the shape",
    ),
    "two minds": (
        rewrite("config.json", normalize=False),
        "sets normalize to false, but .* ends in",
    ),
    "pooling behind": (
        lambda f: (f / "modules.json").write_text(
            json.dumps(
                [
                    {"path": ".", "type": "sentence_transformers.models.StaticEmbedding"},
                    {"path": "1", "type": "sentence_transformers.models.Pooling"},
                ]
            )
        ),
        "has the module .*Pooling at place 1",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_one_sentence(name, m2v_folder, tmp_path):
    change, match = DAMAGES[name]
    with pytest.raises(UserError, match=match):
        Encoder.from_pretrained(damage(m2v_folder, tmp_path / "m", change))


def test_a_changed_row_of_a_saved_model_is_noticed(tmp_path):
    tiny_static().save_pretrained(tmp_path / "a")
    retensor(lambda t: t["embedding.weight"].mul_(2))(tmp_path / "a")
    with pytest.raises(textcl.errors.RunError, match="gives other vectors than when it was saved"):
        Encoder.from_pretrained(tmp_path / "a")


def test_lengths_that_differ_from_those_of_model2vec_are_told(tmp_path, caplog):
    folder = write_model2vec(tmp_path / "m", normalize=False)
    vectors = vectors_of(folder)
    assert "texts with unknown tokens get shorter vectors" in caplog.text
    expected = [by_hand(folder, text, normalize=False) for text in TEXTS]
    np.testing.assert_allclose(vectors[:4], expected[:4], atol=1e-6)  # the last has unknown tokens


def test_normalising_modules_of_sentence_transformers_are_read(tmp_path):
    module = StaticEmbedding(backend(), embedding_weights=table(len(families.tiny_tokenizer())))
    theirs = SentenceTransformer(modules=[module, Normalize()], device="cpu")
    theirs.save(str(tmp_path / "m"), create_model_card=False)
    np.testing.assert_allclose(vectors_of(tmp_path / "m"), theirs.encode(TEXTS), atol=1e-6)
