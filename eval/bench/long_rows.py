"""Rows of 8,192 tokens through a random ModernBERT: textcl beside sentence-transformers, time and peak memory.

python eval/bench/long_rows.py --json out.json

Each library encodes each case in a process of its own, in float32.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import cast

from common import facts

LONGEST, WIDTH, LAYERS = 8192, 256, 3
CASES = {
    "two long rows": [LONGEST, LONGEST],
    "one long row and seven of 200": [LONGEST] + [200] * 7,
}
LIBRARIES = ("textcl", "sentence_transformers")


def make_model(folder: Path) -> None:
    """A narrow random ModernBERT that takes rows of 8,192 tokens; one layer of three sees the whole row."""
    import torch
    from transformers import ModernBertConfig, ModernBertModel

    from textcl.encoder.encoder import Encoder

    torch.manual_seed(0)
    tokenizer = Encoder("sentence-transformers/all-MiniLM-L6-v2").tokenizer
    config = ModernBertConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=3 * WIDTH // 2, num_hidden_layers=LAYERS,
        num_attention_heads=4, max_position_embeddings=LONGEST, pad_token_id=cast("int", tokenizer.pad_token_id),
        cls_token_id=cast("int", tokenizer.cls_token_id), sep_token_id=cast("int", tokenizer.sep_token_id),
    )  # fmt: skip
    tokenizer.model_max_length = LONGEST
    Encoder(ModernBertModel(config), tokenizer, max_length=LONGEST).save_pretrained(folder)


def encode(library: str, model: str, lengths: list[int]) -> None:
    """Print the seconds and the memory of one library."""
    texts = ["dog " * (length - 2) for length in lengths]
    if library == "textcl":
        from textcl.encoder.encoder import Encoder

        ours = Encoder(model)
        ours.encode(["dog"], precision="float32")
        base, start = _peak(), (time.perf_counter(), time.process_time())
        vectors = ours.encode(texts, precision="float32")
    else:
        from sentence_transformers import SentenceTransformer

        theirs = SentenceTransformer(model, device="cpu")
        theirs.encode(["dog"])
        base, start = _peak(), (time.perf_counter(), time.process_time())
        vectors = theirs.encode(texts)
    result = {
        "processor": round(time.process_time() - start[1], 2),
        "clock": round(time.perf_counter() - start[0], 2),
        "peak MiB": _peak(),
        "peak MiB before": base,
        "first number": round(float(vectors[0][0]), 4),
    }
    print(json.dumps(result))


def _peak() -> int:
    """MiB of this process at most (Linux); `getrusage` would begin with those of its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) >> 10


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--only", nargs=3, metavar=("LIBRARY", "MODEL", "CASE"))
    options = parser.parse_args()
    if options.only:
        library, model, case = options.only
        encode(library, model, CASES[case])
        return
    with tempfile.TemporaryDirectory() as place:
        make_model(Path(place) / "model")
        measured: dict[str, dict[str, dict[str, float]]] = {}
        for case in CASES:
            for library in LIBRARIES:
                command = [sys.executable, __file__, "--only", library, f"{place}/model", case]
                shown = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                measured.setdefault(case, {})[library] = json.loads(shown.stdout.splitlines()[-1])
                print(case, library, measured[case][library], flush=True)
    result = {"width": WIDTH, "layers": LAYERS, "cases": measured, **facts()}
    print(json.dumps(result))
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
