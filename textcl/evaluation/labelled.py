"""Labelled texts as benchmarks: the classification tasks of `eval/tasks`, to train on and to score.

A manifest names three splits with their rows and hashes; a subset of its classes is a task of its own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from textcl.data.roles import label_role
from textcl.errors import UserError
from textcl.evaluation.lcl_preparation import PREPARATIONS
from textcl.evaluation.tasks import (
    LABELLED_KINDS,
    DataFile,
    read_local,
    read_manifests,
    unknown_name,
)

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class LabelledFiles:
    """The files of a task of labelled texts, in the folder TEXTCL_DATA.

    Args:
        columns: Role to column, of all of them.
        train: Rows to train on.
        dev: Rows that select the weights.
        test: Rows that are scored.
    """

    columns: Mapping[str, str]
    train: DataFile
    dev: DataFile
    test: DataFile

    def split(self, name: str) -> DataFile:
        """The file of a split, with its columns.

        Args:
            name: One of `SPLITS`.
        """
        files = {"train": self.train, "dev": self.dev, "test": self.test}
        return replace(files[name], columns=self.columns)


@dataclass(frozen=True)
class Subset:
    """Some classes of a task, as a task of their own.

    Args:
        classes: Their names.
        published_as: What published rows call it.
    """

    classes: Sequence[str]
    published_as: str = ""


@dataclass(frozen=True)
class LabelledManifest:
    """Manifest of a task of labelled texts, from `eval/tasks/*.toml`.

    Args:
        name: Name in scores and on the command line.
        label: Short name for the head of a table.
        kind: "classification", a label for each text; or "multi-label".
        metric: What the papers report.
        protocol: Key of comparable published scores.
        published_as: What published rows of this protocol call the task.
        licence: Terms of the data.
        citation: Whom to cite.
        classes: Labels, in the order of the source.
        local: Its files in the folder TEXTCL_DATA.
        note: Printed beside every score of this task.
        lcl_preparation: What the code of LCL does to the texts, a key of `PREPARATIONS`; nothing when empty.
        subsets: Those that have a name.
        hub_id: Where the hub has the data; it is told, but not read, as its rows were not compared with those here.
        filtered: Whether rows of other classes are left out, as in a subset.
    """

    name: str
    label: str
    kind: str
    metric: str
    protocol: str
    published_as: str
    licence: str
    citation: str
    classes: Sequence[str]
    local: LabelledFiles
    note: str = ""
    lcl_preparation: str = ""
    subsets: Mapping[str, Subset] = field(default_factory=dict[str, Subset])
    hub_id: str = ""
    filtered: bool = False

    @property
    def multi_label(self) -> bool:
        """Whether a text has any number of the classes instead of exactly one."""
        return self.kind == "multi-label"

    def subset(self, name: str, classes: Sequence[str], published_as: str = "") -> LabelledManifest:
        """The task of these classes alone.

        Raises:
            UserError: If there are fewer than two, or one is none of the classes.
        """
        unknown = [each for each in classes if each not in self.classes]
        if unknown or len(set(classes)) < 2 or self.multi_label:
            reason = f"{unknown[0]!r} is none of them" if unknown else f"got {', '.join(classes)}"
            raise UserError(
                f"{self.name}/{name}: a subset of {self.name} is one of "
                f"{', '.join(self.subsets) or 'none with a name'}, or at least two of its classes "
                f"({', '.join(self.classes)}) with commas between: {reason}"
            )
        return replace(
            self,
            name=f"{self.name}/{name}",
            label=name,
            protocol="empathetic-class-subsets" if published_as else "own-subset",
            published_as=published_as,
            classes=tuple(dict.fromkeys(classes)),
            subsets={},
            filtered=True,
        )


@dataclass(frozen=True)
class LabelledTask:
    """Labelled texts of one split.

    Args:
        name: Name in the scores.
        texts: The texts.
        labels: The class of each; or a list of them.
        classes: All classes of the task.
        multi_label: Whether texts have several.
        source: The copy that was read.
        split: Which part.
        manifest: Where it comes from; None for rows of one's own.
        preparation: What was done to the texts; "" for nothing.
        blank: Rows without a text, which were left out.
    """

    name: str
    texts: Sequence[str]
    labels: Sequence[Any]
    classes: Sequence[str]
    multi_label: bool
    source: str
    split: str = ""
    manifest: LabelledManifest | None = None
    preparation: str = ""
    blank: int = 0

    def rows(self) -> list[dict[str, object]]:
        """Rows to train on: `text` and `label`, or `labels`."""
        role = label_role(self.multi_label)
        pairs = zip(self.texts, self.labels, strict=True)
        return [{"text": text, role: label} for text, label in pairs]


def labelled_manifests() -> dict[str, LabelledManifest]:
    """Every task of labelled texts by name, subsets with a name included."""
    read = read_manifests(LabelledManifest, LABELLED_KINDS)
    parts = [
        each.subset(name, about.classes, about.published_as)
        for each in read
        for name, about in each.subsets.items()
    ]
    return {manifest.name: manifest for manifest in (*read, *parts)}


def find_labelled(name: str) -> LabelledManifest:
    """A task by its name in any case, or a subset by its classes: "EmpatheticDialogues/afraid,angry,sad".

    Raises:
        UserError: If there is none.
    """
    known = labelled_manifests()
    folded = {each.casefold(): manifest for each, manifest in known.items()}
    if manifest := folded.get(name.casefold()):
        return manifest
    whole, _, part = name.partition("/")
    if part and (manifest := folded.get(whole.casefold())):
        return manifest.subset(part, [each.strip() for each in part.split(",")])
    raise UserError(unknown_name(name, list(known)))


def named_task(source: object) -> tuple[LabelledManifest, bool] | None:
    """The task that a name in the place of a file means; "EmoInt:lcl" asks for the preparation of LCL too.

    Returns:
        None where the source is something else, a file of that name included.
    """
    if not isinstance(source, str) or Path(source).exists():
        return None
    name, _, option = source.partition(":")
    known = {each.casefold() for each in labelled_manifests()}
    if name.partition("/")[0].casefold() not in known or option not in ("", "lcl"):
        return None
    return find_labelled(name), option == "lcl"


def load_labelled(
    task: str | LabelledManifest, split: str = "test", *, lcl_preparation: bool = False
) -> LabelledTask:
    """The rows of one split of a task, checked against its manifest.

    Args:
        task: Its name, or its manifest.
        split: "train", "dev" or "test".
        lcl_preparation: Clean the texts as the code of LCL does, where it does.

    Raises:
        UserError: If there is no such task or split, its data cannot be found, or it is not the data of the manifest.
    """
    manifest = find_labelled(task) if isinstance(task, str) else task
    if split not in SPLITS:
        raise UserError(f"a split is one of {', '.join(SPLITS)}, not {split!r}")
    about = manifest.local.split(split)
    root = os.environ.get("TEXTCL_DATA")
    if not root:
        elsewhere = f" (the data is at {manifest.hub_id} too)" if manifest.hub_id else ""
        raise UserError(
            f"{manifest.name} has no pinned copy on the hub{elsewhere}: set TEXTCL_DATA to the folder that holds "
            f"{about.path} ({about.rows:,} rows)"
        )
    columns = read_local(Path(root) / about.path, about.rows, about, "put the original there")
    texts, labels = columns["text"], columns[label_role(manifest.multi_label)]
    if manifest.filtered:
        kept = [place for place, label in enumerate(labels) if label in manifest.classes]
        texts, labels = [texts[place] for place in kept], [labels[place] for place in kept]
    preparation = manifest.lcl_preparation if lcl_preparation else ""
    if preparation:
        texts = [PREPARATIONS[preparation](text) for text in texts]
    return LabelledTask(
        manifest.name,
        texts,
        labels,
        manifest.classes,
        manifest.multi_label,
        f"TEXTCL_DATA/{about.path}",
        split,
        manifest,
        preparation,
    )
