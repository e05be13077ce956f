"""The space of models before and after training: vectors of the same texts, their neighbours, and maps of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from textcl.encoder.encoder import Encoder
from textcl.errors import RunError, UserError
from textcl.evaluation.benchmarks import EncodeWith
from textcl.probe.measure import embed, probe
from textcl.probe.models import started_from
from textcl.probe.numbers import Space
from textcl.probe.texts import ProbeData
from textcl.report.runs import RunRecord

MODELS = 6
"""Most models of a report: what a run started from, and its best weights, count as two."""

POINTS = 1000
"""Most points of a map."""


@dataclass(frozen=True)
class Model:
    """A model and what it makes of the texts.

    Args:
        name: What the report calls it.
        run: Label of its run.
        trained: Whether it is the run's result, and not what it started from.
        vectors: One row a text.
        space: What `textcl probe` measures.
    """

    name: str
    run: str
    trained: bool
    vectors: Float[np.ndarray, "N D"]
    space: Space


class Stage(NamedTuple):
    """A model of a run that can be loaded, or a reason why not.

    Args:
        name: What the report calls it.
        run: Label of its run.
        trained: Whether it is the run's result, and not what it started from.
        load: Loads it; None where the run has saved no weights.
    """

    name: str
    run: str
    trained: bool
    load: Callable[[], Encoder] | None


def stages(runs: Sequence[RunRecord]) -> list[Stage]:
    """Every run's model before and after training; one that several runs started from comes once."""
    staged: list[Stage] = []
    starts: set[object] = set()
    alone = len(runs) == 1
    for run in runs:
        common = run.facts.common
        start = (common.model, common.pooling, common.num_layers, common.max_length)
        if start not in starts:
            load = partial(started_from, run.folder.path)
            staged.append(Stage(_name(run, False, alone), run.label, False, load))
        starts.add(start)
        load = partial(Encoder.from_pretrained, run.best) if run.best else None
        staged.append(Stage(_name(run, True, alone), run.label, True, load))
    return staged


def models_of(
    staged: Sequence[Stage], data: ProbeData, log: Callable[[str], object]
) -> tuple[list[Model], list[str]]:
    """The models with their vectors of the same texts.

    Args:
        staged: The models.
        data: Texts.
        log: Called with a line on what is being encoded.

    Returns:
        The models that can be loaded, at most `MODELS`, and a sentence for each that is left out.
    """
    models: list[Model] = []
    missing: list[str] = []
    for name, run, trained, load in staged:
        if load is None:
            missing.append(f"{name} is left out: the run has saved no weights yet.")
        elif len(models) == MODELS:
            missing.append(f"{name} is left out: a report shows at most {MODELS} models.")
        else:
            log(f"looking at {name}")
            try:
                vectors = embed(EncodeWith(load(), precision="float32"), data.texts)
            except (UserError, RunError) as error:
                missing.append(f"{name} is left out: {error}.")
                continue
            models.append(Model(name, run, trained, vectors, probe(vectors, data)))
    return models, missing


def _name(run: RunRecord, trained: bool, alone: bool) -> str:
    if trained:
        return "after training" if alone else run.label
    if alone:
        return "before training"
    layers = run.facts.common.num_layers
    model = Path(run.facts.common.model).name
    return f"{model}{f', {layers} layers' if layers else ''}, before training"
