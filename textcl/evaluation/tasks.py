"""Benchmarks are data: manifests say what a task is, and its data is refused unless it is exactly that.

A task is one toml in `eval/tasks`; `suites.toml` beside them says which tasks belong together. The data of a task is
found in the package, in the folder that TEXTCL_DATA names, or on the hub at a pinned revision.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from textcl.data.json_files import JsonDict, decode
from textcl.errors import UserError
from textcl.resources import sample_dir, tasks_dir

M = TypeVar("M")


Columns = dict[str, list[Any]]
"""The values of a file by role; its hash in the manifest makes certain what they are."""


@dataclass(frozen=True)
class DataFile:
    """A file of a task.

    Args:
        path: Where it is in the folder TEXTCL_DATA, or in the sample of the package.
        sha256: Hash of its bytes.
        columns: Role to column.
        rows: Lines that are not blank; 0 where the manifest says it for all copies.
    """

    path: str
    sha256: str
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    rows: int = 0


@dataclass(frozen=True)
class HubFile:
    """The same rows on the hub.

    Args:
        id: Name of the data set.
        revision: Its commit.
        split: Part of it.
        columns: Role to column.
    """

    id: str
    revision: str
    split: str
    columns: Mapping[str, str]


@dataclass(frozen=True)
class Manifest:
    """Manifest of a task, from `eval/tasks/*.toml`.

    Args:
        name: Name in scores and on the command line.
        kind: How it is scored; "sts" compares cosines with gold similarity.
        rows: Pairs that the data must have.
        protocol: Key of comparable published scores; `{aggregation}` stands for all, mean or wmean.
        split: Part of the data set.
        label: Short name for the head of a table.
        metric: What the papers report.
        score_range: Lowest and highest gold score.
        licence: Terms of the data.
        citation: Whom to cite.
        note: Printed beside every score of this task.
        published_as: What published rows of this protocol call the task; its name when empty.
        subsets: Pairs of every subset; empty where the split counts as a whole.
        package: Its file in the sample of the package.
        local: Its file in the folder TEXTCL_DATA.
        hub: Its pinned copy on the hub.
    """

    name: str
    kind: str
    rows: int
    protocol: str
    split: str
    label: str
    metric: str
    score_range: Sequence[float]
    licence: str
    citation: str
    note: str = ""
    published_as: str = ""
    subsets: Mapping[str, int] = field(default_factory=dict[str, int])
    package: DataFile | None = None
    local: DataFile | None = None
    hub: HubFile | None = None


@dataclass(frozen=True)
class StsTask:
    """Graded sentence pairs.

    Args:
        name: Name in the scores.
        sentences1: First sentence of every pair.
        sentences2: Second sentence of every pair.
        scores: Gold similarity, NaN where it is blank.
        subsets: Subset of every pair; None where the source does not name them.
        manifest: Where the pairs come from; None for pairs of one's own.
        source: The copy that was read, such as "TEXTCL_DATA/sts/sts12.jsonl".
    """

    name: str
    sentences1: Sequence[str]
    sentences2: Sequence[str]
    scores: Float[np.ndarray, " N"]
    subsets: Sequence[str] | None = None
    manifest: Manifest | None = None
    source: str = ""

    def distinct(self) -> list[str]:
        """Every sentence once."""
        return list(dict.fromkeys((*self.sentences1, *self.sentences2)))

    def protocol(self, aggregation: str) -> str:
        """Key of the published scores that may stand beside ours."""
        template = self.manifest.protocol if self.manifest else "own-pairs-{aggregation}"
        return template.format(aggregation=aggregation)

    @property
    def has_subsets(self) -> bool:
        """Whether means over subsets can be formed; the hub's copies have dropped the subsets of STS12 to STS16."""
        return self.subsets is not None or not (self.manifest and self.manifest.subsets)

    def check_aggregation(self, aggregation: str) -> None:
        """Refuse an aggregation over subsets where the source does not name them.

        Args:
            aggregation: "all", "mean" or "wmean".

        Raises:
            UserError: If it is not "all" and the subsets are unknown.
        """
        if aggregation != "all" and not self.has_subsets:
            raise UserError(
                f"{aggregation!r} needs the subsets of {self.name}, which {self.source} does not name: "
                "set TEXTCL_DATA to a folder with the original files, or use 'all'"
            )


SUITE_KINDS = ("retrieval", "questions", "translation", "names", "transfer")
"""Kinds of tasks that `textcl.suites` scores; beside them there are graded pairs and labelled texts."""

LABELLED_KINDS = ("classification", "multi-label")
"""Kinds of tasks of labelled texts, which `textcl.evaluation.labelled` has."""


def suites() -> dict[str, list[str]]:
    """Tasks of every suite, in the order of its table."""
    return tomllib.loads((tasks_dir() / "suites.toml").read_text(encoding="utf-8"))


def descriptions() -> list[JsonDict]:
    """Contents of the manifests in `eval/tasks`, of every kind of task."""
    paths = sorted(path for path in tasks_dir().glob("*.toml") if path.name != "suites.toml")
    return [tomllib.loads(path.read_text(encoding="utf-8")) for path in paths]


def manifests() -> dict[str, Manifest]:
    """Every task of graded pairs by name; those of labelled texts are in `textcl.evaluation.labelled`."""
    return {manifest.name: manifest for manifest in read_manifests(Manifest, ("sts",))}


def read_manifests(kind: Callable[..., M], tasks: Collection[str]) -> list[M]:
    """The tomls in `eval/tasks` that describe some kinds of tasks.

    Args:
        kind: What each is read as.
        tasks: Kinds of tasks.

    Raises:
        UserError: If a key is missing or of another type.
    """
    chosen = [about for about in descriptions() if about["kind"] in tasks]
    return [decode(about, kind, f"the task {about['name']}") for about in chosen]


def _labelled_names() -> list[str]:
    """Tasks of labelled texts, and their subsets as NAME/SUBSET."""
    labelled = [about for about in descriptions() if about["kind"] in LABELLED_KINDS]
    return [
        name
        for about in labelled
        for name in (
            about["name"],
            *(f"{about['name']}/{part}" for part in about.get("subsets", ())),
        )
    ]


def task_names(chosen: Iterable[str]) -> list[str]:
    """Names of tasks, where a suite stands for all of its own.

    NAME/CLASS,CLASS passes wherever NAME is a task of labelled texts; whether it has those classes is told by
    `textcl.evaluation.labelled`.

    Raises:
        UserError: If a name is neither a task nor a suite.
    """
    others = [about["name"] for about in descriptions() if about["kind"] in SUITE_KINDS]
    by_suite, known = suites(), [*manifests(), *_labelled_names(), *others]
    names: list[str] = []
    for name in chosen:
        if not isinstance(name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UserError(f"tasks are named by texts, such as 'STS12', not by {name!r:.60}")
        if name not in by_suite and name not in known and name.partition("/")[0] not in known:
            raise UserError(unknown_name(name, [*by_suite, *known]))
        names.extend(by_suite.get(name, [name]))
    return list(dict.fromkeys(names))


def unknown_name(name: str, valid: Sequence[str]) -> str:
    """One sentence about a name that is not valid, with those that are near."""
    folded = {candidate.lower(): candidate for candidate in valid}
    near = [folded[match] for match in difflib.get_close_matches(name.lower(), folded)]
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(valid)}"
    return f"no benchmark task or suite is called {name!r}: {hint}"


def load_task(name: str) -> StsTask:
    """The pairs of a task, checked against its manifest.

    Args:
        name: A task of `eval/tasks`.

    Raises:
        UserError: If there is no such task, its data cannot be found, or it is not the data of the manifest.
    """
    known = manifests()
    if name in _labelled_names():
        raise UserError(
            f"{name} is a task of labelled texts, graded pairs were expected: score a classifier on it, with "
            f"textcl eval MODEL --task {name}"
        )
    if name not in known:
        raise UserError(unknown_name(name, list(known)))
    manifest = known[name]
    columns, source = _columns(manifest)
    subsets = columns.get("subset")
    if not manifest.subsets:
        subsets = [manifest.split] * manifest.rows
    gold = [np.nan if score in (None, "") else float(score) for score in columns["score"]]
    return StsTask(
        name,
        columns["sentence1"],
        columns["sentence2"],
        np.array(gold, np.float64),
        subsets,
        manifest,
        source,
    )


def _columns(manifest: Manifest) -> tuple[Columns, str]:
    """Columns by role, and the name of the copy they were read from."""
    if manifest.package:
        path = sample_dir() / manifest.package.path
        read = read_local(path, manifest.rows, manifest.package, "install textcl again")
        return read, f"textcl sample {path.name}"
    root, local, hub = os.environ.get("TEXTCL_DATA"), manifest.local, manifest.hub
    if root and local:
        path = Path(root) / local.path
        remedy = "put the original there" + (" or unset TEXTCL_DATA to use the hub" if hub else "")
        return read_local(path, manifest.rows, local, remedy), f"TEXTCL_DATA/{local.path}"
    if hub:
        source = f"{hub.id}@{hub.revision[:8]}, split {hub.split}"
        return _from_hub(manifest, hub), source
    wanted = local.path if local else "its file"
    raise UserError(
        f"{manifest.name} has no copy on the hub: set TEXTCL_DATA to the folder that holds {wanted} "
        f"({manifest.rows:,} rows)"
    )


def read_local(path: Path, rows: int, about: DataFile, remedy: str) -> Columns:
    """Columns by role of a jsonl file that has these rows and this hash."""
    records = [json.loads(line) for line in check_local(path, rows, about.sha256, remedy)]
    return {role: [row[column] for row in records] for role, column in about.columns.items()}


def check_local(path: Path, rows: int, sha256: str, remedy: str) -> list[bytes]:
    """Lines of a file that has these rows and this hash; blank ones are left out.

    Args:
        path: The file.
        rows: Lines that are not blank.
        sha256: Hash of its bytes.
        remedy: What a user can do about another file.

    Raises:
        UserError: If the file cannot be read or is another one.
    """
    expected = f"expected {rows:,} rows with sha256 {sha256}"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"cannot read the benchmark file {path} ({error.strerror}), {expected}: {remedy}"
        ) from error
    lines = [line for line in content.split(b"\n") if line.strip()]
    digest = hashlib.sha256(content).hexdigest()
    if len(lines) != rows or digest != sha256:
        raise UserError(
            f"{path} is not the benchmark file: {expected}, got {len(lines):,} rows with sha256 {digest}: {remedy}"
        )
    return lines


def _from_hub(manifest: Manifest, hub: HubFile) -> Columns:
    import datasets

    place = f"{hub.id} at revision {hub.revision[:8]} of the hub, split {hub.split},"
    try:
        table = datasets.load_dataset(hub.id, split=hub.split, revision=hub.revision)
    except Exception as error:
        local = f" to the folder that holds {manifest.local.path}" if manifest.local else ""
        raise UserError(
            f"{manifest.name} could not be fetched ({place} {type(error).__name__}): set TEXTCL_DATA{local}, "
            "or try again with a network"
        ) from error
    missing = [column for column in hub.columns.values() if column not in table.column_names]
    if missing:
        raise UserError(
            f"{place} has no column {missing[0]!r}, only {', '.join(table.column_names)}"
        )
    if len(table) != manifest.rows:
        raise UserError(f"{place} has {len(table):,} rows, but {manifest.rows:,} were expected")
    return {role: list(table[column]) for role, column in hub.columns.items()}
