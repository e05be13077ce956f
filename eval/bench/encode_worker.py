"""One way to encode, in a process of its own that `encode.py` asks for turns.

It needs nothing but the library it drives, so it also runs in an environment that has no textcl. Commands come as
lines of JSON on standard input, answers go as lines of JSON to standard output.
"""

from __future__ import annotations

import json
import os
import platform
import resource
import sys
import time
from contextlib import ExitStack
from importlib import metadata
from pathlib import Path

import numpy as np

OUT = os.fdopen(os.dup(1), "w")  # libraries that print must not disturb the answers
os.dup2(2, 1)

BATCHES = (32, 64, 128, 256)


UNTIL_THE_END = (
    ExitStack()
)  # weights in bfloat16 become float32 again where nothing keeps their context


def main() -> None:
    given = json.loads(sys.argv[1])
    encode, settings = MAKERS[given["kind"]](given)
    versions = {}
    for name in ("textcl-train", "sentence-transformers", "torch", "transformers", "openvino", "nncf",
                 "onnxruntime", "optimum-intel"):  # fmt: skip
        try:
            versions[name.removesuffix("-train")] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    answer(settings=settings, versions={"python": platform.python_version(), **versions})
    for line in sys.stdin:
        order = json.loads(line)
        texts = json.loads(Path(order["texts"]).read_text())
        start = time.perf_counter()
        vectors = encode(texts)
        seconds = time.perf_counter() - start
        if order.get("save"):
            np.save(order["save"], np.asarray(vectors, dtype=np.float32))
        answer(seconds=seconds, peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def answer(**content) -> None:
    OUT.write(json.dumps(content) + "\n")
    OUT.flush()


def textcl(given):
    from textcl.encoder.encoder import Encoder

    encoder = Encoder.from_pretrained(given["model"], device="cpu")
    return lambda texts: encoder.encode(texts, **given["options"]), given["options"]


def textcl_export(given):
    from textcl.encoder.encoder import Encoder
    from textcl.export.write import export_encoder

    encoder = Encoder.from_pretrained(given["model"], device="cpu")
    exported = export_encoder(encoder, given["folder"], **given["options"])
    return exported.encode, given["options"]


def textcl_compile(given):
    """torch.compile on the backbone, which then takes padded batches, with shapes that vary."""
    import torch
    from torch.nn import functional as F

    from textcl.encoder.encoder import Encoder
    from textcl.encoder.packing.padded import padded_batches
    from textcl.encoder.precision import in_bfloat16

    encoder = Encoder.from_pretrained(given["model"], device="cpu")
    encoder.backbone.set_attn_implementation("sdpa")
    UNTIL_THE_END.enter_context(in_bfloat16(encoder.backbone))
    backbone = torch.compile(encoder.backbone, dynamic=True)

    def encode(texts):
        tokens = encoder.tokenize(texts)
        order = torch.argsort(tokens.lengths, stable=True)
        tokens, parts = tokens.take(order), []
        with torch.inference_mode():
            for start, stop in padded_batches(tokens.lengths.tolist(), smallest=8, budget=2048):
                ids, mask = tokens.rows(start, stop).padded(0)
                hidden = backbone(input_ids=ids, attention_mask=mask.long()).last_hidden_state
                weight = mask[..., None].float()
                parts.append((hidden.float() * weight).sum(1) / weight.sum(1))
        vectors = F.normalize(torch.cat(parts), dim=-1)
        return torch.empty_like(vectors).index_copy_(0, order, vectors).numpy()

    encode(json.loads(Path(given["sample"]).read_text()))
    return encode, {"precision": "bfloat16", "dynamic": True}


def theirs(given):
    """sentence-transformers; with "tune", the batch that is fastest on the sample."""
    from sentence_transformers import SentenceTransformer

    options = given["options"]
    backend, keywords = options.get("backend", "torch"), {}
    if options.get("precision") == "bfloat16":
        import torch

        keywords["dtype"] = torch.bfloat16
    model = SentenceTransformer(
        given["model"], backend=backend, device="cpu", model_kwargs=keywords
    )
    if options.get("int8"):
        model = their_int8(model, given)
    if not options.get("tune"):
        return lambda texts: model.encode(texts), options
    sample = json.loads(Path(given["sample"]).read_text())
    best: dict[int, float] = {}
    for batch in BATCHES:
        model.encode(sample, batch_size=batch)
        start = time.perf_counter()
        model.encode(sample, batch_size=batch)
        best[batch] = time.perf_counter() - start
    batch = min(best, key=lambda size: best[size])
    return lambda texts: model.encode(texts, batch_size=batch), {**options, "batch_size": batch}


def their_int8(model, given):
    """Their own static quantisation, fitted to the same sentences as ours."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.backend import export_static_quantized_openvino_model

    folder = Path(given["folder"])
    folder.mkdir(parents=True)
    rows = [{"text": text} for text in json.loads(Path(given["calibration"]).read_text())]
    (folder / "data").mkdir()
    (folder / "data" / "train.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    model.save_pretrained(str(folder / "model"))
    export_static_quantized_openvino_model(
        model, None, str(folder / "model"), dataset_name=str(folder / "data"),
        dataset_config_name="default", dataset_split="train", column_name="text",
    )  # fmt: skip
    name = "openvino/openvino_model_qint8_quantized.xml"
    return SentenceTransformer(
        str(folder / "model"), backend="openvino", device="cpu", model_kwargs={"file_name": name}
    )


MAKERS = {
    "textcl": textcl,
    "textcl-export": textcl_export,
    "textcl-compile": textcl_compile,
    "sentence-transformers": theirs,
}

if __name__ == "__main__":
    main()
