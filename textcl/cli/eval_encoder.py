"""Scores of an encoder on graded pairs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from rich.console import Console

from textcl.cli.consoles import log_console
from textcl.cli.options import Precision

if TYPE_CHECKING:
    from textcl.data.json_files import JsonDict
    from textcl.evaluation.benchmarks import EncodeWith


def eval_encoder(
    model: str,
    names: list[str],
    beside: list[str],
    aggregation: str,
    whiten: str | None,
    components: int | None,
    precision: Precision,
    batch_tokens: int | None,
    quiet: bool,
) -> tuple[JsonDict, Callable[[Console], None]]:
    """The content of --json, and a function that shows the same on a console."""
    from textcl.cli.eval_graded import plain, published, show_scores, whitening
    from textcl.evaluation.benchmarks import evaluate
    from textcl.evaluation.tasks import load_task

    tasks = [load_task(name) for name in names]
    fit = whitening(whiten, components)
    encoder = load(model, precision.value, batch_tokens, quiet)
    scores = evaluate(encoder, tasks, aggregation=aggregation, whiten=fit(encoder))
    log = log_console(quiet=quiet)
    speed = scores.sentences / max(scores.seconds, 1e-9)
    log.print(
        f"{scores.sentences:,} sentences in {scores.seconds:.1f} s ({speed:,.0f} sentences/s)"
    )
    rows = {protocol: published(scores, protocol, beside) for protocol in scores.by_protocol()}
    white = {"fitted_on": whiten, "components": components} if whiten else None

    def show(console: Console) -> None:
        show_scores(console, model, scores, rows)
        if white:
            kept = "all" if components is None else str(components)
            console.print(f"ours whitened, fitted on {whiten}, {kept} components", markup=False)

    return plain(model, precision.value, scores, rows, white), show


def load(model: str, precision: str, batch_tokens: int | None, quiet: bool) -> EncodeWith:
    """The encoder of that name; over all processes, where there are several."""
    from textcl.encoder.shared import SharedEncoder
    from textcl.evaluation.benchmarks import EncodeWith
    from textcl.export.load import load_encoder
    from textcl.training.accelerator import launched_world

    options = {} if batch_tokens is None else {"batch_tokens": batch_tokens}
    world = launched_world()
    encoder, shown = load_encoder(model), sys.stderr.isatty() and not quiet
    if world.size > 1:
        encoder = SharedEncoder(encoder, world)
    return EncodeWith(encoder, precision=precision, show_progress=shown, **options)
