"""`textcl mine`: hard negatives for pairs, and a page to judge them by."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from textcl.cli.consoles import log_console, result_console, result_table
from textcl.cli.index import Kind, load_model, tools_for
from textcl.cli.options import (
    DATA,
    MODEL,
    OUTPUT,
    BatchTokens,
    FastPrecision,
    ModelName,
    Overwrite,
    Quiet,
    Split,
    parse_columns,
    require_new_file,
)
from textcl.errors import UserError
from textcl.terminal import counted

if TYPE_CHECKING:
    from textcl.retrieval.choices import Tally
    from textcl.retrieval.hard_negatives import Reranks

RULES = "Rules"
_RERANKERS = ("ForSequenceClassification", "ForCausalLM", "ForConditionalGeneration")
EXAMPLES = """Examples:

textcl mine RUN pairs.jsonl --corpus corpus.jsonl -o triplets.jsonl --audit audit.html

textcl mine RUN pairs.csv -o triplets.jsonl --negatives 8 --relative-margin 0.1

textcl mine RUN pairs.csv --corpus corpus.jsonl -o triplets.jsonl --ranks 10:100 --sampling random

textcl mine RUN pairs.csv --corpus corpus.jsonl -o triplets.jsonl --marks marks.csv --overwrite
"""


class Sampling(StrEnum):
    """Choice among the candidates that pass."""

    top = "top"
    random = "random"


def mine_command(
    model: ModelName,
    pairs: Annotated[
        str,
        typer.Argument(help="File, folder or hub data set with the columns anchor and positive."),
    ],
    output: Annotated[
        str,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            help="File ending in .csv, .jsonl or .parquet: anchor, positive, negative_1, …, their ids and scores.",
            rich_help_panel=OUTPUT,
        ),
    ],
    corpus: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Documents that negatives are taken from. Default: the positives of all pairs.",
            rich_help_panel=DATA,
        ),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="ROLE=NAME",
            help="Column of the pairs (anchor, positive) or of the corpus (text, id). Default: that with the role's "
            "name; _id or id, else the number of the row.",
            rich_help_panel=DATA,
        ),
    ] = None,
    split: Split = None,
    negatives: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Negatives of each anchor.", rich_help_panel=RULES),
    ] = 4,
    ranks: Annotated[
        str | None,
        typer.Option(
            metavar="FROM:TO",
            help="Ranks that negatives are taken from, from 0, after all rules. Default: 0 to ten times the negatives.",
            rich_help_panel=RULES,
        ),
    ] = None,
    relative_margin: Annotated[
        str,
        typer.Option(
            metavar="SHARE|none",
            help="Drop documents that score above 1 − SHARE of the weakest positive's score; 0 drops those above it, "
            "none drops none.",
            rich_help_panel=RULES,
        ),
    ] = "0.05",
    absolute_margin: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="SCORE",
            help="Drop documents that score less than this below the weakest positive. Default: no such rule.",
            rich_help_panel=RULES,
        ),
    ] = None,
    max_score: Annotated[
        float | None,
        typer.Option(
            metavar="SCORE",
            help="Drop documents with a higher score. Default: no bound.",
            rich_help_panel=RULES,
        ),
    ] = None,
    min_score: Annotated[
        float | None,
        typer.Option(
            metavar="SCORE",
            help="Drop documents with a lower score. Default: no bound.",
            rich_help_panel=RULES,
        ),
    ] = None,
    near: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Drop documents that share so many trigrams with the anchor or a positive; above 1 drops none.",
            rich_help_panel=RULES,
        ),
    ] = 0.9,
    keep_short: Annotated[
        bool,
        typer.Option(
            "--keep-short",
            help="Also write the pairs of anchors with fewer negatives, with those that they have: `pairs` trains on "
            "them all.",
            rich_help_panel=RULES,
        ),
    ] = False,
    sampling: Annotated[
        Sampling,
        typer.Option(
            metavar="NAME", help="top, or random among those that pass.", rich_help_panel=RULES
        ),
    ] = Sampling.top,
    seed: Annotated[
        int, typer.Option(metavar="N", help="Seed of all draws.", rich_help_panel=RULES)
    ] = 0,
    marks: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="Marks that the audit page saved: relevant documents are left out. Default: none.",
            rich_help_panel=RULES,
        ),
    ] = None,
    reranker: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FOLDER",
            help="CrossEncoder whose scores the rules judge instead. Default: none.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    index: Annotated[
        Kind,
        typer.Option(
            "--index",
            metavar="NAME",
            help="exact, or hnsw for millions of documents (needs the extra `hnsw`).",
            rich_help_panel=MODEL,
        ),
    ] = Kind.exact,
    precision: FastPrecision = None,
    batch_tokens: BatchTokens = None,
    audit: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.html",
            help="Also write an HTML page with the scores, what each rule dropped, and anchors to read and mark (needs "
            "the extra `report`). Default: none.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Find hard negatives for PAIRS: documents that look relevant to an anchor, without those that probably are.

    Anchors with too few negatives are left out and counted, unless --keep-short is given. Vectors are kept in the
    cache, so that other rules take only the time of a search.
    """
    from textcl.data.records import record_format
    from textcl.data.rows import load_rows
    from textcl.retrieval.documents import documents_of
    from textcl.retrieval.hard_negatives import MiningOptions
    from textcl.retrieval.triplets import Marks, mine_pairs

    record_format(output, overwrite=overwrite)
    if audit is not None and audit.suffix != ".html":
        raise UserError(f"--audit names a page: let {audit} end in .html")
    require_new_file(audit, overwrite=overwrite)
    columns = parse_columns(column, ["anchor", "positive", "text", "id"])
    range_min, range_max = parse_ranks(ranks)
    options = MiningOptions(
        negatives=negatives,
        range_min=range_min,
        range_max=range_max,
        absolute_margin=absolute_margin,
        relative_margin=parse_margin(relative_margin),
        max_score=max_score,
        min_score=min_score,
        near=near,
        sampling=sampling.value,
        seed=seed,
        keep_short=keep_short,
    )
    log = log_console(quiet=quiet)
    read = None if marks is None else Marks.read(marks)
    if read is not None:
        log.print(read.describe())
    roles = ("anchor", "positive")
    rows = load_rows(pairs, roles=roles, columns=_of(columns, roles), split=split)
    documents = corpus and documents_of(corpus, columns=_of(columns, ("text", "id")))
    if audit is not None:
        from textcl.figures import altair

        altair()  # found missing in a moment; mining may take long
    tally = mine_pairs(
        load_model(model),
        rows,
        documents or None,
        output,
        options,
        kind=index.value,
        reranker=load_reranker(reranker) if reranker else None,
        marks=read,
        overwrite=overwrite,
        tools=tools_for(log, precision and precision.value, batch_tokens, quiet=quiet),
    )
    if not quiet:
        show(tally)
    hint = ": --keep-short writes them, too" if tally.short and not keep_short else ""
    log.print(f"{output}: {tally.summary}{hint}")
    if audit is not None:
        from textcl.retrieval.audit import write_audit

        write_audit(audit, tally, model)
        log.print(
            f"{audit}: {counted(len(tally.sample), 'anchor')} to read and mark, opens without a network"
        )


def parse_ranks(ranks: str | None) -> tuple[int, int | None]:
    """The first rank and the one after the last, from FROM:TO.

    Raises:
        UserError: If it has another form.
    """
    if ranks is None:
        return 0, None
    first, _, last = ranks.partition(":")
    if not (first.isdecimal() and last.isdecimal()):
        raise UserError(f"expected --ranks FROM:TO, such as 10:100, got {ranks!r}")
    return int(first), int(last)


def parse_margin(margin: str) -> float | None:
    """A share, or None for "none".

    Raises:
        UserError: If it is neither.
    """
    if margin == "none":
        return None
    try:
        return float(margin)
    except ValueError:
        raise UserError(
            f"expected --relative-margin SHARE, such as 0.05, or none, got {margin!r}"
        ) from None


def load_reranker(name: str) -> Reranks:
    """A `CrossEncoder` of sentence-transformers, whose code never comes from its folder.

    Raises:
        UserError: If there is no such model, or it was not trained to give one score.
    """
    from sentence_transformers import CrossEncoder

    try:
        model = CrossEncoder(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(
            f"--reranker {name} is no CrossEncoder that can be loaded: {reason}"
        ) from error
    kinds: list[str] = (model.config and model.config.architectures) or []
    if model.num_labels != 1 or not any(kind.endswith(_RERANKERS) for kind in kinds):
        raise UserError(
            f"--reranker {name} ({', '.join(kinds) or 'unknown'}, {model.num_labels} outputs) was not trained to give "
            "one score for two texts: name a CrossEncoder with one output"
        )
    return model  # pyright: ignore[reportReturnType]


def show(tally: Tally) -> None:
    """Print what each rule dropped."""
    table = result_table("suspected false by", "documents", "of those judged", "anchors")
    for rule, count in tally.rules.most_common():
        share = 100 * count / max(tally.candidates, 1)
        table.add_row(rule, f"{count:,}", f"{share:.1f} %", f"{tally.touched[rule]:,}")
    result_console().print(table if tally.rules else "no rule dropped a document")


def _of(columns: Mapping[str, str], roles: tuple[str, ...]) -> dict[str, str]:
    return {role: name for role, name in columns.items() if role in roles}


def kept(parameters: Mapping[str, object]) -> str:
    """State of the output when the command is stopped."""
    return f"nothing of {parameters['output']} was written; vectors that are complete are kept in the cache"
