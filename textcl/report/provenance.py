"""The sections on data, settings and versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from textcl.data.lengths import truncation_report
from textcl.errors import RunError, UserError
from textcl.probe.models import started_from
from textcl.report.page import Document
from textcl.report.runs import RunRecord
from textcl.report.texts import training_rows
from textcl.training import recipes

_UNCUT = 10**6  # tokens; longer than any text


def data_section(page: Document, runs: Sequence[RunRecord]) -> None:
    """What the runs were trained on."""
    page.section("data", "Data")
    rows = []
    for run in runs:
        report = run.facts["data"]
        kept = "dropped" if report["dropped"] else "kept"
        rows.append(
            [
                run.label,
                report["source"],
                report["rows"],
                report["blank"],
                f"{report['duplicates']:,} ({kept})" if report["duplicates"] else "0",
                report["longest"],
                report["sha256"][:16],
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
    seen: set[str] = set()
    for run in runs:
        key = f"{run.facts['data']['sha256']} {run.settings.get('max_length')} {run.settings['model']}"
        if key not in seen:
            page.text(f"{run.label}: {_truncation(run)}", "note")
        seen.add(key)


def _truncation(run: RunRecord) -> str:
    longest = int(run.settings["max_length"])
    try:
        rows = training_rows(run, recipes.find(str(run.facts["recipe"])).roles)
        encoder = started_from(run.folder.path)
    except (UserError, RunError) as error:
        return f"how many texts were cut at {longest} tokens cannot be told any more: {error}."
    report = truncation_report(
        lambda texts: encoder.tokenize(texts, max_length=_UNCUT).lengths.tolist(), rows, longest
    )
    return report.describe() + "."


def settings_section(page: Document, runs: Sequence[RunRecord], own: Mapping[str, Any]) -> None:
    """Everything that is needed to do it again."""
    page.section("settings", "Settings and versions")
    for run in runs:
        facts = run.facts
        known = ("command", "seed", "device", "threads", "processes", "precision", "versions")
        rest = {key: facts[key] for key in known if key in facts}
        versions = rest.pop("versions", {})
        page.folded(f"{run.label}: settings", {**rest, **run.settings})
        page.folded(f"{run.label}: versions", versions)
    page.folded("This report", own)
