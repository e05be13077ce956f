"""The line to beat of several label columns: a logistic regression for each on the vectors of the frozen encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from textcl.classifier.baseline import Baseline, baseline_of
from textcl.classifier.classifier import vectors_of
from textcl.classifier.columns_dev import DevColumns
from textcl.classifier.labels import targets_of_rows
from textcl.classifier.linear_probe import probe_places
from textcl.classifier.settings import LabelledSettings
from textcl.data.label_columns import column_role
from textcl.data.rows import Rows
from textcl.encoder.encoder import Encoder
from textcl.training.position import Position, listed


@dataclass(frozen=True)
class ColumnBaselines:
    """The line to beat of each column, and their mean, which training is compared with.

    Args:
        parts: By the name of each column.
    """

    parts: Mapping[str, Baseline]

    @property
    def mean(self) -> Baseline:
        """The mean score as a line to beat."""
        parts = list(self.parts.values())
        return replace(
            parts[0],
            score=float(np.mean([each.score for each in parts])),
            rows=sum(each.rows for each in parts),
            unit="labels",
        )

    def describe(self) -> str:
        """One line for the preview."""
        scores = {name: each.score for name, each in self.parts.items()}
        mean, probes = self.mean, [each.probe for each in self.parts.values()]
        strengths = " and ".join(f"{probe.strength:g}" for probe in probes)
        start = ", where training starts" if mean.starts else ""
        return (
            f"{mean.score:.2f} {mean.place} ({listed(scores)}): logistic regressions on the frozen encoder "
            f"(C = {strengths}){start}"
        )

    def verdict(self, position: Position) -> str:
        """One line for the end of a run: whether training beat the mean, and what is saved."""
        return self.mean.verdict(position)


def measure_baselines(
    encoder: Encoder,
    settings: LabelledSettings,
    rows: Rows,
    dev: DevColumns | None,
    starts: Mapping[str, bool],
) -> ColumnBaselines:
    """Fit a logistic regression to the labelled rows of each column, and score it, as `measure_baseline` does.

    Args:
        encoder: As it is before training.
        settings: Of the run, with its columns and their classes.
        rows: To train on; of more than 10,000 a part is used.
        dev: What selects the weights.
        starts: Whether the head of a column starts from its regression.
    """
    chosen = rows.take(probe_places(len(rows), settings.seed))
    vectors = vectors_of(encoder, chosen.column("text"), precision="float32")
    known = None if dev is None else vectors_of(encoder, dev.texts, precision="float32")
    parts: dict[str, Baseline] = {}
    for name, each in zip(settings.label_columns, settings.by_column, strict=True):
        labelled = np.flatnonzero([x is not None for x in chosen.column(column_role(name))])
        targets = targets_of_rows(each, chosen.of_label_column(name))
        held = None
        if dev is not None and known is not None:
            held = dev.parts[name], known[dev.places[name]]
        parts[name] = baseline_of(each, vectors[labelled], targets, held, starts=starts[name])
    return ColumnBaselines(parts)
