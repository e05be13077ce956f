"""A word of warning where a model meets the file that it was trained on."""

from __future__ import annotations

from pathlib import Path


def warn_of_training_file(model: str, data: str | None, *, quiet: bool = False) -> None:
    """Say on standard error that a file is the one that a run was trained on.

    Args:
        model: As the user named it.
        data: What it is scored on or fitted to.
        quiet: Say nothing.
    """
    from textcl.cli.consoles import log_console
    from textcl.data.files import file_sha256
    from textcl.errors import UserError
    from textcl.training.run_folder import RunFolder

    if not data or not Path(data).is_file():
        return
    for folder in (Path(model), Path(model).parent):  # a run, or its best weights
        try:
            trained_on = RunFolder.open(folder).facts.data.sha256
        except UserError:
            continue
        if trained_on == file_sha256(Path(data)):
            log_console(quiet=quiet).print(
                f"{data} is the file that {model} was trained on: what is measured or fitted on rows that it knows "
                "does not hold for others"
            )
        return
