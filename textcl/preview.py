"""What a user sees of a run before its first step and after its last, and what its model card tells."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor

from textcl.data.lengths import truncation_report
from textcl.data.rows import Rows
from textcl.distributed import World
from textcl.loader import Loader
from textcl.method.method import Method, online_of
from textcl.recipe import Recipe
from textcl.recorder import Dev, Position
from textcl.run import RunFolder
from textcl.settings import TrainSettings

_UNCUT = 10**6  # tokens; longer than any text


def show(
    console: Console,
    recipe: Recipe,
    settings: TrainSettings,
    rows: Rows,
    method: Method,
    loader: Loader,
    dev: Dev | None,
    *,
    classes: str,
    negatives: str,
    machine: str,
    output: Path,
) -> None:
    """What the user sees before the first step: roles, rows, lengths, negatives, steps and three examples."""
    online = online_of(method)
    routes = ", ".join(
        f"{name} ← {route.encoder}({route.view} of column {method.views[route.view].column})"
        for name, route in method.routes.items()
    )
    parameters = sum(p.numel() for p in online.parameters()) / 1e6
    lengths = truncation_report(
        lambda texts: online.tokenize(texts, max_length=_UNCUT).lengths.tolist(),
        rows,
        settings.max_length,
    )
    total = settings.total_steps(len(loader.sampler))
    seen = total * settings.accumulation / len(loader.sampler)
    lines = {
        "recipe": f"{recipe.name}: {recipe.summary}",
        "model": f"{settings.model}: {online.dimension} dimensions, pooling {online.pooling}, "
        f"{parameters:.1f} M parameters",
        "data": rows.report.describe(),
        "lengths": lengths.describe(),
        "classes": classes,
        "views": routes,
        "negatives": negatives,
        "dev": f"{dev.protocol}, {dev.size}. {dev.note}".strip()
        if dev
        else "none: the last weights are kept",
        "steps": f"{total} updates of {settings.batch_size * settings.accumulation} rows, "
        f"{seen:.2f} epochs, {machine}",
        "output": str(output),
    }
    for name, text in lines.items():
        if not text:
            continue
        console.print(f"{name:<10}{text}", highlight=False, markup=False, soft_wrap=True)
    index = loader.sampler.batch(0, 0)[:3]
    batch = loader.collate(rows[index.tolist()], index, 0)
    for row in range(len(index)):
        for view, tokens in batch.tokens.items():
            one = tokens.rows(row, row + 1)
            text = online.tokenizer.decode(one.ids.tolist())
            console.print(
                f"{'example' if not row else '':<10}{row + 1} {view} ({len(one.ids)} tokens): {text}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )


def tell(
    console: Console,
    folder: RunFolder,
    position: Position,
    dev: Dev | None,
    seed: int,
    following: str,
) -> None:
    """What the user sees after the last step: scores with their protocol and seed, and where the encoder is."""
    say = console.print
    if dev is None or position.before is None or position.best is None:
        say(f"done in {position.seconds:.0f} s; model: {folder.best}", highlight=False)
        return
    say(
        f"dev before {position.before:.2f}, after {position.best:.2f} "
        f"(update {position.best_step}, seed {seed}; {dev.protocol})",
        highlight=False,
        soft_wrap=True,
    )
    if dev.note:
        say(dev.note, highlight=False, soft_wrap=True)
    if position.best < position.before:
        say("training did not help on this dev set: the model before it scores higher")
    say(
        f"trained in {position.seconds:.0f} s; model: {folder.best}\nnext: {following}",
        highlight=False,
        soft_wrap=True,
    )


def model_card(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the model card tells of a run: enough to do it again, and no folder of this machine."""
    data, settings = facts["data"], dict(facts["settings"])
    start, source = _last_part(settings["model"]), _last_part(data["source"])
    settings.update(model=start, data=source, dev=_last_part(settings["dev"]))
    return {
        "name": f"{start}, {_last_part(facts['recipe'])}",
        "recipe": _last_part(facts["recipe"]),
        "data": f"{source}, {data['rows']:,} rows, sha256 {data['sha256']}",
        "dev": facts["dev"],
        "seed": facts["seed"],
        "precision": facts["precision"],
        "processes": facts["processes"],
        "command": facts["command"],
        "settings": settings,
    }


def _last_part(name: str) -> str:
    return Path(name).name if Path(name).is_absolute() else name


def describe_negatives(
    method: Method,
    settings: TrainSettings,
    world: World,
    labels: Tensor | None = None,
    company: str = "",
) -> str:
    """What the objective's table holds, read from a rehearsal of all processes with made-up embeddings.

    Args:
        method: What is trained.
        settings: Its settings.
        world: The processes.
        labels: Labels of this process's rows of a batch, where the data has them.
        company: What else is to be said of the candidates, where there are any.
    """
    share = torch.arange(settings.batch_size).tensor_split(world.size)[world.rank]
    scores = torch.linspace(0, 5, len(share))
    terms = method.rehearse(len(share), labels, scores, first=int(share[0]))
    counts = {
        name.removeprefix("negatives/"): int(n) for name, n in terms.items() if "negatives/" in name
    }
    if not counts:
        return f"from batches of {settings.batch_size} rows"
    parts = ", ".join(f"{kind} {count:,}" for kind, count in counts.items())
    what = "negatives" if labels is None else "candidates of other rows"
    told = f"each anchor sees {sum(counts.values()):,} {what}: {parts}"
    return f"{told}; {company}" if company else told


def describe_machine(accelerator: Accelerator) -> str:
    """Precision, processes, device and threads."""
    precision = {"no": "float32", "bf16": "bf16 autocast", "fp16": "fp16 autocast"}
    kind = precision.get(str(accelerator.mixed_precision), str(accelerator.mixed_precision))
    threads = f", {torch.get_num_threads()} threads" if accelerator.device.type == "cpu" else ""
    return f"{kind} on {accelerator.num_processes} × {accelerator.device.type}{threads}"
