"""Options of several commands with their help, and checks of outputs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from textcl.errors import UserError

DATA, MODEL, OUTPUT, GENERAL = "Data", "Model", "Output", "General"
"""Panels of the help."""

TRAINING = "Training"

Start = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|FOLDER",
        help="Model to start from. Default: the recipe's.",
        rich_help_panel=MODEL,
    ),
]

TrainData = Annotated[
    list[str] | None,
    typer.Option(
        "--data",
        metavar="NAME|FILE[=WEIGHT]",
        help="File, folder or hub data set; `sample` comes with textcl. Read on the way, and not into the cache first, "
        "with stream: in front, or as hf://owner/name. Recipes for pairs take several, each with how often it comes: "
        "--data a.jsonl=2 --data b.jsonl=1. Default: the recipe's.",
        rich_help_panel=DATA,
    ),
]

Dev = Annotated[
    str | None,
    typer.Option(
        "--dev",
        metavar="NAME|FILE|SHARE",
        help="Selects the best weights: a task or file of graded pairs; for a classifier a file of labelled texts or "
        'the share of the training rows to hold out, such as 0.1; "" for none. Default: the recipe\'s.',
        rich_help_panel=DATA,
    ),
]

Deduplicate = Annotated[
    bool,
    typer.Option("--deduplicate", help="Leave out exact duplicates.", rich_help_panel=DATA),
]


class Precision(StrEnum):
    """Arithmetic of the encoder."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class Lines(StrEnum):
    """Format of standard input."""

    txt = "txt"
    csv = "csv"
    tsv = "tsv"
    jsonl = "jsonl"


ModelName = Annotated[str, typer.Argument(help="A run, a model folder or a name on the hub.")]
Input = Annotated[
    str,
    typer.Argument(
        metavar="INPUT",
        help="txt, csv, tsv, jsonl (also .gz, .xz, .zst), parquet, a folder or pattern ('data/*.txt') of them, a hub "
        "data set, or - for standard input.",
    ),
]
Columns = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="ROLE=NAME",
        help="Column of the data that holds a role, such as anchor=premise. Default: the column with the role's name.",
        rich_help_panel=DATA,
    ),
]
TextColumn = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        metavar="text=NAME",
        help="Column that holds the text. Default: text or sentence.",
        rich_help_panel=DATA,
    ),
]
Format = Annotated[
    Lines | None,
    typer.Option(
        metavar="FORMAT",
        help="Format of standard input: txt, csv, tsv or jsonl. Default: txt.",
        rich_help_panel=DATA,
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Split of a hub data set or of a folder. Default: train, or the only one.",
        rich_help_panel=DATA,
    ),
]
LabelSeparator = Annotated[
    str,
    typer.Option(
        "--label-separator",
        metavar="TEXT",
        help='Separator of the names in the column labels, such as , in "joy,love". Default: JSON lists.',
        rich_help_panel=DATA,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="N", help="Read only the first N rows. Default: all.", rich_help_panel=DATA
    ),
]
ExactPrecision = Annotated[
    Precision,
    typer.Option(metavar="NAME", help="float32 (exact) or bfloat16 (fast).", rich_help_panel=MODEL),
]
FastPrecision = Annotated[
    Precision | None,
    typer.Option(
        metavar="NAME",
        help="float32 or bfloat16. Default: bfloat16 where it is fast, else float32.",
        rich_help_panel=MODEL,
    ),
]
BatchTokens = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Tokens of one forward pass; fewer need less memory. Default: 2048 on a CPU, up to 65536 on a GPU, by its "
        "free memory.",
        rich_help_panel=MODEL,
    ),
]
Normalize = Annotated[
    bool | None,
    typer.Option(
        "--normalize/--no-normalize",
        help="Whether vectors have length 1. Default: as the model's folder specifies.",
        rich_help_panel=MODEL,
    ),
]
Whiten = Annotated[
    str | None,
    typer.Option(
        metavar="target|FILE",
        help="Whiten the vectors, fitted on the scored texts (target) or on those of a file. Default: not whitened.",
        rich_help_panel=MODEL,
    ),
]
Components = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Leading directions that whitening keeps. Default: all.",
        rich_help_panel=MODEL,
    ),
]
Json = Annotated[
    bool,
    typer.Option("--json", help="Print only JSON on standard output.", rich_help_panel=OUTPUT),
]
JsonFile = Annotated[
    Path | None,
    typer.Option(
        "-o",
        "--output",
        metavar="FILE",
        help="Also write the JSON to this file. Default: no file.",
        rich_help_panel=OUTPUT,
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace the output if it exists.", rich_help_panel=OUTPUT),
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print results and errors only.", rich_help_panel=GENERAL),
]


def parse_columns(
    options: Sequence[str] | None, roles: Collection[str] | None = None
) -> dict[str, str]:
    """Role to column name, from `--column ROLE=NAME` given any number of times.

    Args:
        options: The values of the option.
        roles: The roles that the command reads; any when None.

    Raises:
        UserError: If a value has another form, names another role, or a role is given twice.
    """
    expected = "expected --column " + (f"{'|'.join(roles)}=NAME" if roles else "ROLE=NAME")
    columns: dict[str, str] = {}
    for option in options or ():
        role, _, name = (part.strip() for part in option.partition("="))
        if not role or not name or (roles is not None and role not in roles):
            raise UserError(f"{expected}, got {option!r}")
        if role in columns:
            raise UserError(f"--column {role} is given twice: {columns[role]!r} and {name!r}")
        columns[role] = name
    return columns


def require_new_file(path: Path | None, *, overwrite: bool = False) -> None:
    """Refuse, before any work, a file that could not be written in the end.

    Raises:
        UserError: If the file exists and may not be replaced, or its folder is missing or read-only.
    """
    if path is None:
        return
    if path.is_dir():
        raise UserError(f"{path} is a folder: name a file")
    _require_free(path, "file", overwrite)
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist; create it first")


def require_changeable(model: str, output: Path | None) -> None:
    """Refuse, before any work, a model that could be changed neither in place nor as a copy.

    Args:
        model: As the user named it.
        output: New folder of the copy; None to change the model itself.

    Raises:
        UserError: If the copy could not be written, or the model is no folder that may be written to.
    """
    from textcl.data.files import check_writable
    from textcl.encoder.hub import find_model

    if output is not None:
        require_new_folder(output, overwrite=None)
        return
    if not Path(model).expanduser().is_dir():
        raise UserError(
            f"{model} is not a folder on this machine: name a folder for the copy with -o"
        )
    check_writable(find_model(model))


_FILE_ENDINGS = {
    *(".html", ".pdf", ".png", ".svg"),
    *(".csv", ".json", ".jsonl", ".npy", ".parquet", ".safetensors", ".tsv", ".txt"),
}


def require_new_folder(
    path: Path | None, *, overwrite: bool | None = False, inputs: Sequence[str] = ()
) -> None:
    """Refuse, before any work, a folder that could not be written in the end.

    Args:
        path: The folder to be; None for none.
        overwrite: Whether it may be replaced; None if the command never replaces one.
        inputs: Files and folders that the command reads, and names that are none.

    Raises:
        UserError: If it is named like a file, exists and may not be replaced, holds an input, or nothing may be
            created there.
    """
    from textcl.data.files import require_replaceable

    if path is None:
        return
    if path.suffix.lower() in _FILE_ENDINGS and not path.exists():
        raise UserError(
            f"{path} is named like a file, and a folder is written: leave {path.suffix} out"
        )
    _require_free(path, "folder", overwrite)
    for name in inputs:
        place = Path(name).resolve()
        if place.exists() and path.resolve() in (place, *place.parents):
            raise UserError(
                f"{path} would be replaced, and {name} is read from it: name another folder"
            )
    require_replaceable(path)


def _require_free(path: Path, kind: str, overwrite: bool | None) -> None:
    from textcl.data.files import check_writable

    if path.exists() and not overwrite:
        way = "" if overwrite is None else " or add --overwrite"
        raise UserError(f"{path} exists already: name another {kind}{way}")
    check_writable(path.absolute().parent)


def write_text(path: Path | None, text: str) -> None:
    """Write a text file whole or not at all; nothing where there is no path."""
    from textcl.data import files

    if path is not None:
        files.write_text(path, text)
