"""Entity linking: mentions to the names of a dictionary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from textcl.evaluation.linking import Query, linking_accuracy, mention_parts, nearest_names
from textcl.evaluation.resampling import Mean
from textcl.suites.manifests import SuiteManifest
from textcl.suites.suite import Role, TaskResult, Vectors

_CUTS = (1, 5)


@dataclass(frozen=True)
class Names:
    """Mentions to link, and a dictionary of names.

    Args:
        manifest: Where both come from.
        mentions: Text and concept ids of each mention; a composite one joins its parts by "|" or "+".
        dictionary: Every name with the ids of its concept.
    """

    manifest: SuiteManifest
    mentions: Sequence[tuple[str, frozenset[str]]]
    dictionary: Sequence[tuple[str, frozenset[str]]]

    @classmethod
    def of_manifest(cls, manifest: SuiteManifest) -> Names:
        """The task of a manifest with the parts mentions and dictionary."""
        about, concepts = manifest.columns("mentions"), manifest.columns("dictionary")
        mentions = zip(about["mention"], map(frozenset, about["ids"]), strict=True)
        entries = zip(
            *(concepts[key] for key in ("id", "alt_ids", "name", "synonyms")), strict=True
        )
        dictionary = [
            (name, frozenset([key, *others]))
            for key, others, first, rest in entries
            for name in dict.fromkeys([first, *rest])
        ]
        return cls(manifest, list(mentions), dictionary)

    @property
    def name(self) -> str:
        """Name in the scores."""
        return self.manifest.name

    def texts(self) -> Mapping[Role, Sequence[str]]:
        """The parts of all mentions, and all names, in lower case."""
        parts = [part for text, _ in self.mentions for part in _parts(text)]
        return {Role.plain: [*parts, *(name.lower() for name, _ in self.dictionary)]}

    def score(self, vectors: Vectors) -> TaskResult:
        """Accuracy among the first name and the first five, times 100."""
        parts = [_parts(text) for text, _ in self.mentions]
        flat = [part for each in parts for part in each]
        names = vectors([name.lower() for name, _ in self.dictionary])
        nearest = iter(nearest_names(vectors(flat), names, max(_CUTS)).tolist())
        queries = [
            Query([next(nearest) for _ in each], gold)
            for each, (_, gold) in zip(parts, self.mentions, strict=True)
        ]
        concepts = [ids for _, ids in self.dictionary]
        hits = {
            f"acc@{k}": np.array([linking_accuracy([query], concepts, k) for query in queries])
            for k in _CUTS
        }
        manifest = self.manifest
        return TaskResult(
            manifest.name,
            manifest.label,
            manifest.protocol,
            f"{manifest.protocol}: nearest names by dot product of raw rows, lower case; every part of a composite "
            "mention must hit, x100",
            {name: 100 * float(values.mean()) for name, values in hits.items()},
            tuple(hits),
            "mentions",
            {name: Mean(values) for name, values in hits.items()},
            manifest.source(),
            manifest.note,
            {"names": len(self.dictionary), "concepts": len(set(concepts))},
        )


def _parts(mention: str) -> list[str]:
    return [part.lower() for part in mention_parts(mention)]
