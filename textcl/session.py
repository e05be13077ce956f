"""One training run from a request to its folder: what `textcl train` and `textcl.train` do."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.tracking import get_available_trackers
from accelerate.utils import DistributedDataParallelKwargs, broadcast_object_list
from rich.console import Console

from textcl import recipe as recipes
from textcl.classes import (
    ClassifierSettings,
    batches_of,
    describe_classes,
    describe_company,
    dev_texts,
    held_out_share,
    hold_out,
    load_dev_texts,
    targets_of_rows,
    with_classes,
)
from textcl.classifier import Classifier
from textcl.data import Rows, load_rows, settle_roles
from textcl.dev import DevPairs, load_dev
from textcl.encoder import Encoder
from textcl.errors import UserError
from textcl.inference import fast_bfloat16
from textcl.labelled import load_labelled, named_task
from textcl.loader import Collate, Loader, ShuffledBatches
from textcl.loop import run as run_loop
from textcl.loop import world_of
from textcl.method import Method
from textcl.preview import describe_machine, describe_negatives, model_card, online_of, show, tell
from textcl.progress import ConsoleReporter
from textcl.recipe import Recipe
from textcl.recorder import Dev, Position
from textcl.resources import sample_dir
from textcl.run import RunFolder
from textcl.settings import TrainSettings, as_mapping, from_mapping, with_overrides
from textcl.versions import versions


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Args:
        folder: Its files.
        encoder: The encoder with the best weights.
        position: Steps and scores.
        classifier: The classifier around it, where the recipe trains one.
    """

    folder: RunFolder
    encoder: Encoder
    position: Position
    classifier: Classifier | None = None


def train(
    recipe: str = "quickstart",
    *,
    model: str | None = None,
    data: Any = None,
    dev: str | None = None,
    output: str | Path | None = None,
    settings: Sequence[str] | Mapping[str, Any] = (),
    columns: Mapping[str, str] | None = None,
    split: str | None = None,
    limit: int | None = None,
    deduplicate: bool = False,
    overwrite: bool = False,
    dry_run: bool = False,
    console: Console | None = None,
) -> Trained | None:
    """Train a sentence encoder, or a classifier.

    Args:
        recipe: Name of a recipe, or a file with one.
        model: HuggingFace or sentence-transformers model to start from; the recipe's when None.
        data: File, folder, hub data set, list of texts or dicts, or `datasets.Dataset`; "sample" is textcl's own; for a
            classifier also a task of `eval/tasks`, such as "ISEAR", whose dev split then selects the weights, or
            "EmoInt:lcl" with texts cleaned as in LCL's code.
        dev: What selects the best weights: a task name or a file of graded pairs; for a classifier a file of labelled
            texts, or the share of the training rows to hold out, such as "0.1"; "" for none.
        output: Run folder; a new one under runs/ when None.
        settings: Settings that differ from the recipe's, as "key=value" texts or a mapping.
        columns: Role to column name of the data.
        split: Split of a hub data set or folder.
        limit: Read only so many rows.
        deduplicate: Leave out exact duplicates.
        overwrite: Replace a run that is in `output`.
        dry_run: Show what would be done, and do nothing.
        console: Where progress is shown; standard error when None.

    Returns:
        The finished run; None after a dry run.

    Raises:
        UserError: If something in the request or the data is wrong.
        RunError: If training fails.
    """
    found = recipes.find(recipe)
    overrides = (
        [f"{key}={_as_text(value)}" for key, value in settings.items()]
        if isinstance(settings, Mapping)
        else settings
    )
    chosen = with_overrides(found.settings(model), overrides)
    source = data if data is not None else chosen.data
    if dev is None and isinstance(chosen, ClassifierSettings) and named_task(source):
        dev = source
    named = [f"data={source}"] if isinstance(source, (str, Path)) else []
    chosen = with_overrides(chosen, [*named, *([] if dev is None else [f"dev={dev}"])])
    asked_dev = dev is not None or any(text.startswith("dev=") for text in overrides)
    request = {
        "recipe": recipe,
        "settings": as_mapping(chosen),
        "columns": dict(columns or {}),
        "split": split,
        "limit": limit,
        "deduplicate": deduplicate,
    }
    return _Session(found, chosen, request, console, asked_dev).start(
        source, None if output is None else Path(output), overwrite, dry_run
    )


def resume(folder: str | Path, *, data: Any = None, console: Console | None = None) -> Trained:
    """Go on with a run that was stopped or killed; it ends as if it had not been.

    Args:
        folder: The run.
        data: The data again, where the run was started with rows in memory.
        console: Where progress is shown; standard error when None.

    Raises:
        UserError: If there is no run, it is finished, or its data changed.
    """
    run = RunFolder.open(Path(folder))
    if run.finished:
        raise UserError(f"the run in {folder} is finished: its model is {run.best}")
    facts = run.facts
    found = recipes.find(facts["recipe"])
    chosen = from_mapping(found.settings_type, facts["settings"])
    return _Session(found, chosen, facts, console, asked_dev=facts["dev"] is not None).go_on(
        run, data
    )


class _Session:
    """What `start` and `go_on` share: rows, method, loader and dev set of a request."""

    def __init__(
        self,
        found: Recipe,
        settings: TrainSettings,
        request: Mapping[str, Any],
        console: Console | None,
        asked_dev: bool,
    ) -> None:
        self.recipe, self.settings, self.request = found, settings, request
        self.asked_dev = asked_dev
        self.accelerator = _accelerator(settings)
        self.world = world_of(self.accelerator)
        self.main = self.accelerator.is_main_process
        self.console = console or Console(stderr=True)

    def start(
        self, source: Any, output: Path | None, overwrite: bool, dry_run: bool
    ) -> Trained | None:
        rows, dev = self._data(source)
        method = self._method()
        loader = self._loader(rows, method)
        path = output or _new_path(self.recipe.name)
        facts = {**self.request, **self._facts(rows, dev)}
        classes, negatives = self._company(rows, method, loader)
        if self.main:
            show(
                self.console,
                self.recipe,
                self.settings,
                rows,
                method,
                loader,
                dev,
                classes=classes,
                negatives=negatives,
                machine=describe_machine(self.accelerator),
                output=path,
            )
        if dry_run:
            return None
        if self.main:
            RunFolder.create(path, facts, overwrite=overwrite)
        self.accelerator.wait_for_everyone()
        return self._train(RunFolder(path), facts, method, loader, dev, resume=False)

    def go_on(self, folder: RunFolder, data: Any) -> Trained:
        facts = folder.facts
        if facts["processes"] != self.world.size:
            raise UserError(
                f"the run was started with {facts['processes']} processes and cannot go on with {self.world.size}: "
                f"resume it with accelerate launch --num_processes {facts['processes']}"
            )
        if data is None and not self.settings.data:
            raise UserError(
                "this run was started with rows in memory: go on from Python with "
                "textcl.session.resume(folder, data=rows)"
            )
        rows, dev = self._data(
            self.settings.data if data is None else data, facts["dev"] is not None
        )
        if rows.report.sha256 != facts["data"]["sha256"]:
            raise UserError(
                f"the data of this run changed: {facts['data']['source']} had sha256 "
                f"{facts['data']['sha256'][:12]}, it has {rows.report.sha256[:12]}; start a new run"
            )
        method = self._method()
        return self._train(folder, facts, method, self._loader(rows, method), dev, resume=True)

    def _data(self, source: Any, with_dev: bool = True) -> tuple[Rows, Dev | None]:
        """Training rows, and what selects the weights. Classes are found on the way."""
        rows, dev = self._rows(source), None
        if isinstance(self.settings, ClassifierSettings):
            rows, dev = self._labelled(rows, self.settings)
        elif with_dev:
            dev = self._dev()
        self._check_batch(rows)
        return rows, dev

    def _labelled(self, rows: Rows, settings: ClassifierSettings) -> tuple[Rows, Dev | None]:
        settings = with_classes(settings, rows)
        share, dev = held_out_share(settings.dev), None
        if share is not None:
            rows, held = hold_out(rows, share, settings.seed)
            dev = dev_texts(held, settings, f"{share:.0%} of the training rows, held out")
            settings = with_classes(settings, rows)
        elif settings.dev:
            dev = load_dev_texts(settings, self.request["columns"])
        self.settings = settings
        return rows, dev

    def _company(self, rows: Rows, method: Method, loader: Loader) -> tuple[str, str]:
        """What the user is told of classes and negatives."""
        if not isinstance(self.settings, ClassifierSettings):
            return "", describe_negatives(method, self.settings, self.world)
        labels = loader.batch(0, 0).labels
        company = describe_company(loader.sampler, targets_of_rows(self.settings, rows))
        negatives = describe_negatives(method, self.settings, self.world, labels, company)
        return describe_classes(self.settings), negatives

    def _rows(self, source: Any) -> Rows:
        if isinstance(source, str) and not source:
            raise UserError("no training data: name a file, folder or data set with --data")
        sample = isinstance(source, str) and source == "sample"
        if sample:
            source = str(sample_dir() / "sentences.txt")
        request, task = self.request, named_task(source)
        if task and isinstance(self.settings, ClassifierSettings):
            source = load_labelled(task[0], "train", lcl_preparation=task[1]).rows()
        rows = load_rows(
            source,
            roles=settle_roles(
                source, self.recipe.roles, columns=request["columns"], split=request["split"]
            ),
            columns=request["columns"],
            split=request["split"],
            limit=request["limit"],
            deduplicate=request["deduplicate"],
        )
        if sample or task:
            told = "sample" if sample else f"{self.settings.data}, train"
            rows.report = replace(rows.report, source=told)
        return rows

    def _check_batch(self, rows: Rows) -> None:
        if len(rows) < self.settings.batch_size:
            raise UserError(
                f"the data has {len(rows)} usable rows, fewer than a batch of {self.settings.batch_size}: "
                + (
                    f"bring more, or use --set batch_size={len(rows)}"
                    if len(rows) > 1
                    else "contrastive training needs at least 2, and useful results many more"
                )
            )
        if self.settings.batch_size < 2 * self.world.size:
            raise UserError(
                f"batch_size is {self.settings.batch_size} over {self.world.size} processes: "
                "every process needs at least 2 rows, or nothing is contrasted"
            )

    def _dev(self) -> DevPairs | None:
        name = self.settings.dev
        if not name:
            return None
        try:
            return load_dev(name)
        except UserError as error:
            if self.asked_dev:
                raise
            if self.main:
                self.console.print(
                    f"no dev set, the last weights will be kept: {error}", soft_wrap=True
                )
            return None

    def _method(self) -> Method:
        torch.manual_seed(self.settings.seed)
        method = self.recipe.build(self.settings, self.world)
        # processes draw different dropout masks from here on; rank 0 goes on with the seed's own stream
        if self.world.rank:
            torch.manual_seed(self.settings.seed + 7919 * self.world.rank)
        if self.settings.gradient_checkpointing:
            for encoder in method.encoders.values():
                if isinstance(
                    encoder, Encoder | Classifier
                ):  # averages and teachers keep no activations
                    encoder.gradient_checkpointing_enable()
        return method

    def _loader(self, rows: Rows, method: Method) -> Loader:
        online = online_of(method)
        settings, classes = self.settings, ()
        if isinstance(settings, ClassifierSettings):
            sampler, classes = batches_of(settings, rows), settings.classes
        else:
            sampler = ShuffledBatches(len(rows), settings.batch_size, settings.seed)
        collate = Collate(method.views, online.tokenize, settings.seed, classes)
        return Loader(rows, sampler, collate, self.world)

    def _tokenised(self, loader: Loader, online: Encoder) -> Loader:
        """The loader with the tokens of whole columns at hand, where the run sees every row at least once."""
        updates = self.settings.total_steps(len(loader.sampler))
        if updates * self.settings.accumulation < len(loader.sampler):
            return loader

        def tell(line: str) -> None:
            if self.main:
                self.console.print(line, soft_wrap=True)

        with self.accelerator.local_main_process_first():
            return loader.with_tokens(online.tokenizer, online.max_length, tell)

    def _facts(self, rows: Rows, dev: Dev | None) -> dict[str, Any]:
        return {
            "settings": as_mapping(self.settings),
            "data": asdict(rows.report),
            "dev": dev.protocol if dev else None,
            "seed": self.settings.seed,
            "command": " ".join(["textcl", *sys.argv[1:]]),
            "processes": self.world.size,
            "device": str(self.accelerator.device),
            "threads": torch.get_num_threads(),
            "precision": self.accelerator.mixed_precision,
            "versions": versions(),
        }

    def _train(
        self,
        folder: RunFolder,
        facts: Mapping[str, Any],
        method: Method,
        loader: Loader,
        dev: Dev | None,
        *,
        resume: bool,
    ) -> Trained:
        if self.settings.trackers and self.main:
            self.accelerator.project_configuration.set_directories(str(folder.path))
            values = {
                k: str(v) if isinstance(v, list) else v
                for k, v in as_mapping(self.settings).items()
            }
            self.accelerator.init_trackers(
                "textcl", config={k: v for k, v in values.items() if v is not None}
            )
        loader = self._tokenised(loader, online_of(method))
        reporter = ConsoleReporter(self.console, quiet=not self.main)
        try:
            position = run_loop(
                method,
                loader,
                self.settings,
                folder,
                self.accelerator,
                reporter,
                dev=dev,
                card=model_card(facts),
                resume=resume,
            )
        finally:
            reporter.stop()
            self.accelerator.end_training()
        if self.main:
            tell(
                self.console, folder, position, dev, self.settings.seed, _following(method, folder)
            )
        classifier = method.trained if isinstance(method.trained, Classifier) else None
        return Trained(folder, online_of(method), position, classifier)


def _as_text(value: Any) -> str:
    """A setting as `--set` takes it."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _following(method: Method, folder: RunFolder) -> str:
    """What the user may want to do with the result."""
    if isinstance(method.trained, Classifier):
        return (
            f"textcl eval {folder.best} --data TEST · textcl predict {folder.best} FILE -o out.csv"
        )
    return (
        f"textcl eval {folder.best} --suite sts · textcl encode {folder.best} FILE -o vectors.npy"
    )


def _new_path(recipe: str) -> Path:
    stamp = [f"{datetime.now():%Y%m%d-%H%M%S}"]
    return Path("runs") / f"{recipe}-{broadcast_object_list(stamp)[0]}"


def _accelerator(settings: TrainSettings) -> Accelerator:
    # Accelerate keeps precision and accumulation of the first run in a process; a second run may differ. What it knows
    # of other processes goes too when the run before has ended their group
    gone = not torch.distributed.is_initialized()
    AcceleratorState._reset_state(reset_partial_state=gone)  # pyright: ignore[reportPrivateUsage]
    GradientState._reset_state()  # pyright: ignore[reportPrivateUsage]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if settings.precision == "fp16" and device == "cpu":
        raise UserError("precision=fp16 needs a GPU; on this machine use bf16, fp32 or auto")
    known = [str(tracker) for tracker in get_available_trackers()]
    for tracker in settings.trackers:
        if tracker not in known:
            raise UserError(
                f"tracker {tracker!r} is not installed (here: {', '.join(known) or 'none'}); "
                "install its package, or leave it out: metrics.jsonl is always written"
            )
    auto = "bf16" if fast_bfloat16(device) else "no"
    return Accelerator(
        # said outright, or Accelerate takes several processes without a GPU for strangers
        cpu=not torch.accelerator.is_available(),
        mixed_precision={"auto": auto, "fp32": "no"}.get(settings.precision, settings.precision),
        gradient_accumulation_steps=settings.accumulation,
        log_with=list(settings.trackers) or None,
        project_dir="." if settings.trackers else None,  # the run folder, once it is known
        # what buffers hold (queues, prototypes, averages) is the same on all processes already
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False)],
    )
