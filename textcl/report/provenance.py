"""The sections on data, settings and versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textcl.data.lengths import truncation_report
from textcl.errors import RunError, UserError
from textcl.probe.models import started_from
from textcl.report.page import Document
from textcl.report.runs import RunRecord
from textcl.report.texts import training_rows


def data_section(page: Document, runs: Sequence[RunRecord]) -> None:
    """The data that the runs were trained on."""
    page.section("data", "Data")
    rows = []
    for run in runs:
        data = run.facts.data
        kept = "dropped" if data.dropped else "kept"
        rows.append(
            [
                run.label,
                data.source,
                data.extent if data.streamed else data.rows,
                data.blank,
                f"{data.duplicates:,} ({kept})" if data.duplicates else "0",
                data.longest,
                data.sha256[:16],
            ]
        )
    header = (
        "run",
        "training data",
        "rows",
        "blank, skipped",
        "duplicates",
        "longest text, characters",
        "sha256",
    )
    page.table("Training data", header, rows)
    seen: set[object] = set()
    for run in runs:
        common = run.facts.common
        key = (run.facts.data.sha256, common.max_length, common.model)
        if key not in seen:
            page.text(f"{run.label}: {_truncation(run)}", "note")
        seen.add(key)


def _truncation(run: RunRecord) -> str:
    try:
        rows = training_rows(run)
        encoder = started_from(run.folder.path)
    except (UserError, RunError) as error:
        return f"how many texts were cut is no longer known: {error}."
    longest = run.facts.common.max_length or encoder.max_length
    read = encoder.reader(prompt=run.facts.common.prompt)
    report = truncation_report(read.lengths, rows, longest)
    return report.describe() + "."


def settings_section(page: Document, runs: Sequence[RunRecord], own: Mapping[str, object]) -> None:
    """Everything that is needed to do it again."""
    page.section("settings", "Settings and versions")
    for run in runs:
        facts = run.facts
        rest = {
            "command": facts.command,
            "seed": facts.seed,
            "device": facts.device,
            "threads": facts.threads,
            "processes": facts.processes,
            "precision": facts.precision,
        }
        page.folded(f"{run.label}: settings", {**rest, **facts.settings})
        page.folded(f"{run.label}: versions", facts.versions)
    page.folded("This report", own)
