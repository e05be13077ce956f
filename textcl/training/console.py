"""Shows a run while it goes on: a live line in a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from textcl.encoder.encoder import Encoder
from textcl.encoder.folder import known_elsewhere
from textcl.terminal import counted
from textcl.training.position import DevScore, Position, listed
from textcl.training.run_folder import RunFolder
from textcl.training.supervision import Supervision


def after_training(
    console: Console,
    folder: RunFolder,
    position: Position,
    supervision: Supervision,
    encoder: Encoder,
    cut: str = "",
) -> None:
    """Show scores with their protocol and seed, what training did not read, where the model is, and what may follow.

    Args:
        console: Where to.
        folder: The run.
        position: Where it ended.
        supervision: Its rows and dev set.
        encoder: What was trained.
        cut: On training texts that were cut, "" where none was.
    """
    if cut:
        console.print(cut, highlight=False, soft_wrap=True)
    for line in _closing_lines(folder, position, supervision):
        console.print(line, highlight=False, soft_wrap=True)
    if not known_elsewhere(encoder.saved_pooling):
        console.print(
            f"only textcl opens {folder.best}: sentence-transformers has no pooling {encoder.pooling!r}",
            soft_wrap=True,
        )


def _closing_lines(folder: RunFolder, position: Position, supervision: Supervision) -> list[str]:
    dev, verdict = supervision.dev, supervision.verdict(position)
    verdicts = [verdict] if verdict else []
    if dev is None or position.before is None or position.best is None:
        return [
            *verdicts,
            f"trained in {position.seconds:.0f} s; model: {folder.best}",
            f"next: {supervision.next_steps(folder.best)}",
        ]
    columns = f" ({listed(position.columns)})" if position.columns else ""
    lines = [
        f"dev before {position.before:.2f}, after {position.best:.2f}{columns} "
        f"(update {position.best_step}, seed {supervision.settings.seed}; {dev.protocol})"
    ]
    if dev.note:
        lines.append(dev.note)
    if position.best < position.before:
        lines.append("training did not help on this dev set: the model before it scores higher")
    return [
        *lines,
        *verdicts,
        f"trained in {position.seconds:.0f} s; model: {folder.best}",
        f"next: {supervision.next_steps(folder.best)}",
    ]


SHORT = 50
"""Updates below which a run is too short to judge a method by."""


class ConsoleReporter:
    """Reports to a rich console.

    Args:
        console: Where to; standard error keeps standard output for results.
        quiet: Show nothing, for all processes but the first.
    """

    def __init__(self, console: Console, quiet: bool = False) -> None:
        self.console, self.quiet = console, quiet
        self.bar: Progress | None = None
        self.fields: dict[str, str] = {"loss": "–", "temperature": "–", "dev": "–", "speed": "–"}
        self.fields["scores"] = ""

    def start(self, done: int, total: int) -> None:
        """Training begins or goes on at update `done`."""
        self.total = total
        if total < SHORT:
            self.message(
                f"only {counted(total, 'update')}: below about {SHORT}, scores say little about the method"
            )
        if self.quiet or not self.console.is_terminal:
            return
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(
                "loss {task.fields[now][loss]} · temperature {task.fields[now][temperature]}{task.fields[now][scores]}"
            ),
            TextColumn("· dev {task.fields[now][dev]} · {task.fields[now][speed]} rows/s · left"),
            TimeRemainingColumn(),
            console=self.console,
        )
        self.task = self.bar.add_task("training", total=total, completed=done, now=self.fields)
        self.bar.start()

    def logged(self, line: Mapping[str, object]) -> None:
        """A line of the log."""
        numbers = {name: value for name, value in line.items() if isinstance(value, int | float)}
        self.fields["loss"] = f"{numbers['loss']:.4f}"
        if "temperature" in numbers:
            self.fields["temperature"] = f"{numbers['temperature']:.3g}"
        self.fields["scores"] = _scores(numbers)
        if numbers.get("rows_per_second"):
            self.fields["speed"] = f"{numbers['rows_per_second']:.0f}"
        if self.bar is not None:
            self.bar.update(self.task, completed=numbers["step"])
        else:
            self.message(
                f"update {numbers['step']}/{self.total}  loss {self.fields['loss']}  "
                f"temperature {self.fields['temperature']}{self.fields['scores']}  {self.fields['speed']} rows/s"
            )

    def scored(self, step: int, score: DevScore, best: bool) -> None:
        """An evaluation on dev."""
        self.fields["dev"] = f"{score.value:.2f}"
        if self.bar is not None:
            self.bar.refresh()
        note = "before training" if step == 0 else "best so far" if best else ""
        notes = "; ".join(filter(None, (listed(score.columns), note)))
        self.message(f"update {step}: dev {score.value:.2f}" + (f" ({notes})" if notes else ""))

    def message(self, text: str) -> None:
        """Something to know."""
        if not self.quiet:
            self.console.print(text, highlight=False, soft_wrap=True)

    def stop(self) -> None:
        """Training ended."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def _scores(numbers: Mapping[str, float]) -> str:
    """Mean scores of positives and negatives, and how many negatives the loss really looks at."""
    names = ("scores/positive_mean", "scores/negative_mean", "penalty/effective_negatives")
    positive, negative, effective = (numbers.get(name) for name in names)
    if positive is None or negative is None:
        return ""
    looked_at = "" if effective is None else f" ({effective:.0f} effective negatives)"
    return f" · positives {positive:.2f}, negatives {negative:.2f}{looked_at}"
