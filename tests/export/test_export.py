"""Exported graphs give the vectors of torch; what runs them are extras, so their tests run where they are installed."""

import gc
import importlib.util
import sys
from pathlib import Path

import families
import numpy as np
import pytest
import torch
import typer
from transformers.masking_utils import sdpa_mask
from transformers.models.bert.modeling_bert import BertPooler
from typer.testing import CliRunner

import textcl.cli.encode
import textcl.export.pooling
import textcl.export.program
import textcl.export.write
from textcl.cli.export import EXAMPLES, export_command
from textcl.encoder.encoder import Encoder
from textcl.encoder.pooling import POOLINGS
from textcl.errors import RunError, UserError
from textcl.export import backends
from textcl.export.exported import ExportedEncoder
from textcl.export.folder import Export
from textcl.export.graph import EncoderGraph
from textcl.export.load import load_encoder
from textcl.export.parity import LOWEST_COSINE, closeness
from textcl.export.program import exportable
from textcl.export.write import export_encoder

TEXTS = ["a man plays the guitar", "", "dog", "the dog and the cat run in the street " * 9, "x y"]


def installed(name):
    return all(importlib.util.find_spec(package) for package in backends.BACKENDS[name])


needs = {
    name: pytest.mark.skipif(not installed(name), reason=f"the extra {name} is not installed")
    for name in backends.BACKENDS
}
BOTH = [pytest.param(name, marks=needs[name]) for name in backends.BACKENDS]


def tiny(family="bert", **options):
    return families.tiny_encoder(family, **options)


def through_graph(encoder, texts):
    tokens = encoder.tokenize(texts)
    ids, mask = tokens.padded(getattr(encoder.backbone.config, "pad_token_id", 0), 70)
    with exportable(encoder) as graph, torch.no_grad():
        return graph(ids[:, :64], mask[:, :64].long())[0].numpy()


@pytest.mark.parametrize("family", families.FAMILIES)
def test_the_graph_gives_the_vectors_of_the_encoder(family):
    encoder = tiny(family)
    np.testing.assert_allclose(
        through_graph(encoder, TEXTS), encoder.encode(TEXTS, precision="float32"), atol=2e-6
    )


@pytest.mark.parametrize("pooling", [p for p in POOLINGS if p != "mean_all"] + ["cls+max+mean"])
def test_every_pooling_is_in_the_graph(pooling):
    encoder = tiny("bert", pooling=pooling)
    if pooling == "cls_pooler":
        encoder.backbone.pooler = BertPooler(encoder.backbone.config)
    encoder.add_projector(keep=True)
    encoder.normalize = True
    np.testing.assert_allclose(
        through_graph(encoder, TEXTS), encoder.encode(TEXTS, precision="float32"), atol=2e-6
    )


def test_a_row_without_tokens_gives_what_a_zero_does():
    encoder = tiny("bert", pooling="mean+max+lasttoken+weightedmean")
    encoder.add_projector(keep=True)
    for parameter in encoder.dense.parameters():
        torch.nn.init.normal_(parameter)
    with exportable(encoder) as graph, torch.no_grad():
        found, _ = graph(torch.zeros(2, 3, dtype=torch.long), torch.tensor([[0, 0, 0], [1, 1, 0]]))
        expected = graph.dense(torch.zeros(1, encoder.dimension))[0]
    torch.testing.assert_close(found[0], expected)
    assert torch.isfinite(found).all()


def test_exporting_leaves_the_encoder_as_it_was():
    encoder = tiny("bert").train()
    encoder.encode(["a"])
    before = encoder.backbone.config._attn_implementation
    with exportable(encoder) as graph:
        assert not graph.training
        assert encoder.backbone.config._attn_implementation != before
    assert encoder.training
    assert encoder.backbone.config._attn_implementation == before


def test_no_query_of_a_graph_attends_to_nothing():
    # Padding outside the window of every token: nan in OpenVINO, as the export of ModernBERT showed.
    seen = torch.tensor([[1, 1, 1, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1, 1]]).bool()

    def near(batch, head, query, key):
        return abs(query - key) < 2

    theirs, ours = (
        mask(2, 7, 7, mask_function=near, attention_mask=seen)
        for mask in (sdpa_mask, textcl.export.program._mask)
    )
    assert not theirs.any(-1).all()
    assert ours.any(-1).all()
    real = seen[:, None, :, None].expand_as(ours)
    assert torch.equal(ours[real], theirs[real])


def test_a_pooling_over_padding_is_refused():
    with pytest.raises(UserError, match=r"mean_all.*cannot be exported"):
        EncoderGraph(tiny("bert", pooling="mean_all"))


@pytest.mark.parametrize("backend", BOTH)
def test_an_export_encodes_as_the_encoder_does(exports, backend):
    encoder, made = exports
    exported = made[backend]
    expected = encoder.encode(TEXTS, precision="float32")
    found = exported.encode(TEXTS, precision="float32")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-6)
    for options in (
        {"batch_tokens": 8},
        {"prompt": "query"},
        {"truncate_dim": 3},
        {"normalize": True},
    ):
        np.testing.assert_allclose(
            exported.encode(iter(TEXTS), precision="float32", **options),
            encoder.encode(TEXTS, precision="float32", **options),
            atol=2e-6,
        )
    assert exported.encode([]).shape == (0, encoder.dimension)
    assert exported.encode(TEXTS[:1], precision="float32").shape == (1, encoder.dimension)


@pytest.mark.parametrize("backend", BOTH)
def test_an_export_names_no_path_of_the_machine(exports, backend):
    _, made = exports
    written = b"".join(p.read_bytes() for p in made[backend].folder.rglob("*") if p.is_file())
    for module in (textcl, torch):
        assert str(Path(module.__file__).parent).encode() not in written


@pytest.mark.parametrize("backend", BOTH)
def test_wrong_arguments_are_told(exports, backend):
    exported = exports[1][backend]
    for arguments, options, match in (
        (["a"], {"normalize": False}, "scales its vectors to length 1: export it again"),
        (["a"], {"truncate_dim": 99}, "truncate_dim=99 must be between 1 and 32"),
        (iter(["a", 1]), {}, "texts must be strings, but number 1 is 1"),
        (["a"], {"precision": "float16"}, "precision must be"),
    ):
        with pytest.raises(UserError, match=match):
            exported.encode(arguments, **options)


@needs["onnx"]
def test_onnx_has_no_bfloat16(exports):
    with pytest.raises(UserError, match="'onnx' runs in float32, not in bfloat16"):
        exports[1]["onnx"].encode(["a"], precision="bfloat16")


@needs["openvino"]
def test_bfloat16_is_close(exports):
    encoder, made = exports
    found = made["openvino"].encode(TEXTS, precision="bfloat16")
    assert closeness(found, encoder.encode(TEXTS, precision="float32")).min() > 0.999


@pytest.mark.parametrize("backend", BOTH)
def test_other_vectors_are_refused(exports, backend, tmp_path):
    exported = exports[1][backend]
    said = Export.read(exported.folder)
    changed = Export(**{**vars(said), "vectors": (-np.asarray(said.vectors)).tolist()})
    with pytest.raises(RunError, match=r"does not give the vectors of torch: lowest cosine -1\.0"):
        ExportedEncoder(exported.folder, changed, exported.tokenizer).check("float32")


def test_a_wrong_graph_leaves_nothing(tmp_path, monkeypatch):
    """The comparison at export must fail for a graph that forgets what stands behind the pooling."""
    if not installed("openvino"):
        pytest.skip("the extra openvino is not installed")
    encoder = tiny("bert", layers=1)
    monkeypatch.setattr(textcl.export.pooling, "_weights", lambda mask, pooling: mask.float() / 7)
    with pytest.raises(RunError, match="does not give the vectors of torch"):
        export_encoder(encoder, tmp_path / "x", "openvino")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_int8_stays_close(family, backend, tmp_path):
    encoder = tiny(family)
    exported = export_encoder(encoder, tmp_path / "x", backend, int8=True)
    exact = encoder.encode(TEXTS, precision="float32")
    close = closeness(exported.encode(TEXTS, precision="float32"), exact)
    assert LOWEST_COSINE["int8"] < close.min() < 1 - 1e-7  # a float32 graph would be closer


@pytest.mark.parametrize("backend", BOTH)
def test_float16_weights_halve_the_file_and_little_else(backend, exports, converted, tmp_path):
    encoder, made = exports
    half = export_encoder(converted, tmp_path / "x", backend, fp16=True)
    exact = encoder.encode(TEXTS, precision="float32")
    close = closeness(half.encode(TEXTS, precision="float32"), exact)
    assert 0.99999 < close.min() < 1 - 1e-9  # a float32 graph would be closer
    sizes = [weights_of(export.folder) for export in (half, made[backend])]
    assert sizes[0] < 0.75 * sizes[1]


def weights_of(folder):
    return sum(path.stat().st_size for path in folder.iterdir() if path.suffix in (".onnx", ".bin"))


@pytest.mark.parametrize("backend", BOTH)
def test_what_a_library_cannot_convert_is_said(backend, tmp_path, monkeypatch):
    def convert(program, path):
        try:
            raise ValueError("no form for\nthis operator")
        except ValueError as error:
            raise TypeError("step 2/3 failed") from error

    monkeypatch.setattr(textcl.export.write, "program_of", lambda graph, encoder: None)
    monkeypatch.setattr(backends.find_backend(backend), "convert", convert)
    with pytest.raises(RunError, match=r"of this bert model \(no form for this operator\): use"):
        export_encoder(tiny(layers=1), tmp_path / "x", backend)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize("family", ["qwen3", "gemma3_text", "modernbert-decoder", "t5"])
def test_decoders_are_exported_to_onnx_and_t5_to_openvino(family, backend, tmp_path):
    encoder = tiny(family, layers=1)
    if (family == "t5") == (backend == "onnx"):
        with pytest.raises(RunError, match=f"cannot be made of this {family} model"):
            export_encoder(encoder, tmp_path / "x", backend)
        return
    exported = export_encoder(encoder, tmp_path / "x", backend)
    exact = encoder.encode(TEXTS, precision="float32")
    np.testing.assert_allclose(exported.encode(TEXTS, precision="float32"), exact, atol=1e-5)


def test_one_kind_of_weights_is_chosen(tmp_path):
    with pytest.raises(UserError, match="--int8 and --fp16 are two kinds of weights"):
        export_encoder(tiny(layers=1), tmp_path / "x", "onnx", int8=True, fp16=True)


@pytest.mark.slow
@pytest.mark.parametrize("backend", BOTH)
@pytest.mark.parametrize("family", families.FAMILIES)
def test_every_family_exports(family, backend, tmp_path):
    encoder = tiny(family, pooling="first_last+cls")
    exported = export_encoder(encoder, tmp_path / "x", backend)
    np.testing.assert_allclose(
        exported.encode(TEXTS, precision="float32"),
        encoder.encode(TEXTS, precision="float32"),
        atol=1e-5,
    )


def test_closeness_sees_lengths_too():
    exact = np.array([[3.0, 4.0], [0.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(closeness(exact, exact), 1)
    np.testing.assert_allclose(closeness(2 * exact[:1], exact[:1]), 1 - 25 / 100)
    np.testing.assert_allclose(closeness(np.array([[0.0, 1.0]]), exact[2:]), 0)


def test_a_missing_extra_is_told(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r'openvino and nncf, .*pip install "textcl-train\[openvino\]"'
    ):
        backends.find_backend("openvino")
    with pytest.raises(UserError, match="unknown backend 'tensorrt': choose one of openvino, onnx"):
        backends.find_backend("tensorrt")


@needs["openvino"]
def test_nothing_is_reported_to_the_makers_of_openvino():
    backends.find_backend("openvino")
    import openvino.tools.ovc

    assert sys.modules["openvino_telemetry"] is None
    assert type(openvino.tools.ovc.telemetry).__module__ == "openvino.tools.ovc.telemetry_stub"


APP = typer.Typer()
APP.command("export", epilog=EXAMPLES)(export_command)
APP.command("encode")(textcl.cli.encode.encode_command)


def command(*arguments):
    result = CliRunner().invoke(APP, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0
    return result


@needs["openvino"]
def test_an_export_is_used_by_its_folder(exports, tmp_path):
    encoder, made = exports
    folder = made["openvino"].folder
    (tmp_path / "x.txt").write_text("a man\nthe dog plays\n")
    command(
        "encode", folder, tmp_path / "x.txt", "-o", tmp_path / "a.npy", "--precision", "float32"
    )
    np.testing.assert_allclose(
        np.load(tmp_path / "a.npy"),
        encoder.encode(["a man", "the dog plays"], precision="float32"),
        atol=2e-6,
    )
    with pytest.raises(UserError, match="was exported for openvino, not for onnx"):
        load_encoder(folder, "onnx")
    with pytest.raises(UserError, match="was exported to another library"):
        Encoder.from_pretrained(folder)


@needs["openvino"]
def test_the_command_quantises_and_tells_the_cost(converted, tmp_path, monkeypatch):
    monkeypatch.delenv("TEXTCL_DATA", raising=False)
    model, out = tmp_path / "model", tmp_path / "small"
    converted.save_pretrained(model)
    (tmp_path / "x.txt").write_text("a man\n\nthe dog plays\n")
    options = ("-o", out, "--backend", "openvino", "--int8", "--calibration", tmp_path / "x.txt")
    result = command("export", model, *options)
    assert "small: openvino, int8, 32 dimensions, pooling mean; cosine to the" in result.stderr
    assert "sample-pairs-dev" in result.stdout
    assert "int8 changes the score by" in result.stdout
    exact = Encoder.from_pretrained(model).encode(TEXTS, precision="float32")
    close = closeness(ExportedEncoder.from_pretrained(out).encode(TEXTS), exact)
    assert 0.9 < close.min() < 1 - 1e-7  # a float32 graph would be closer
    with pytest.raises(UserError, match="exists already: name another folder or add --overwrite"):
        command("export", model, *options)
    (tmp_path / "x.txt").write_text("\n\n")
    with pytest.raises(UserError, match=r"x\.txt: no text to fit int8 to"):
        command("export", model, *options, "--overwrite")
    with pytest.raises(UserError, match="--calibration is for --int8"):
        command("export", model, "-o", tmp_path / "y", "--backend", "onnx", "--calibration", "x")
    with pytest.raises(UserError, match="holds a model: name another folder"):
        export_encoder(tiny(), model, "openvino")


@needs["openvino"]
def test_a_model_is_converted_on_the_way(converted, tmp_path):
    model = tmp_path / "model"
    converted.save_pretrained(model)
    exported = load_encoder(model, "openvino")
    assert isinstance(exported, ExportedEncoder)
    expected = Encoder.from_pretrained(model).encode(TEXTS, precision="float32")
    np.testing.assert_allclose(exported.encode(TEXTS, precision="float32"), expected, atol=2e-6)
    place = exported.folder
    del exported
    gc.collect()
    assert not place.exists()


def test_a_folder_that_is_no_export_is_told(tmp_path):
    with pytest.raises(
        UserError, match=r"not a folder that textcl export wrote: textcl_export.json"
    ):
        ExportedEncoder.from_pretrained(tmp_path)
