"""Bilingual lexicon induction with one encoder for both languages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from textcl.evaluation.lexicon import (
    Lexicon,
    lexicon,
    mean_reciprocal_rank,
    orthogonal_map,
    prepared,
    translations,
)
from textcl.evaluation.resampling import Mean
from textcl.suites.manifests import SuiteManifest
from textcl.suites.suite import Role, TaskResult, Vectors

Lines = list[tuple[str, str]]


@dataclass(frozen=True)
class Translation:
    """Translation of words by nearest neighbours; the vocabularies are the words of the dictionaries.

    Args:
        manifest: Where the dictionaries come from.
        test: Source word and translation.
        train: Lines that a rotation between the languages is fitted on; empty for none.
    """

    manifest: SuiteManifest
    test: Lines
    train: Lines

    @classmethod
    def of_manifest(cls, manifest: SuiteManifest) -> Translation:
        """The task of a manifest with a part test and, where a map is to be fitted, a part train."""
        parts = {part: manifest.columns(part) for part in manifest.local}
        lines = {
            part: list(zip(columns["source"], columns["target"], strict=True))
            for part, columns in parts.items()
        }
        return cls(manifest, lines["test"], lines.get("train", []))

    @property
    def name(self) -> str:
        """Name in the scores."""
        return self.manifest.name

    def texts(self) -> Mapping[Role, Sequence[str]]:
        """The words of both languages."""
        source, target = self._vocabularies()
        return {Role.plain: [*source, *target]}

    def score(self, vectors: Vectors) -> TaskResult:
        """Precision among the first and five best by word, and the mean reciprocal rank of all lines, times 100."""
        sources, targets = self._vocabularies()
        rows = vectors(sources), vectors(targets)
        known = lexicon(self.test, sources, targets)
        plain = translations(*rows, known, csls_neighbours=None)
        csls = translations(*rows, known)
        measures = {"P@1": csls.precision(1), "P@5": csls.precision(5)}
        measures["cosine P@1"] = plain.precision(1)
        measures["cosine MRR"] = mean_reciprocal_rank(plain.positions)
        shown = {"P@1": csls, "cosine P@1": plain}
        if self.train:
            mapped = self._mapped(rows, lexicon(self.train, sources, targets))
            shown["mapped P@1"] = translations(*mapped, known)
            measures["mapped P@1"] = shown["mapped P@1"].precision(1)
        headline = [name for name in ("mapped P@1", "P@1", "cosine P@1") if name in shown]
        manifest = self.manifest
        return TaskResult(
            manifest.name,
            manifest.label,
            manifest.protocol,
            f"{manifest.protocol}: one encoder for both languages, CSLS (k=10) over the words of the dictionaries, any "
            "listed translation counts (in the MRR each on its own), x100; mapped: both sides centred, rotation fitted "
            "on the train dictionary",
            {name: 100 * value for name, value in measures.items()},
            headline,
            "words",
            {name: Mean(shown[name].hits(1)) for name in headline},
            manifest.source(),
            manifest.note,
            {
                "source words": len(sources),
                "target words": len(targets),
                **({"train lines": len(self.train)} if self.train else {}),
            },
        )

    def _vocabularies(self) -> tuple[list[str], list[str]]:
        lines = [*self.test, *self.train]
        first, second = zip(*lines, strict=True)
        return list(dict.fromkeys(first)), list(dict.fromkeys(second))

    def _mapped(
        self, rows: tuple[Float[np.ndarray, "S D"], Float[np.ndarray, "T D"]], known: Lexicon
    ) -> tuple[Float[np.ndarray, "S D"], Float[np.ndarray, "T D"]]:
        source, target = map(prepared, rows)
        turn = orthogonal_map(source[known.pairs[:, 0]], target[known.pairs[:, 1]])
        return source @ turn, target
