"""The commands."""

from __future__ import annotations

from typing import Annotated

import typer

from textcl.cli.calibrate import calibrate_command
from textcl.cli.encode import encode_command
from textcl.cli.eval import eval_command
from textcl.cli.export import EXAMPLES as EXPORT_EXAMPLES
from textcl.cli.export import export_command
from textcl.cli.predict import predict_command
from textcl.cli.probe import EXAMPLES as PROBE_EXAMPLES
from textcl.cli.probe import probe_command
from textcl.cli.recipes import EXAMPLES as RECIPES_EXAMPLES
from textcl.cli.recipes import recipes_command
from textcl.cli.report import EXAMPLES as REPORT_EXAMPLES
from textcl.cli.report import report_command
from textcl.cli.sweep import EXAMPLES as SWEEP_EXAMPLES
from textcl.cli.sweep import sweep_command
from textcl.cli.train import EXAMPLES as TRAIN_EXAMPLES
from textcl.cli.train import train_command
from textcl.versions import own_version

app = typer.Typer(
    name="textcl",
    help="Train sentence encoders and text classifiers by contrastive learning, and measure them.",
    epilog="Examples: textcl train --recipe quickstart · textcl eval RUN --suite sts · "
    "textcl encode RUN sentences.txt -o vectors.npy · textcl probe RUN --before · "
    "--offline and --debug go with every command.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("train", epilog=TRAIN_EXAMPLES)(train_command)
app.command("encode")(encode_command)
app.command("predict")(predict_command)
app.command("calibrate")(calibrate_command)
app.command("eval")(eval_command)
app.command("probe", epilog=PROBE_EXAMPLES)(probe_command)
app.command("sweep", epilog=SWEEP_EXAMPLES)(sweep_command)
app.command("export", epilog=EXPORT_EXAMPLES)(export_command)
app.command("report", epilog=REPORT_EXAMPLES)(report_command)
app.command("recipes", epilog=RECIPES_EXAMPLES)(recipes_command)


def _version(value: bool) -> bool:
    if value:
        typer.echo(f"textcl {own_version()}")
        raise typer.Exit
    return value


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train sentence encoders and text classifiers by contrastive learning, and measure them."""
