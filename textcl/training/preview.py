"""The preview: what a user sees of a run before its first step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from rich.console import Console
from torch import Tensor

from textcl.data.lengths import TruncationReport, cut_note, truncation_report
from textcl.data.rows import Rows
from textcl.distributed import World
from textcl.encoder.encoder import Encoder
from textcl.encoder.packing.calling import DECODERS
from textcl.encoder.packing.dropout import has_dropout
from textcl.encoder.packing.reach import is_causal
from textcl.encoder.reader import Reader
from textcl.method.method import Method, online_of
from textcl.objectives.counted import parts_of
from textcl.terminal import counted
from textcl.training.dev import Dev
from textcl.training.items import ItemCounts
from textcl.training.loader import Loader
from textcl.training.recipes import Recipe
from textcl.training.settings import TrainSettings


def preview(
    console: Console,
    recipe: Recipe,
    settings: TrainSettings,
    rows: Rows,
    method: Method,
    loader: Loader,
    dev: Dev | None,
    *,
    labels: Mapping[str, str],
    machine: str,
    output: Path,
) -> None:
    """Print roles, rows, lengths, negatives, steps and three examples as the model will see them.

    Args:
        console: Where to.
        recipe: What is trained.
        settings: Of the run.
        rows: To train on.
        method: What the recipe built.
        loader: Its batches.
        dev: What selects the weights.
        labels: Lines on negatives, classes, and what is to be beaten.
        machine: Precision, processes and devices.
        output: The run folder.
    """
    online = online_of(method)
    kinds = _kinds_of_texts(method, settings.max_length)
    total = settings.total_steps(len(loader.sampler))
    seen = f"{total * settings.accumulation / len(loader.sampler):.2f} epochs"
    if rows.report.streamed:
        seen = f"streamed through a buffer of {settings.shuffle_buffer:,} rows"
    preset = recipe.preset_line(settings)
    lines = {
        "recipe": f"{recipe.name}: {recipe.summary}",
        "model": f"{settings.model}: {online.dimension} dimensions, {_pooling(online)}, "
        f"{_parameters(online, settings)}{_direction(online)}",
        **({"settings": preset} if preset else {}),
        "data": rows.report.describe(),
        "prompt": _prompts(online, kinds),
        "lengths": f"{_lengths(kinds, method, rows)}; the saved model reads {online.max_length} tokens",
        **{name: labels[name] for name in ("classes", "sources") if name in labels},
        "views": _routes(method, online),
        "negatives": labels["negatives"],
        "dev": _dev(dev, online) if dev else labels.get("dev", "none: the last weights are kept"),
        **({"to beat": labels["to beat"]} if "to beat" in labels else {}),
        "steps": f"{counted(total, 'update')} of {counted(settings.batch_size * settings.accumulation, 'row')}"
        f"{_accumulated(method, loader, settings.accumulation)}, {seen}, {machine}",
        "output": str(output),
    }
    for name, text in lines.items():
        console.print(f"{name:<10}{text}", highlight=False, markup=False, soft_wrap=True)
    index = loader.sampler.batch(0, 0)[:3]
    batch = loader.collate(rows[index.tolist()], index, 0)
    for row in range(len(index)):
        for view, tokens in batch.tokens.items():
            if view in method.read_by:  # in another vocabulary
                continue
            one = tokens.rows(row, row + 1)
            if not len(one.ids):  # behind the end of a short list
                continue
            text = online.tokenizer.decode(one.ids.tolist())
            console.print(
                f"{'example' if not row else '':<10}{row + 1} {view} ({len(one.ids)} tokens): {text}",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )


def _accumulated(method: Method, loader: Loader, accumulation: int) -> str:
    """Whether the batches of an update give the gradient of one large batch."""
    if accumulation == 1:
        return ""
    counted = ItemCounts.of(method, accumulation).count(loader.batch(0, 0))
    if counted.keys() == set(parts_of(method.objective)):
        return f" in {accumulation} batches, as one mean over all of them"
    return f" in {accumulation} batches that do not see each other's rows (chunk_size lets them)"


def _routes(method: Method, online: Encoder) -> str:
    """Lines on the encoders of each view, and on views that are equal because nothing is dropped."""
    routes = ", ".join(
        f"{name} ← {route.encoder}({route.view} of column {method.views[route.view].column})"
        for name, route in method.routes.items()
    )
    twins = len({*method.routes.values()}) < len(method.routes)
    if twins and not has_dropout(online.backbone):
        routes += "; the model drops nothing, so that views of a text are equal: set dropout=0.1"
    return routes


def _parameters(online: Encoder, settings: TrainSettings) -> str:
    """The number of parameters, and of those that learn where an adapter learns beside the others."""
    parameters = list(online.parameters())
    total, learn = (
        sum(p.numel() for p in some)
        for some in (parameters, [p for p in parameters if p.requires_grad])
    )
    if learn == total:
        return f"{_millions(total)} parameters"
    adapter = f" ({settings.adapter})" if settings.adapter else ""
    return f"{_millions(total)} parameters, of which {_millions(learn)} learn{adapter}"


def _millions(count: int) -> str:
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count:,}"


def _direction(online: Encoder) -> str:
    if online.backbone.config.model_type not in DECODERS:
        return ""
    if is_causal(online.backbone):
        return ", each token sees what stands before it"
    return ", each token sees both sides of it"


def _dev(dev: Dev, online: Encoder) -> str:
    """The source of the dev score, and the number of its texts that are longer than the model reads."""
    cut = cut_note(online.reader().count_cut(dev.texts), len(dev.texts), online.max_length)
    return " ".join(filter(None, (f"{dev.protocol}, {dev.size}.", dev.note, cut)))


def _pooling(online: Encoder) -> str:
    start = online.start_pooling
    if start is None:
        note = " (the start model names none)"
    else:
        note = f" (changed: the start model has {start})" if start != online.pooling else ""
    layer = ""
    if online.projector is not None:
        layer = " with a fresh layer behind it, which is left out after training"
    elif online.has_fresh_layer:
        layer = " with a fresh layer behind it, which stays part of the model"
    return f"pooling {online.pooling}{note}{layer}"


def _kinds_of_texts(method: Method, max_length: int) -> dict[Reader, list[str]]:
    """The views of the online encoder by how their texts are read."""
    kinds: dict[Reader, list[str]] = {}
    for name, reader in method.readers(max_length).items():
        if name not in method.read_by:
            kinds.setdefault(reader, []).append(name)
    return kinds


def _prompts(online: Encoder, kinds: Mapping[Reader, Sequence[str]]) -> str:
    views_of: dict[str, list[str]] = {}
    for reader, views in kinds.items():
        views_of.setdefault(reader.prompt, []).extend(views)
    if not any(views_of):
        return "none, in training and by the saved model" if online.prompts else "none"
    parts = [
        f"{prompt!r} in front of {_together(views) if len(views_of) > 1 else 'every text'}"
        if prompt
        else f"none in front of {_together(views)}"
        for prompt, views in views_of.items()
    ]
    return f"{', '.join(parts)}, in training and by the saved model"


def _lengths(kinds: Mapping[Reader, Sequence[str]], method: Method, rows: Rows) -> str:
    parts: list[str] = []
    for views, cut in _cut_texts(kinds, method, rows):
        parts.append((f"{_together(views)}: " if len(kinds) > 1 else "") + cut.describe())
    return "; ".join(parts)


def _cut_texts(
    kinds: Mapping[Reader, Sequence[str]], method: Method, rows: Rows
) -> Iterator[tuple[Sequence[str], TruncationReport]]:
    for reader, views in kinds.items():
        columns = dict.fromkeys(method.views[name].column for name in views)
        yield views, truncation_report(reader.lengths, rows, reader.max_length, roles=list(columns))


def describe_cut(method: Method, settings: TrainSettings, rows: Rows) -> str:
    """A sentence on the training texts that were not read to their end; "" where all were."""
    kinds = _kinds_of_texts(method, settings.max_length)
    parts = [
        f"{cut.truncated:,} of {cut.texts:,}{' sampled' * cut.sampled} texts at {cut.max_length} tokens"
        for _, cut in _cut_texts(kinds, method, rows)
        if cut.truncated
    ]
    return f"trained on cut texts: {', '.join(parts)} (max_length)" if parts else ""


def _together(names: Sequence[str]) -> str:
    """Names as one list, of many only the first and the last."""
    return ", ".join(names) if len(names) <= 3 else f"{names[0]} … {names[-1]}"


def describe_negatives(
    method: Method,
    settings: TrainSettings,
    world: World,
    labels: Tensor | None = None,
    given: Mapping[str, Tensor] | None = None,
) -> str:
    """The negatives of an anchor by kind, read from a rehearsal of all processes with made-up embeddings.

    Args:
        method: What is trained.
        settings: Its settings.
        world: The processes.
        labels: Labels of this process's rows of a batch, where the data has them.
        given: Numbers that come with these rows.
    """
    share = torch.arange(settings.batch_size).tensor_split(world.size)[world.rank]
    scores = torch.linspace(0, 5, len(share))
    terms = method.rehearse(len(share), labels, scores, given, first=int(share[0]))
    counts = {
        name.removeprefix("negatives/"): int(n) for name, n in terms.items() if "negatives/" in name
    }
    if not counts:
        return f"from batches of {settings.batch_size} rows"
    parts = ", ".join(f"{kind} {count:,}" for kind, count in counts.items())
    total = sum(counts.values())
    what = (
        counted(total, "negative")
        if labels is None
        else f"{counted(total, 'candidate')} of other rows"
    )
    return f"each anchor sees {what}: {parts}"
