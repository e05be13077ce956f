"""An exported folder opens elsewhere: what the loaders of other libraries read there, by their own rules."""

import importlib.util
import json
import shutil
from pathlib import Path

import families
import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.backend.utils import backend_should_export
from tokenizers import Tokenizer

from textcl.encoder.encoder import Encoder
from textcl.errors import UserError
from textcl.export.load import load_encoder
from textcl.export.write import export_encoder

TEXTS = ["a man plays the guitar", "dog", "the dog and the cat run in the street " * 9]
NAMES = {"onnx": ("model.onnx", "*.onnx"), "openvino": ("openvino_model.xml", "openvino*.xml")}
POOLINGS = {  # that text-embeddings-inference knows, by the keys that it reads in 1_Pooling/config.json
    "pooling_mode_cls_token",
    "pooling_mode_mean_tokens",
    "pooling_mode_lasttoken",
}


def folder_of(exports, backend):
    if backend not in exports[1]:
        pytest.skip(f"the extra {backend} is not installed")
    return exports[1][backend].folder


def read(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("backend", NAMES)
def test_sentence_transformers_finds_the_graph_and_does_not_export_again(exports, backend):
    folder = folder_of(exports, backend)
    assert not backend_should_export(folder, True, {}, *NAMES[backend], backend)[0]


@pytest.mark.parametrize("backend", NAMES)
def test_the_modules_are_those_of_the_saved_model(exports, backend, tmp_path):
    folder = folder_of(exports, backend)
    exports[0].save_pretrained(tmp_path / "saved")
    for name in (
        "modules.json",
        "config_sentence_transformers.json",
        "sentence_bert_config.json",
        "1_Pooling/config.json",
        "config.json",
    ):
        assert read(folder / name) == read(tmp_path / "saved" / name), name
    assert not list(folder.glob("*.safetensors"))


@pytest.mark.parametrize("backend", NAMES)
def test_sentence_transformers_opens_the_folder_with_equal_vectors(exports, backend):
    pytest.importorskip({"onnx": "optimum.onnxruntime", "openvino": "optimum.intel"}[backend])
    exact = {"ov_config": {"INFERENCE_PRECISION_HINT": "f32"}} if backend == "openvino" else {}
    model = SentenceTransformer(
        str(folder_of(exports, backend)), backend=backend, device="cpu", model_kwargs=exact
    )
    expected = exports[0].encode(TEXTS, precision="float32")
    np.testing.assert_allclose(model.encode(TEXTS), expected, atol=2e-6)


def run(folder, texts):
    """What a program without textcl does: tokenizers and onnxruntime alone."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    config = read(folder / "tokenizer_config.json")
    tokenizer.enable_truncation(min(config["model_max_length"], config.get("max_length", 512)))
    pad = config["pad_token"]
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id(pad), pad_token=pad)
    rows = tokenizer.encode_batch(texts)
    ids = np.array([row.ids for row in rows])
    mask = np.array([row.attention_mask for row in rows])
    names = [output.name for output in session.get_outputs()]
    return names, mask, session.run(None, {"input_ids": ids, "attention_mask": mask})


def test_outputs_are_named_and_the_first_is_the_vector(exports):
    # fastembed takes the first output and the length that tokenizer_config.json names; text-embeddings-inference takes
    # "sentence_embedding", optimum and infinity pool "last_hidden_state"
    folder = folder_of(exports, "onnx")
    names, mask, (vectors, states) = run(folder, TEXTS)
    assert names == ["sentence_embedding", "last_hidden_state"]
    expected = exports[0].encode(TEXTS, precision="float32")
    np.testing.assert_allclose(vectors, expected, atol=2e-6)
    mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdims=True)
    mean /= np.linalg.norm(mean, axis=1, keepdims=True)
    np.testing.assert_allclose(mean, expected, atol=2e-6)


def test_openvino_names_its_outputs_too(exports):
    openvino = pytest.importorskip("openvino")
    folder = folder_of(exports, "openvino")
    model = openvino.Core().read_model(folder / "openvino_model.xml")
    names = [sorted(port.get_names()) for port in model.outputs]
    assert names == [["sentence_embedding"], ["last_hidden_state"]]
    assert [port.get_any_name() for port in model.inputs] == ["input_ids", "attention_mask"]


def test_text_embeddings_inference_finds_what_it_reads(exports):
    folder = folder_of(exports, "onnx")
    config = read(folder / "config.json")
    assert config["architectures"] == [
        "BertModel"
    ]  # one that ends in Classification would be a classifier
    assert isinstance(config["model_type"], str)
    assert {"hidden_size", "num_hidden_layers", "pad_token_id", "max_position_embeddings"} <= set(
        config
    )
    assert read(folder / "sentence_bert_config.json")["max_seq_length"] == exports[0].max_length
    modes = {key for key, on in read(folder / "1_Pooling/config.json").items() if on is True}
    assert len(modes & POOLINGS) == 1
    assert (folder / "model.onnx").is_file()
    assert (folder / "tokenizer.json").is_file()


def test_infinity_finds_one_graph_and_a_length_that_is_no_shorter(exports):
    folder = folder_of(exports, "onnx")
    assert [path.name for path in folder.rglob("*.onnx")] == ["model.onnx"]  # it takes the last
    assert read(folder / "config.json")["max_position_embeddings"] >= exports[0].max_length
    assert read(folder / "tokenizer_config.json")["tokenizer_class"]


def test_fastembed_gives_the_same_vectors(exports):
    fastembed = pytest.importorskip("fastembed")
    description = pytest.importorskip("fastembed.common.model_description")
    folder = folder_of(exports, "onnx")
    fastembed.TextEmbedding.add_custom_model(
        model="tiny",
        pooling=description.PoolingType.DISABLED,
        normalization=False,
        sources=description.ModelSource(hf="tiny"),
        dim=exports[0].dimension,
        model_file="model.onnx",
    )
    model = fastembed.TextEmbedding("tiny", specific_model_path=str(folder))
    expected = exports[0].encode(TEXTS, precision="float32")
    np.testing.assert_allclose(np.stack(list(model.embed(TEXTS))), expected, atol=2e-6)


@pytest.mark.skipif(
    not importlib.util.find_spec("onnxscript"), reason="the extra onnx is not installed"
)
def test_a_pooling_that_only_textcl_knows_names_no_modules(exports, tmp_path):
    encoder = families.tiny_encoder("bert", layers=1, pooling="first_last", hidden=16)
    # another export, which is replaced, though it has a config.json
    shutil.copytree(folder_of(exports, "onnx"), tmp_path / "x")
    folder = export_encoder(encoder, tmp_path / "x", "onnx").folder
    assert not (folder / "modules.json").exists()
    np.testing.assert_allclose(
        load_encoder(folder).encode(TEXTS), encoder.encode(TEXTS, precision="float32"), atol=2e-6
    )
    with pytest.raises(UserError, match="was exported to another library"):
        Encoder.from_pretrained(folder)
