"""Tiny finished runs whose texts, labels and folder names try to break out of a page."""

import io
import json
import random

from families import tiny_model_dir
from labelled import labelled, write_jsonl
from recipe_rows import WORDS
from rich.console import Console

from textcl.training.session import train

NASTY = "</script><script>document.title=\"broken\"</script> <img src=x onerror=\"document.title='broken'\"> & 'é'"


def sentences(count, seed):
    draw = random.Random(seed)
    return [" ".join(draw.sample(WORDS, draw.randint(3, 7))) for _ in range(count)]


def encoder_run(folder):
    """A run of unsup-simcse; its graded dev pairs hold `NASTY`, and its folder's name is one."""
    corpus, dev = folder / "corpus.txt", folder / "dev.jsonl"
    lines = sentences(40, 0)
    corpus.write_text("\n".join([*lines, *lines[:3], "word " * 40, NASTY]) + "\n")
    first, second = sentences(9, 1), sentences(9, 2)
    pairs = [(NASTY, first[0]), *zip(first, second, strict=True), (second[0], second[0])]
    rows = [
        {"sentence1": a, "sentence2": b, "score": score % 6} for score, (a, b) in enumerate(pairs)
    ]
    dev.write_text("\n".join(map(json.dumps, rows)) + "\n")
    settings = [
        "batch_size=8", "steps=8", "learning_rate=1e-3", "evaluate_every=4", "save_every=8", "log_every=1",
        "pooling=mean", "max_length=16",
    ]  # fmt: skip
    return run("unsup-simcse", folder, corpus, str(dev), folder / "run <i>&", settings)


def classifier_run(folder):
    """A classifier whose dev file holds `NASTY` as a text, and a label with markup."""
    rows = {
        name: labelled(count, seed=seed)
        for seed, (name, count) in enumerate((("train", 48), ("dev", 20)))
    }
    names = sorted({row["label"] for row in rows["train"]})
    renamed = {name: name for name in names} | {names[0]: '<b>"one"</b>'}
    for name, found in rows.items():
        found = [{**row, "label": renamed[row["label"]]} for row in found]
        found[0]["text"] = NASTY
        write_jsonl(folder / f"{name}.jsonl", found)
    settings = [
        "batch_size=8",
        "epochs=2",
        "log_every=2",
        "pooling=mean",
        "max_length=16",
        "save_every=0",
    ]
    return run(
        "supcon",
        folder,
        folder / "train.jsonl",
        str(folder / "dev.jsonl"),
        folder / "classes",
        settings,
    )


def run(recipe, folder, data, dev, output, settings):
    model = tiny_model_dir(folder / "model")
    quiet = Console(file=io.StringIO(), width=200)
    train(
        recipe,
        model=str(model),
        data=str(data),
        dev=dev,
        output=output,
        settings=settings,
        console=quiet,
    )
    return output
