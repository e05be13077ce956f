"""One training run from a request to its folder: what `textcl train` and `textcl.train` do."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import torch
from accelerate.utils import broadcast_object_list, gather_object
from rich.console import Console

from textcl.data.arguments import checked_arguments
from textcl.data.files import check_writable
from textcl.data.streamed import StreamedRows
from textcl.errors import UserError
from textcl.method.method import Method, online_of
from textcl.terminal import TextConsole
from textcl.training import checkpoint, recipes, replaced
from textcl.training.accelerator import (
    accelerator_of,
    describe_machine,
    finish_trackers,
    init_trackers,
    world_of,
)
from textcl.training.build import build_method
from textcl.training.console import ConsoleReporter, after_training
from textcl.training.dev import Dev
from textcl.training.facts import RunFacts
from textcl.training.graphs import with_graphs
from textcl.training.loader import Loader
from textcl.training.loop import run as run_loop
from textcl.training.position import Stopwatch
from textcl.training.preview import describe_cut, preview
from textcl.training.recipes import Recipe
from textcl.training.rehearsal import Rehearsal
from textcl.training.request import RowRequest, check_same, check_unchanged, check_warmup
from textcl.training.run_folder import RunFolder, model_card
from textcl.training.settings import TrainSettings, as_mapping, parse_overrides
from textcl.training.start import save_start
from textcl.training.supervision import (
    DevChoice,
    Supervision,
    check_batch,
    check_stream,
    loader_of,
    supervise,
)
from textcl.training.trained import Trained
from textcl.versions import versions

RUNS = "runs"
"""The folder of runs that are given no name."""


@checked_arguments
def train(
    recipe: str | Path = "quickstart",
    *,
    model: str | Path | None = None,
    data: object = None,
    dev: str | float | Path | None = None,
    output: str | Path | None = None,
    settings: Sequence[str] | Mapping[str, object] = (),
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
        data: File, folder, hub data set, list of texts or dicts, or `datasets.Dataset`; "stream:FOLDER", "hf://owner/name"
            and a `datasets.IterableDataset` are read on the way; "sample" is textcl's own; for a
            classifier also a task of `eval/tasks`, such as "ISEAR", whose dev split then selects the weights, or
            "EmoInt:lcl" with texts cleaned as in LCL's code.
        dev: What selects the best weights: a task name or a file of graded pairs; for a classifier a file of labelled
            texts, or the share of the training rows to hold out, such as 0.1; "" for none.
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
    recipe = str(recipe)
    if not dry_run:
        if output is not None:
            RunFolder.require_free(Path(output), overwrite=overwrite)
        check_writable(Path(output or RUNS))
    loaded = recipes.find(recipe)
    values = (
        dict(settings)
        if isinstance(settings, Mapping)
        else parse_overrides(loaded.settings_type, settings)
    )
    if isinstance(data, (str, Path)):
        values["data"] = data
    if dev is not None:
        values["dev"] = str(dev)
    chosen = loaded.settings(model, values)
    request = RowRequest(
        chosen.data if data is None or isinstance(data, Path) else data,
        loaded.roles,
        columns=dict(columns or {}),
        split=split,
        limit=limit,
        deduplicate=deduplicate,
    )
    session = _Session(loaded, chosen, console)
    return session.start(
        recipe,
        request,
        "named" if "dev" in values else "default",
        output=None if output is None else Path(output),
        overwrite=overwrite,
        dry_run=dry_run,
    )


@checked_arguments
def resume(
    folder: str | Path,
    *,
    recipe: str | Path | None = None,
    data: object = None,
    console: Console | None = None,
) -> Trained:
    """Go on with a run that was stopped or killed; it ends as if it had not been.

    Args:
        folder: The run.
        recipe: The file of its recipe, for a recipe that does not come with textcl. A run folder is data that people
            pass around, so a file that it names is never executed; the one given here must be the one that was used.
        data: The data again, where the run was started with rows in memory.
        console: Where progress is shown; standard error when None.

    Raises:
        UserError: If there is no run, it is finished, its recipe is another, or its data changed.
    """
    run = RunFolder.open(Path(folder))
    if run.finished:
        raise UserError(f"the run in {folder} is finished: its model is {run.best}")
    check_writable(run.path)
    facts = run.facts
    loaded = recipes.find_again(facts.recipe, facts.recipe_sha256, recipe, run.path)
    chosen = loaded.settings_again(facts.settings)
    if data is None and not chosen.data:
        raise UserError(
            "this run was started with rows in memory: go on from Python with "
            "textcl.training.session.resume(folder, data=rows)"
        )
    request = RowRequest.of_run(facts, loaded.roles, data)
    return _Session(loaded, chosen, console).go_on(run, facts, request)


class _Session:
    """Processes, and the way from rows to a trained model, for a run that starts or goes on."""

    def __init__(self, recipe: Recipe, settings: TrainSettings, console: Console | None) -> None:
        self.recipe, self.settings = recipe, settings
        self.accelerator = accelerator_of(settings)
        self.world = world_of(self.accelerator)
        self.main = self.accelerator.is_main_process
        self.console = console or TextConsole(stderr=True)

    def start(
        self,
        recipe: str,
        request: RowRequest,
        dev: DevChoice,
        *,
        output: Path | None,
        overwrite: bool,
        dry_run: bool,
    ) -> Trained | None:
        self.settings.check_start()
        supervision = supervise(self.settings, request, dev, self._log)
        self._check_same(supervision)
        check_batch(supervision.rows, supervision.settings, self.world)
        method = build_method(self.recipe, supervision.settings, self.world)
        check_stream(method, supervision.rows)
        loader = loader_of(supervision, method, self.world)
        supervision = supervision.begin(method)
        path = output or _new_path(self.recipe.name)
        facts = self._facts(recipe, request, supervision)
        labels = supervision.describe(method, loader)
        if self.main:
            preview(
                self.console,
                self.recipe,
                supervision.settings,
                supervision.rows,
                method,
                loader,
                supervision.dev,
                labels=labels,
                machine=describe_machine(self.accelerator),
                output=path,
            )
        if dry_run:
            return None
        if self.main:
            RunFolder.create(path, facts, overwrite=overwrite)
        self.accelerator.wait_for_everyone()
        return self._train(RunFolder(path), facts, method, loader, supervision, resume=False)

    def go_on(self, folder: RunFolder, facts: RunFacts, request: RowRequest) -> Trained:
        if facts.processes != self.world.size:
            raise UserError(
                f"the run was started with {facts.processes} processes and cannot go on with {self.world.size}: "
                f"resume it with accelerate launch --num_processes {facts.processes}"
            )
        chosen: DevChoice = "none" if facts.dev is None else "named"
        supervision = supervise(self.settings, request, chosen, self._log)
        check_unchanged(supervision.rows.report, facts)
        method = build_method(self.recipe, supervision.settings, self.world)
        loader = loader_of(supervision, method, self.world)
        total = supervision.settings.total_steps(len(loader.sampler))
        check_warmup(facts, supervision.settings, total, checkpoint.step_of(folder.checkpoints))
        supervision = supervision.begin(method)
        return self._train(folder, facts, method, loader, supervision, resume=True)

    def _check_same(self, supervision: Supervision) -> None:
        """Refuse, in every process, data that is not the same in all."""
        if self.world.size > 1:
            check_same(gather_object([supervision.rows.report.sha256]))

    def _with_tokens(self, loader: Loader, settings: TrainSettings, method: Method) -> Loader:
        """The loader with the tokens of whole columns at hand, where the run sees every row at least once."""
        updates = settings.total_steps(len(loader.sampler))
        streamed = isinstance(loader.rows, StreamedRows)
        if streamed or updates * settings.accumulation < len(loader.sampler):
            return loader
        with self.accelerator.local_main_process_first():
            return loader.with_tokens(method.readers(settings.max_length), self._log)

    def _log(self, line: str) -> None:
        if self.main:
            self.console.print(line, soft_wrap=True)

    def _facts(self, recipe: str, request: RowRequest, supervision: Supervision) -> RunFacts:
        dev: Dev | None = supervision.dev
        return RunFacts(
            recipe=recipe,
            recipe_sha256=self.recipe.sha256,
            summary=self.recipe.summary,
            roles=self.recipe.roles,
            settings=as_mapping(supervision.settings),
            columns=request.columns,
            split=request.split,
            limit=request.limit,
            deduplicate=request.deduplicate,
            drop_unlabelled=getattr(supervision.settings, "drop_unlabelled", False),
            data=supervision.rows.report,
            dev=dev.protocol if dev else None,
            seed=supervision.settings.seed,
            command=" ".join(["textcl", *sys.argv[1:]]),
            processes=self.world.size,
            device=str(self.accelerator.device),
            threads=torch.get_num_threads(),
            precision=self.accelerator.mixed_precision,
            versions=versions(),
        )

    def _train(
        self,
        folder: RunFolder,
        facts: RunFacts,
        method: Method,
        loader: Loader,
        supervision: Supervision,
        *,
        resume: bool,
    ) -> Trained:
        settings, online = supervision.settings, online_of(method)
        if settings.trackers and self.main:
            init_trackers(self.accelerator, folder.path, settings)
        loader = self._with_tokens(loader, settings, method)
        reporter = ConsoleReporter(self.console, quiet=not self.main)
        try:
            with folder.sole_writer() if self.main else nullcontext():
                if self.world.size == 1:
                    rehearse, watch = Rehearsal(self.recipe, self.accelerator), Stopwatch()
                    supervision = supervision.compare(method, rehearse, self._log)
                    if supervision.left_out is not None:
                        self._log(f"which took {watch.lap():.0f} s")
                hooks = [*method.hooks, *supervision.hooks(method)]
                whole = replace(method, hooks=hooks)
                card, accelerator = model_card(facts), self.accelerator
                left_out = supervision.left_out
                if left_out is not None and left_out.keeps_start:
                    position = save_start(
                        whole, settings, folder, accelerator, self.world, card=card
                    )
                else:
                    position = run_loop(
                        with_graphs(whole, settings, accelerator, reporter.message),
                        loader,
                        settings,
                        folder,
                        accelerator,
                        reporter,
                        dev=supervision.dev,
                        card=card,
                        resume=resume,
                    )
                if left_out is not None and self.main:
                    folder.write_scores(left_out.added_to(folder.scores()))
        finally:
            reporter.stop()
            finish_trackers(self.accelerator)
            if self.main:  # what --overwrite replaces, until something is saved
                (replaced.remove if folder.has_saved else replaced.put_back)(folder.path)
        if self.main:
            cut = describe_cut(method, settings, supervision.rows)
            after_training(self.console, folder, position, supervision, online, cut)
        return Trained(folder, online, position, method.trained)


def _new_path(recipe: str) -> Path:
    stamp = [f"{datetime.now():%Y%m%d-%H%M%S}"]
    return Path(RUNS) / f"{recipe}-{broadcast_object_list(stamp)[0]}"
