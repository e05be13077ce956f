"""The only training loop. It names no method: what a method changes besides weights is in its hooks."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from accelerate import Accelerator
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from textcl import checkpoint
from textcl.alarms import Alarms
from textcl.distributed import World
from textcl.encoder import Encoder
from textcl.errors import RunError
from textcl.loader import Loader
from textcl.method import Method
from textcl.momentum import MomentumEncoder
from textcl.run import RunFolder
from textcl.settings import TrainSettings
from textcl.types import Embeddings, LossOutput


@runtime_checkable
class Dev(Protocol):
    """Scores an encoder; higher is better."""

    @property
    def protocol(self) -> str:
        """What the number is."""
        ...

    def __call__(self, encoder: Encoder) -> float:
        """The score."""
        ...


@runtime_checkable
class Reporter(Protocol):
    """Shows a run while it goes on."""

    def start(self, done: int, total: int) -> None:
        """Training begins or goes on at update `done`."""
        ...

    def logged(self, line: Mapping[str, Any]) -> None:
        """A line of the log."""
        ...

    def scored(self, step: int, score: float, best: bool) -> None:
        """An evaluation on dev."""
        ...

    def message(self, text: str) -> None:
        """Something to know."""
        ...

    def stop(self) -> None:
        """Training ended."""
        ...


@dataclass
class Position:
    """Where a run is; all of it goes into a checkpoint.

    Args:
        step: Updates done.
        epoch: Passes over the data begun, from 0.
        index: Batches of this epoch done.
        before: Dev score before training.
        best: Best dev score after some update.
        best_step: Its update.
        stale: Evaluations since.
        last: Last dev score.
        seconds: Training time, evaluation left out.
        logged: Bytes of metrics.jsonl.
    """

    step: int = 0
    epoch: int = 0
    index: int = 0
    before: float | None = None
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    last: float | None = None
    seconds: float = 0.0
    logged: int = 0


def train(
    method: Method,
    loader: Loader,
    settings: TrainSettings,
    folder: RunFolder,
    accelerator: Accelerator,
    reporter: Reporter,
    *,
    dev: Dev | None = None,
    card: Mapping[str, Any] | None = None,
    resume: bool = False,
) -> Position:
    """Train a method, and leave the best and the last encoder in the run folder.

    Args:
        method: What to train; holds the best weights afterwards.
        loader: Its batches.
        settings: Rates, lengths and intervals.
        folder: The run.
        accelerator: Devices, precision and processes.
        reporter: Shows what happens.
        dev: Selects the best weights; without it the last are the best.
        card: Facts for the model card.
        resume: Go on from the last checkpoint.

    Returns:
        Where the run ended.

    Raises:
        RunError: If the loss is not finite.
        InterruptedRunError: After Ctrl-C, when everything is saved.
    """
    return _Training(
        method, loader, settings, folder, accelerator, reporter, dev, dict(card or {})
    ).run(resume)


class InterruptedRunError(RunError):
    """The user stopped the run; it is saved."""


class _Training:
    def __init__(
        self,
        method: Method,
        loader: Loader,
        settings: TrainSettings,
        folder: RunFolder,
        accelerator: Accelerator,
        reporter: Reporter,
        dev: Dev | None,
        card: dict[str, Any],
    ) -> None:
        self.method, self.loader, self.settings = method, loader, settings
        self.folder, self.accelerator, self.reporter = folder, accelerator, reporter
        self.dev, self.card = dev, card
        self.online: Encoder = method.encoders["online"]  # pyright: ignore[reportAttributeAccessIssue]
        self.modules: dict[str, nn.Module] = {
            "embedder": method.embedder(),
            "objective": method.objective,
            **{f"state-{name}": module for name, module in method.state.items()},
        }
        for module in self.modules.values():
            module.to(accelerator.device)
        self.optimizer = torch.optim.AdamW(self._parameter_groups(), lr=0.0, fused=True)
        self.embedder = accelerator.prepare(self.modules["embedder"])
        learns = any(p.requires_grad for p in method.objective.parameters())
        self.objective = accelerator.prepare(method.objective) if learns else method.objective
        self.stepper = accelerator.prepare(self.optimizer)
        self.total = settings.total_steps(len(loader.sampler))
        self.at = Position()
        self.window: list[LossOutput] = []
        self.alarms = Alarms([name for name, r in method.routes.items() if r.encoder == "online"])
        self.norm = torch.zeros(())
        self.interrupted = False

    def run(self, resume: bool) -> Position:
        if resume:
            self._restore()
        if self.at.step == 0 and self.dev:
            self.at.before = self._score()
            self.reporter.scored(0, self.at.before, False)
        for hook in self.method.hooks:
            hook.before_training(self.total)
        self.reporter.start(self.at.step, self.total)
        with self._watch_interrupts():
            self._epochs()
        self.reporter.stop()
        self._finish()
        return self.at

    def _epochs(self) -> None:
        while self.at.step < self.total:
            for hook in self.method.hooks:
                hook.before_epoch(self.at.epoch, self._embed_all)
            self.embedder.train()
            self.objective.train()
            self.began = time.perf_counter()
            for batch in self.loader.batches(self.at.epoch, self.at.index):
                self._step(batch.to(self.accelerator.device))
                if self.at.step >= self.total:
                    return
            self.at.epoch, self.at.index = self.at.epoch + 1, 0

    def _step(self, batch: Any) -> None:
        settings = self.settings
        with self.accelerator.accumulate(self.embedder, self.objective):
            output, z = self.method.backprop(
                self.embedder, self.objective, batch, self.accelerator.backward
            )
            self.at.index += 1
            self.window.append(LossOutput(output.loss.detach(), output.terms))
            for hook in self.method.hooks:
                hook.after_batch(z, self.loader.world)
            if not self.accelerator.sync_gradients:
                return
            self.norm = self._clip()
            rate = settings.learning_rate_at(self.at.step, self.total)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.stepper.step()
            self.stepper.zero_grad()
        self.at.step += 1
        if not self.accelerator.optimizer_step_was_skipped:
            for hook in self.method.hooks:
                hook.after_update(self.at.step)
        done = self.at.step >= self.total
        if self.at.step % settings.log_every == 0 or done:
            self._log(rate, z)
        if self.dev and (self.at.step % settings.evaluate_every == 0 or done):
            self._evaluate()
            done = self.at.step >= self.total
        due = bool(settings.save_every) and self.at.step % settings.save_every == 0
        stop = self._asked_to_stop()
        if due or done or stop:
            self._save()
        if stop and not done:
            raise InterruptedRunError(
                f"stopped after update {self.at.step} of {self.total} and saved; "
                f"go on with: textcl train --resume {self.folder.path}"
            )

    def _asked_to_stop(self) -> bool:
        """Whether to stop after this update. Several processes agree on it, at updates at which they log."""
        world = self.loader.world
        if world.size == 1:
            return self.interrupted
        if self.at.step % self.settings.log_every:
            return False
        asked = torch.tensor(float(self.interrupted), device=self.accelerator.device)
        return bool(world.sum(asked) > 0)

    def _clip(self) -> Tensor:
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        bound = self.settings.max_grad_norm or float("inf")
        norm = self.accelerator.clip_grad_norm_(parameters, bound)
        return torch.as_tensor(norm).detach()

    def _log(self, rate: float, z: Embeddings) -> None:
        """Read the losses since the last line: the only place where the loop waits for the device."""
        self._require_finite()
        self.at.seconds += time.perf_counter() - self.began
        self.began = time.perf_counter()
        world = self.loader.world
        losses = torch.stack([output.loss for output in self.window])
        seen = self.at.step * self.settings.batch_size * self.settings.accumulation
        line: dict[str, Any] = {
            "step": self.at.step,
            "epoch": round(self.at.epoch + self.at.index / len(self.loader.sampler), 4),
            "loss": float(world.sum(losses.mean()) / world.size),
            "learning_rate": rate,
            "grad_norm": float(self.norm),
            **{name: float(term) for name, term in self.window[-1].terms.items()},
            "rows_per_second": round(seen / self.at.seconds, 1) if self.at.seconds else None,
        }
        alarms, messages = self.alarms.look(z, self.norm, self.window[-1].terms)
        if alarms:
            line["alarm"] = alarms
        for message in messages:
            self.reporter.message(f"update {self.at.step}: {message}")
        self.window = []
        if self.accelerator.is_main_process:
            self.folder.log(line)
            self.at.logged = self.folder.logged()
        self.accelerator.log(line, step=self.at.step)
        self.reporter.logged(line)

    def _require_finite(self) -> None:
        if not self.window:
            return
        values = torch.stack(
            [*(output.loss for output in self.window), self.norm.to(self.window[0].loss)]
        )
        scaled = self.accelerator.scaler is not None  # fp16: the scaler skips such updates itself
        if torch.isfinite(values[:-1] if scaled else values).all():
            return
        place = checkpoint.newest(self.folder.checkpoints)
        way = (
            f"go on from {place.name} with --resume {self.folder.path}, "
            if place
            else "no checkpoint was written yet; start again "
        )
        raise RunError(
            f"the loss or its gradient is not finite at update {self.at.step} "
            f"(loss {float(values[-2]):g}, gradient norm {float(self.norm):g}): "
            f"{way}with a lower learning rate, a higher temperature or precision=fp32"
        )

    def _evaluate(self) -> None:
        self._require_finite()
        self.at.seconds += time.perf_counter() - self.began
        score = self._score()
        best = self.at.best is None or score > self.at.best
        self.at.last, self.at.stale = score, 0 if best else self.at.stale + 1
        if best:
            self.at.best, self.at.best_step = score, self.at.step
            if self.accelerator.is_main_process:
                self.online.save_pretrained(self.folder.best, card=self._card(score))
                part = self.folder.checkpoints / ".best.safetensors"
                part.parent.mkdir(exist_ok=True)
                save_file(checkpoint.module_tensors(self.modules), part)
                part.replace(self._best_modules)
        line = {"step": self.at.step, "dev": score, "best": best}
        if self.accelerator.is_main_process:
            self.folder.log(line)
            self.at.logged = self.folder.logged()
        self.accelerator.log({"dev": score}, step=self.at.step)
        self.reporter.scored(self.at.step, score, best)
        if self.settings.patience and self.at.stale >= self.settings.patience:
            self.reporter.message(
                f"no better score in {self.at.stale} evaluations: stopping at update {self.at.step}"
            )
            self.total = self.at.step
        self.began = time.perf_counter()

    def _score(self) -> float:
        assert self.dev is not None
        score = torch.zeros((), dtype=torch.float64, device=self.accelerator.device)
        if self.accelerator.is_main_process:
            score += self.dev(self.online)
        self.online.train()
        return float(self.loader.world.sum(score))

    @property
    def _best_modules(self) -> Any:
        return self.folder.checkpoints / "best.safetensors"

    def _save(self) -> None:
        self._require_finite()
        name = f"step-{self.at.step:08d}"
        part = self.folder.checkpoints / f"{name}.part"
        tensors = {
            **checkpoint.module_tensors(self.modules),
            **checkpoint.optimizer_tensors(self.optimizer),
        }
        scaler = self.accelerator.scaler
        meta = {
            "position": asdict(self.at),
            "total": self.total,
            "scaler": scaler.state_dict() if scaler is not None else None,
        }
        checkpoint.write(part, self.loader.world.rank, tensors, meta)
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            checkpoint.put_in_place(part, name)
        self.accelerator.wait_for_everyone()

    def _restore(self) -> None:
        place = checkpoint.newest(self.folder.checkpoints)
        if place is None:
            self.reporter.message("no checkpoint was written yet: starting from the beginning")
            self.folder.truncate_log(0)
            return
        tensors, meta = checkpoint.read(place, self.loader.world.rank)
        checkpoint.load_modules(self.modules, tensors)
        checkpoint.load_optimizer(self.optimizer, tensors)
        if self.accelerator.scaler is not None and meta["scaler"]:
            self.accelerator.scaler.load_state_dict(meta["scaler"])
        self.at, self.total = Position(**meta["position"]), meta["total"]
        if self.accelerator.is_main_process:
            self.folder.truncate_log(self.at.logged)
        self.reporter.message(f"going on after update {self.at.step} of {self.total}")

    def _finish(self) -> None:
        if self.accelerator.is_main_process:
            self.online.save_pretrained(self.folder.last, card=self._card(self.at.last))
        if self.dev and self.at.best_step != self.at.step:
            checkpoint.load_modules(self.modules, load_file(self._best_modules))
        elif not self.dev and self.accelerator.is_main_process:
            self.online.save_pretrained(self.folder.best, card=self._card(None))
        if self.accelerator.is_main_process:
            self.folder.write_scores(
                {
                    "finished": True,
                    "protocol": self.dev.protocol if self.dev else None,
                    "seed": self.settings.seed,
                    "before": self.at.before,
                    "best": self.at.best,
                    "best_step": self.at.best_step,
                    "last": self.at.last,
                    "steps": self.at.step,
                    "train_seconds": round(self.at.seconds, 2),
                }
            )
        self.online.eval()

    def _card(self, score: float | None) -> dict[str, Any]:
        scores: list[dict[str, Any]] = []
        if score is not None and self.dev is not None:
            seed = self.settings.seed
            scores = [{"protocol": self.dev.protocol, "score": round(score, 2), "seed": seed}]
        return {**self.card, "step": self.at.step, "scores": scores}

    def _embed_all(self) -> Tensor:
        """Embeddings of all training rows in row order, by the momentum encoder where there is one.

        Dropout rests, and a head that acts in training acts here too: these are the vectors that the loss compares.
        """
        encoder = self.method.encoders.get("momentum", self.online)
        first, rows = next(iter(self.method.views.values())), self.loader.rows
        modes = {module: module.training for module in encoder.modules()}
        for module in encoder.modules():
            module.train(False)
        for module in encoder.modules():
            if isinstance(module, Encoder | MomentumEncoder):
                module.training = True
        parts: list[Tensor] = []
        with torch.no_grad():
            for start in range(0, len(rows), 256):
                block = rows[range(start, min(start + 256, len(rows)))]
                tokens = self.online.tokenize([str(row[first.column]) for row in block])
                parts.append(encoder(tokens.to(self.accelerator.device)))
        for module, mode in modes.items():
            module.training = mode
        return torch.cat(parts)

    def _parameter_groups(self) -> list[dict[str, Any]]:
        """Weights with decay, and biases, norms and scalars without."""
        trained = [
            p
            for module in (self.modules["embedder"], self.method.objective)
            for p in module.parameters()
            if p.requires_grad
        ]
        return [
            {
                "params": [p for p in trained if p.ndim >= 2],
                "weight_decay": self.settings.weight_decay,
            },
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]

    @contextmanager
    def _watch_interrupts(self) -> Generator[None]:
        """The first Ctrl-C asks the loop to save and stop; the second stops at once.

        With several processes every further one is ignored: their launcher passes the first on a second time.
        """

        def ask(*_: Any) -> None:
            self.interrupted = True
            if self.loader.world.size == 1:
                signal.signal(signal.SIGINT, signal.default_int_handler)

        try:
            before: Callable[..., Any] | int | None = signal.signal(signal.SIGINT, ask)
        except ValueError:  # not in the main thread, which is where signals arrive
            yield
            return
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


def world_of(accelerator: Accelerator) -> World:
    """The processes that Accelerate started."""
    from textcl.distributed import ALONE, AllRanks

    return AllRanks() if accelerator.num_processes > 1 else ALONE
