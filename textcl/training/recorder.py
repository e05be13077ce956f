"""The files of a run: log, scores, best weights and checkpoints, which it writes and reads again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Protocol, runtime_checkable

from safetensors.torch import load_file

from textcl.data.json_files import JsonObject
from textcl.distributed import World
from textcl.errors import RunError
from textcl.training import checkpoint
from textcl.training.facts import Scores
from textcl.training.loader import Loader
from textcl.training.losses import Losses
from textcl.training.parts import Parts
from textcl.training.position import DevScore, Position
from textcl.training.run_folder import RunFolder


@runtime_checkable
class Trainable(Protocol):
    """A module that a run trains: an encoder, or a classifier."""

    def save_pretrained(
        self, directory: str | Path, *, card: Mapping[str, object] | None = None
    ) -> None:
        """Write it into a folder."""
        ...

    def train(self, mode: bool = True) -> object:
        """Turn dropout on."""
        ...

    def eval(self) -> object:
        """Turn dropout off."""
        ...


@runtime_checkable
class Reporter(Protocol):
    """Shows a run while it goes on."""

    def start(self, done: int, total: int) -> None:
        """Training begins or goes on at update `done`."""
        ...

    def logged(self, line: Mapping[str, object]) -> None:
        """A line of the log."""
        ...

    def scored(self, step: int, score: DevScore, best: bool) -> None:
        """An evaluation on dev; `best` if it beats every one before, the start included."""
        ...

    def message(self, text: str) -> None:
        """Something to know."""
        ...

    def stop(self) -> None:
        """Training ended."""
        ...


class Recorder:
    """Writes a run, and reads it again where it goes on.

    Args:
        folder: The run.
        parts: Modules, optimizer and processes.
        world: The processes that train together.
        protocol: What the dev score is; None where nothing selects the weights.
        card: Facts for the model card.
    """

    def __init__(
        self,
        folder: RunFolder,
        parts: Parts,
        world: World,
        protocol: str | None,
        card: Mapping[str, object],
    ) -> None:
        self.folder, self.parts, self.world = folder, parts, world
        self.protocol, self.card = protocol, card
        self.accelerator, self.seed = parts.accelerator, parts.settings.seed
        self.main = parts.accelerator.is_main_process
        self.model: Trainable = parts.method.trained  # pyright: ignore[reportAttributeAccessIssue]

    def write_line(self, line: Mapping[str, object]) -> int:
        """Append a line to the log and hand its numbers to the trackers.

        Returns:
            Bytes of the log, which are 0 for all processes but the first.
        """
        numbers = {
            name: x
            for name, x in line.items()
            if isinstance(x, int | float) and not isinstance(x, bool)
        }
        self.accelerator.log(numbers, step=int(numbers["step"]))
        if not self.main:
            return 0
        self.folder.log(line)
        return self.folder.logged()

    def write_score(self, step: int, score: DevScore, best: bool) -> int:
        """Keep the model if it is the best so far, and append its score to the log.

        Returns:
            Bytes of the log, as `write_line`.
        """
        if best:
            self.keep_best(step, score.value)
        return self.write_line({"step": step, **score.to_json(), "best": best})

    def keep_best(self, step: int, score: float) -> None:
        """Write the model as the best so far, with all that its run needs to go back to it."""
        if self.main:
            self._prepare()
            self.model.save_pretrained(self.folder.best, card=self._card(step, score))
            tensors = checkpoint.module_tensors(self.parts.modules)
            checkpoint.save_tensors(tensors, self._best_modules)

    @property
    def _best_modules(self) -> Path:
        return self.folder.checkpoints / "best.safetensors"

    def save(
        self, at: Position, losses: Losses, stream: Mapping[str, object] | None = None
    ) -> None:
        """Write a checkpoint.

        Args:
            at: Where the run is.
            losses: Those since the last line of the log.
            stream: Where rows that are streamed are.

        Raises:
            RunError: If the disk is full.
        """
        name = f"step-{at.step:08d}"
        part = self.folder.checkpoints / f"{name}.part"
        tensors = {
            **checkpoint.module_tensors(self.parts.modules),
            **checkpoint.optimizer_tensors(self.parts.optimizer),
        }
        scaler = self.accelerator.scaler
        meta = {
            "position": asdict(at),
            "scaler": scaler.state_dict() if scaler is not None else None,
            "stream": stream,
        }
        own = {"losses": losses.all().cpu()}
        try:
            checkpoint.write(part, self.world.rank, tensors, meta, own)
        except RunError as error:
            raise RunError(
                f"the disk of {self.folder.path} is full; the checkpoint before it is kept, and once there is room "
                f"textcl train --resume {self.folder.path} goes on from it"
            ) from error
        self.accelerator.wait_for_everyone()
        if self.main:
            checkpoint.put_in_place(part, name)
        self.accelerator.wait_for_everyone()

    def restore(self, losses: Losses, loader: Loader) -> Position | None:
        """Go back to the last checkpoint.

        Args:
            losses: Takes those since the last line of the log.
            loader: Goes back to where rows that are streamed were.

        Returns:
            Where it was; None if none was written yet, and the log is empty again.
        """
        place = checkpoint.newest(self.folder.checkpoints)
        if place is None:
            self.folder.truncate_log(0)
            return None
        saved = checkpoint.read(place, self.world.rank)
        with checkpoint.damage_named(place):
            checkpoint.load_modules(self.parts.modules, saved.tensors)
            checkpoint.load_optimizer(self.parts.optimizer, saved.tensors)
            meta = JsonObject(saved.meta, str(place))
            scaler = meta.get("scaler", dict[str, int | float])  # its counts are whole numbers
            if self.accelerator.scaler is not None and scaler:
                self.accelerator.scaler.load_state_dict(scaler)
            at = meta.require("position", Position)
            loader.go_on(meta.get("stream", dict[str, object]))
            at.total = at.total or meta.get("total", int) or 0
            if min(at.step, at.total, at.epoch, at.index, at.logged, at.stale) < 0:
                raise ValueError(f"a position below 0, {at}")
        if "losses" in saved.own:
            losses.put_back(saved.own["losses"].to(self.accelerator.device))
        if self.main:
            self.folder.truncate_log(at.logged)
        return at

    def finish(self, at: Position) -> None:
        """Write the last model and the scores, and put the best weights back."""
        if self.main:
            self._prepare()
            self.model.save_pretrained(self.folder.last, card=self._card(at.step, at.last))
        if self.protocol and at.best_step != at.step:
            with checkpoint.damage_named(self._best_modules):
                checkpoint.load_modules(self.parts.modules, load_file(self._best_modules))
        elif not self.protocol and self.main:
            self.model.save_pretrained(self.folder.best, card=self._card(at.step, None))
        if self.main:
            self.folder.write_scores(
                Scores(
                    finished=True,
                    protocol=self.protocol,
                    seed=self.seed,
                    before=at.before,
                    best=at.best,
                    best_step=at.best_step,
                    columns=at.columns,
                    last=at.last,
                    steps=at.step,
                    train_seconds=round(at.seconds, 2),
                )
            )
        self.model.eval()

    def _prepare(self) -> None:
        for hook in self.parts.method.hooks:
            hook.before_saving()

    def _card(self, step: int, score: float | None) -> dict[str, object]:
        scores: list[dict[str, object]] = []
        if score is not None and self.protocol is not None:
            scores = [{"protocol": self.protocol, "score": round(score, 2), "seed": self.seed}]
        return {**self.card, "step": step, "scores": scores}
