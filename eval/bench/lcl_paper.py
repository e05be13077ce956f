"""LCL at the protocol of its paper: cross-entropy, SupCon and LCL beside logistic regression on frozen vectors.

Batches of 10 texts, two views of each for the contrasts, 5 epochs, temperature 0.3, λ 0.5, two encoders, linear decay
without warm-up, weight decay 0.01, gradients clipped at 1, texts cleaned as in the authors' code; the epoch with the
best dev accuracy is scored on test, once. The encoder keeps only the tokens that the texts and their synonyms have,
which changes no result and spares the optimizer two thirds of the weights. Two things follow the encoder instead of the
paper: its pooling and the learning rate. `--head lcl` is the paper's head, which starts at random; `--head linear`
starts as a logistic regression on the frozen vectors. `--methods` also takes the variants of an ablation.

What is in the results already is not run again, so the command can be stopped and started; "--minutes" starts no run
after that time. Differences of the same seeds are tested in pairs, and corrected by Holm over all tests of the table.

TEXTCL_DATA=… python eval/bench/lcl_paper.py --tasks EmpatheticDialogues/hard-c --seeds 0 1 2 --layers 3 --output out
"""

from __future__ import annotations

import argparse
import io
import json
import re
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import facts
from rich.console import Console

import textcl
from textcl.classifier.classifier import vectors_of
from textcl.classifier.linear_probe import fit_linear_probe
from textcl.data.files import atomic_write
from textcl.evaluation.classification import score_classes
from textcl.evaluation.labelled import LabelledTask, load_labelled
from textcl.evaluation.significance import PairedTest, holm, mean_sd, paired_test
from textcl.views.synonyms import open_lexicon

MODEL = "sentence-transformers/all-MiniLM-L6-v2"
PROTOCOL: dict[str, Any] = {
    "batch_size": 10,
    "epochs": 5,
    "weight_decay": 0.01,
    "warmup": 0.0,
    "schedule": "linear",
    "max_grad_norm": 1.0,
    "max_length": 64,
    "save_every": 0,
    "keep_frozen": False,
}
CONTRAST: dict[str, Any] = {"temperature": 0.3, "loss_weight": 0.5}
METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "cross-entropy": ("cross-entropy", {}),
    "supcon": ("supcon", CONTRAST),
    "lcl": ("lcl", CONTRAST),
}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "lcl, one encoder": ("lcl", {**CONTRAST, "weighting": "shared"}),
    "lcl, λ 0.9": ("lcl", {**CONTRAST, "loss_weight": 0.9}),
    "lcl, batch 32": ("lcl", {**CONTRAST, "batch_size": 32}),
    "lcl, detached weights": ("lcl", {**CONTRAST, "detach_weights": True}),
    "lcl, printed formula": ("lcl", {**CONTRAST, "variant": "paper"}),
    "supcon, batch 32": ("supcon", {**CONTRAST, "batch_size": 32}),
}
PAIRS = (
    ("supcon", "cross-entropy"),
    ("lcl", "cross-entropy"),
    ("lcl", "supcon"),
    *((name, "lcl") for name in VARIANTS if name.startswith("lcl")),
    ("supcon, batch 32", "supcon"),
)


def cut_vocabulary(model: str, texts: set[str], folder: Path) -> Path:
    """A copy of the encoder `model` in `folder` without the tokens of no text, the pooling of its folder kept."""
    encoder = textcl.Encoder.from_pretrained(model)
    old = encoder.tokenizer
    order = sorted(texts)
    ids = old(order)["input_ids"]
    kept = sorted(set(old.all_special_ids).union(*ids))
    names = old.convert_ids_to_tokens(kept)
    new = type(old)(vocab={name: place for place, name in enumerate(names)}, do_lower_case=True)
    for text, expected in zip(order, ids, strict=True):
        assert new.convert_ids_to_tokens(new(text)["input_ids"]) == old.convert_ids_to_tokens(
            expected
        )
    network = encoder.backbone
    embeddings = network.get_input_embeddings()
    assert isinstance(embeddings, torch.nn.Embedding)
    weights = embeddings.weight.data[kept].clone()
    cut = network.resize_token_embeddings(len(kept))
    assert isinstance(cut, torch.nn.Embedding)
    cut.weight.data.copy_(weights)
    network.config.pad_token_id = new.pad_token_id
    textcl.Encoder(
        network,
        new,
        pooling=encoder.pooling,
        max_length=encoder.max_length,
        normalize=encoder.normalize,
    ).save_pretrained(folder)
    return folder


def words_of(task: str, view: str) -> set[str]:
    """All texts of a task, and all synonyms of their words where the second view is made of them."""
    texts = {text for part in load(task).values() for text in part.texts}
    if view != "synonyms":
        return texts
    lexicon = open_lexicon()
    words = {
        word
        for text in texts
        for word in re.findall(r"[\w\u0300-\u036f]+(?:['’-][\w\u0300-\u036f]+)*", text)
    }
    plain = (re.sub("[_-]", " ", other) for word in words for other in lexicon.synonyms(word))
    return texts | set(plain)


def load(task: str) -> dict[str, LabelledTask]:
    """The three splits, cleaned as by the authors."""
    return {
        part: load_labelled(task, part, lcl_preparation=True) for part in ("train", "dev", "test")
    }


def train(task: str, method: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """One run, and its score on test."""
    parts = load(task)
    recipe, settings = (METHODS | VARIANTS)[method]
    contrast = {"second_view": options.view} if settings else {}
    chosen = {
        **PROTOCOL,
        **settings,
        **contrast,
        "seed": seed,
        "head": options.head,
        "learning_rate": options.learning_rate,
        "num_layers": options.layers or None,
    }
    with tempfile.TemporaryDirectory() as folder:
        dev = Path(folder) / "dev.jsonl"
        dev.write_text("".join(json.dumps(row) + "\n" for row in parts["dev"].rows()))
        texts = words_of(task, options.view)
        model = cut_vocabulary(options.model, texts, Path(folder) / "encoder")
        start = time.process_time()
        run = textcl.train(
            recipe, model=str(model), data=parts["train"].rows(), dev=str(dev),
            output=Path(folder) / "run", settings=chosen, console=Console(file=io.StringIO()),
        )  # fmt: skip
        assert run is not None
        assert run.classifier is not None
        trained = time.process_time() - start
        score = measure(run.classifier, parts["test"])
        steps = run.position.step
    return {
        "task": task,
        "method": method,
        "seed": seed,
        "head": options.head,
        "view": options.view,
        "updates": steps,
        "seconds": trained,
        **score,
    }


def measure(classifier: textcl.Classifier, test: LabelledTask) -> dict[str, float]:
    """Accuracy and weighted F1 × 100."""
    probabilities = classifier.predict_proba(test.texts, precision="float32")
    result = score_classes(probabilities, classifier.targets(test.labels), classifier.classes)
    return {"accuracy": 100 * result.accuracy, "weighted_f1": 100 * result.weighted_f1}


def frozen(task: str, options: argparse.Namespace) -> dict[str, Any]:
    """Logistic regression on the vectors of the untouched encoder."""
    start = time.process_time()
    parts = load(task)
    encoder = textcl.Encoder.from_pretrained(options.model, num_layers=options.layers or None)
    names, y = np.unique(parts["train"].labels, return_inverse=True)
    probe = fit_linear_probe(
        vectors_of(encoder, parts["train"].texts, precision="float32"), y, len(names)
    )
    logits = probe.logits(vectors_of(encoder, parts["test"].texts, precision="float32"))
    truth = np.searchsorted(names, parts["test"].labels)
    shares = np.exp(logits - logits.max(1, keepdims=True))
    result = score_classes(shares / shares.sum(1, keepdims=True), truth, names.tolist())
    return {
        "task": task,
        "method": "frozen",
        "seed": 0,
        "head": "linear",
        "view": "",
        "updates": 0,
        "seconds": time.process_time() - start,
        "accuracy": 100 * result.accuracy,
        "weighted_f1": 100 * result.weighted_f1,
    }


def tests_of(results: list[dict[str, Any]]) -> list[tuple[str, str, PairedTest]]:
    """Paired tests of accuracy, with the task and the pair; where there are several tasks, those of all scores last."""
    tasks = list(dict.fromkeys(each["task"] for each in results))
    found: list[tuple[str, str, PairedTest]] = []
    for chosen in [*([task] for task in tasks), *([tasks] if len(tasks) > 1 else [])]:
        scores: dict[str, dict[tuple[str, int], float]] = {}
        for r in results:
            if r["task"] in chosen:
                scores.setdefault(r["method"], {})[r["task"], r["seed"]] = r["accuracy"]
        for first, second in PAIRS:
            a, b = scores.get(first, {}), scores.get(second, {})
            runs = sorted(a.keys() & b.keys())
            tested = paired_test([a[run] for run in runs], [b[run] for run in runs])
            if tested is not None:
                name = chosen[0] if len(chosen) == 1 else "all"
                found.append((name, f"{first} − {second}", tested))
    return found


def table(results: list[dict[str, Any]]) -> str:
    """Scores with their cost, and the tests."""
    lines = [
        "| task | method | seeds | accuracy | weighted F1 | updates | CPU seconds |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for task in dict.fromkeys(each["task"] for each in results):
        for method in ("frozen", *METHODS, *VARIANTS):
            mine = [each for each in results if (each["task"], each["method"]) == (task, method)]
            if mine:
                scores = [mean_sd([r[name] for r in mine]) for name in ("accuracy", "weighted_f1")]
                seconds = statistics.mean(r["seconds"] for r in mine)
                cells = [task, method, len(mine), *scores, mine[0]["updates"], f"{seconds:.0f}"]
                lines.append(f"| {' | '.join(map(str, cells))} |")
    lines += ["", "| task | accuracy | difference | p by Holm |", "|---|---|---|---:|"]
    tests = tests_of(results)
    corrected = holm([tested.p_value for *_, tested in tests])
    for (task, pair, tested), p in zip(tests, corrected, strict=True):
        lines.append(f"| {task} | {pair} | {tested} | {'–' if p is None else f'{p:.2g}'} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is not there yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--tasks", nargs="+", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--methods", nargs="+", choices=list(METHODS | VARIANTS), default=list(METHODS)
    )
    parser.add_argument("--model", default=MODEL)
    parser.add_argument(
        "--layers", type=int, default=0, help="first layers of the encoder; 0 for all"
    )
    parser.add_argument("--head", choices=["lcl", "linear"], default="lcl")
    parser.add_argument("--view", choices=["synonyms", "dropout"], default="synonyms")
    parser.add_argument("--learning-rate", type=float, default=5e-5)
    parser.add_argument("--minutes", type=float, default=float("inf"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.output.mkdir(parents=True, exist_ok=True)
    path, end = options.output / "results.json", time.monotonic() + 60 * options.minutes
    results = json.loads(path.read_text())["results"] if path.exists() else []
    done = {(each["task"], each["method"], each["seed"]) for each in results}
    todo = [(task, "frozen", 0) for task in options.tasks]
    todo += [(t, m, seed) for seed in options.seeds for t in options.tasks for m in options.methods]
    for task, method, seed in todo:
        if (task, method, seed) in done or time.monotonic() > end:
            continue
        result = frozen(task, options) if method == "frozen" else train(task, method, seed, options)
        results.append(result)
        print(json.dumps(result), flush=True)
        note = {"facts": facts(), "options": {k: str(v) for k, v in vars(options).items()}}
        with atomic_write(path) as file:
            file.write((json.dumps({**note, "results": results}, indent=1) + "\n").encode())
        (options.output / "table.md").write_text(table(results), encoding="utf-8")


if __name__ == "__main__":
    main()
