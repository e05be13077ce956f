"""The rows that a run asks for: read by the session that trains on them, and again by a report that shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from textcl.data.cache import DataReport
from textcl.data.json_files import decode
from textcl.data.label_columns import with_label_columns
from textcl.data.reading import Selection
from textcl.data.rows import Rows, columns_of, load_rows, settle_roles
from textcl.data.sources import HUB, open_source
from textcl.data.streamed import StreamedRows
from textcl.errors import UserError
from textcl.evaluation.labelled import LabelledManifest, load_labelled, named_task
from textcl.resources import sample_dir
from textcl.training.facts import RunFacts
from textcl.training.settings import TrainSettings


@dataclass(frozen=True)
class RowRequest:
    """Rows that a run asks for, and how they are read.

    Args:
        source: File, folder, hub data set, rows in memory, "sample" for the sentences that come with textcl, or, where
            rows have labels, a task of `eval/tasks`.
        roles: Columns that the recipe trains on.
        columns: Role to column name, where they differ.
        split: Split of a hub data set or folder.
        limit: Read only so many rows.
        deduplicate: Leave out exact duplicates.
        drop_unlabelled: Leave out rows whose label is missing, which are refused otherwise.
        label_separator: What stands between several labels that are written as one text; "" where they are lists.
    """

    source: object
    roles: tuple[str, ...]
    columns: Mapping[str, str] = field(default_factory=dict[str, str])
    split: str | None = None
    limit: int | None = None
    deduplicate: bool = False
    drop_unlabelled: bool = False
    label_separator: str = ""

    @classmethod
    def of_run(cls, facts: RunFacts, roles: tuple[str, ...], data: object = None) -> RowRequest:
        """The rows that a run read.

        Args:
            facts: Of the run.
            roles: Columns that its recipe trains on.
            data: The rows again, where they were in memory.
        """
        # a stream of the hub is noted with its commit
        pinned = facts.data.streamed and facts.data.source.startswith(HUB)
        noted = facts.data.source if pinned else facts.common.data
        request = cls(
            noted if data is None else data,
            roles,
            columns=facts.columns,
            split=facts.split,
            limit=facts.limit,
            deduplicate=facts.deduplicate,
            # runs of before this was noted have it as a setting alone
            drop_unlabelled=facts.drop_unlabelled or facts.settings.get("drop_unlabelled") is True,
            label_separator=decode(facts.settings.get("label_separator", ""), str, "settings"),
        )
        return request.with_label_columns() if facts.settings.get("label_columns") else request

    def with_label_columns(self) -> RowRequest:
        """The same, with a role for each of several label columns where the user names them.

        Raises:
            UserError: If they are not named rightly.
        """
        if self.task or "," not in f"{self.columns.get('label')}{self.columns.get('labels')}":
            return self
        opened = open_source(self.located, split=self.split)
        roles = settle_roles(opened, self.roles, columns=self.columns)
        roles, columns = with_label_columns(roles, self.columns, columns_of(opened))
        return replace(self, roles=roles, columns=columns)

    @property
    def task(self) -> tuple[LabelledManifest, bool] | None:
        """The labelled task that is meant, and whether its texts are cleaned as in LCL's code."""
        labelled = any(role.startswith("label") for role in self.roles)
        return named_task(self.source) if labelled else None

    @property
    def located(self) -> object:
        """The source, where its name stands for one.

        Raises:
            UserError: If none is named.
        """
        if isinstance(self.source, str) and not self.source:
            raise UserError("no training data: name a file, folder or data set with --data")
        is_sample = isinstance(self.source, str) and self.source == "sample"
        return str(sample_dir() / "sentences.txt") if is_sample else self.source

    def rows(self) -> Rows:
        """The rows.

        Raises:
            UserError: If none are named, they are streamed, or for whatever is wrong in the source.
        """
        source = self.located
        shown_as = "sample" if source is not self.source else None
        if self.task:
            task, prepared = self.task
            shown_as = f"{source}, train"
            source = load_labelled(task, "train", lcl_preparation=prepared).rows()
        opened = open_source(source, split=self.split)
        if opened.streamed:
            raise UserError(
                f"{opened.name} is streamed, and this needs all rows at once, for their classes or to weigh several "
                "data sets: name a file, a folder or a hub data set as owner/name"
            )
        rows = load_rows(
            opened,
            roles=settle_roles(opened, self.roles, columns=self.columns),
            columns=self.columns,
            limit=self.limit,
            deduplicate=self.deduplicate,
            drop_unlabelled=self.drop_unlabelled,
            label_separator=self.label_separator,
        )
        if shown_as:
            rows.report = replace(rows.report, source=shown_as)
        return rows

    def rows_or_stream(
        self, settings: TrainSettings, check: Callable[[Rows], object] = lambda _: None
    ) -> Rows:
        """The rows; those of a stream as they arrive.

        Args:
            settings: Of the run.
            check: Refuses rows that the run cannot use; called with parts of them where they are streamed.

        Raises:
            UserError: As `rows`, or for what a stream cannot give.
        """
        if self.task or not (opened := open_source(self.located, split=self.split)).streamed:
            rows = self.rows()
            check(rows)
            return rows
        if settings.steps is None:
            raise UserError(
                f"{opened.name} is streamed, so that nothing is known of its end: name the updates, --set steps=10000"
            )
        if self.limit is not None or self.deduplicate:
            raise UserError(
                f"{opened.name} is streamed, row by row: --limit and --deduplicate need all rows at once"
            )
        if settings.shuffle_buffer < settings.batch_size:
            raise UserError(
                f"shuffle_buffer={settings.shuffle_buffer} holds fewer rows than a batch of {settings.batch_size}"
            )
        roles = settle_roles(opened, self.roles, columns=self.columns)
        selection = Selection(opened, roles, dict(self.columns), None)
        return StreamedRows(selection, settings.shuffle_buffer, check)


def check_same(hashes: Sequence[str]) -> None:
    """Refuse rows that differ between the processes of a run.

    Args:
        hashes: Those of the rows of each process.

    Raises:
        UserError: If one is another.
    """
    if len(set(hashes)) > 1:
        shown = ", ".join(f"{value[:12]} in process {rank}" for rank, value in enumerate(hashes))
        raise UserError(
            f"the processes have different data (sha256 {shown}): give every machine the same files, and name the "
            "commit of a hub data set that is being changed, hf://owner/name@commit"
        )


def check_unchanged(report: DataReport, facts: RunFacts) -> None:
    """Refuse rows that are no longer those of a run.

    Args:
        report: Of the rows as they are now.
        facts: Of the run.

    Raises:
        UserError: If their hash is another.
    """
    if report.sha256 != facts.data.sha256:
        raise UserError(
            f"the data of this run changed: {facts.data.source} had sha256 "
            f"{facts.data.sha256[:12]}, it has {report.sha256[:12]}; start a new run"
        )


def check_warmup(facts: RunFacts, settings: TrainSettings, total: int, step: int) -> None:
    """Refuse to go on inside the warm-up of a run of an earlier version, which counted its updates from 1.

    Args:
        facts: Of the run; settings.json has had `warmup_steps` since the warm-up is that of transformers.
        settings: The same with today's names.
        total: Updates of the run.
        step: Updates done.

    Raises:
        UserError: If it was stopped there.
    """
    rise = settings.warmup_updates(total)
    if "warmup_steps" not in facts.settings and 0 < step < rise:
        raise UserError(
            f"the run stopped at update {step} of a warm-up of {rise}, whose rates were one update ahead in the "
            "version that started it: it would not end as it would have; start it anew, or go on with that version"
        )
