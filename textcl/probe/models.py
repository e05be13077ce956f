"""Probing models by name: loads them, whitens where asked, and puts the numbers beside one another."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from textcl.contrast.statistics import BINS
from textcl.data.arguments import checked_arguments
from textcl.encoder.encoder import Encoder
from textcl.encoder.folder_reading import read_description
from textcl.errors import UserError
from textcl.evaluation.benchmarks import Encodes, EncodeWith
from textcl.evaluation.whitening import Whitening
from textcl.probe.measure import embed, probe
from textcl.probe.result import ProbedModel, ProbeResult
from textcl.probe.texts import ProbeData, load_probe_data
from textcl.training.run_folder import RunFolder
from textcl.versions import versions


@checked_arguments
def probe_models(
    models: Sequence[str],
    data: str | ProbeData = "STSBenchmark-dev",
    *,
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
    scale: tuple[float, float] | None = None,
    before: bool = False,
    whiten: str | None = None,
    components: int | None = None,
    seed: int = 0,
    precision: str = "float32",
    log: Callable[[str], object] = lambda text: None,
) -> ProbeResult:
    """Probe models on the same texts.

    Args:
        models: Runs, model folders or names on the hub.
        data: Texts, or where they are, see `load_probe_data`.
        columns: Role to column name of the data.
        split: Split of a hub data set or folder.
        scale: Lowest and highest gold score that can be, see `load_probe_data`.
        before: Also probe what each run started from, in front of it.
        whiten: "target" fits a whitening on the probed texts, as the paper's target setting; a file, on its texts.
        components: Leading directions that it keeps.
        seed: Draws texts where there are too many.
        precision: Of the encoder.
        log: Called with a line on the model that is being probed.

    Returns:
        The numbers of every model, see `textcl.probe.numbers`.

    Raises:
        UserError: If a model or the data is not there, or `before` is asked of what is no run.
    """
    if isinstance(data, str):
        data = load_probe_data(data, columns=columns, split=split, scale=scale, seed=seed)
    fitted_on = None if whiten is None else data.texts
    if whiten not in (None, "target"):
        fitted_on = texts_to_fit(whiten, columns)
    if before:
        for name in models:
            RunFolder.open(Path(name))
    results: list[ProbedModel] = []
    for label, encoder in _encoders(models, before):
        log(f"probing {label}")
        model = EncodeWith(encoder, precision=precision)
        vectors = embed(model, data.texts)
        white = _whitening(model, vectors, fitted_on, data, components)
        space = probe(vectors, data, white)
        results.append(ProbedModel(model=label, whitening=whiten, **vars(space)))
    return ProbeResult(
        data=data.facts(),
        bins=BINS,
        range=(-1, 1),
        models=results,
        precision=precision,
        versions=versions(),
        command=" ".join(["textcl", *sys.argv[1:]]),
    )


def started_from(run: Path) -> Encoder:
    """The encoder that a run started from, with the run's pooling, length and layers.

    Raises:
        UserError: If the folder is no run.
    """
    opened = RunFolder.open(run)
    start = opened.facts.common
    pooling = start.pooling
    if not pooling and opened.best.is_dir():  # what the recipe took where its settings name none
        pooling = read_description(opened.best).pooling
    # runs of before there was a reading length read what they trained on
    recorded = "reading_length" in opened.facts.settings
    length = start.reading_length if recorded else start.max_length
    return Encoder.from_pretrained(
        start.model,
        pooling=pooling,
        max_length=length,
        num_layers=start.num_layers,
    )


def _encoders(models: Sequence[str], before: bool) -> Iterator[tuple[str, Encoder]]:
    for name in models:
        if before:
            yield f"{name}, before", started_from(Path(name))
        yield name, Encoder.from_pretrained(name)


def texts_to_fit(whiten: str, columns: Mapping[str, str] | None = None) -> Sequence[str]:
    """All texts of the file that a whitening is fitted on, as NLI is in the paper.

    Raises:
        UserError: If there is no such file.
    """
    if not Path(whiten).exists():
        raise UserError(
            f"--whiten is target, or a file with texts to fit the whitening on; there is no file {whiten}"
        )
    return load_probe_data(whiten, columns=columns, sample=10**9).texts


def _whitening(
    model: Encodes,
    vectors: Float[np.ndarray, "N D"],
    fitted_on: Sequence[str] | None,
    data: ProbeData,
    components: int | None,
) -> Whitening | None:
    if fitted_on is None:
        return None
    rows = vectors if fitted_on is data.texts else embed(model, fitted_on)
    return Whitening.fit(rows, components)
