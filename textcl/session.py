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
from textcl.benchmarks import EncodeWith, describe, evaluate
from textcl.data import Rows, load_rows, truncation_report
from textcl.distributed import World
from textcl.encoder import Encoder
from textcl.errors import RunError, UserError
from textcl.inference import fast_bfloat16
from textcl.loader import Collate, Loader, ShuffledBatches
from textcl.method import Method
from textcl.progress import ConsoleReporter
from textcl.recipe import Recipe
from textcl.recorder import Position
from textcl.resources import sample_dir
from textcl.run import RunFolder, versions
from textcl.settings import TrainSettings, as_mapping, from_mapping, with_overrides
from textcl.tasks import StsTask, load_task
from textcl.train import train as run_loop
from textcl.train import world_of

_UNCUT = 10**6  # tokens; longer than any text


@dataclass(frozen=True)
class DevPairs:
    """Graded pairs that select weights.

    Args:
        task: The pairs.
    """

    task: StsTask

    @property
    def protocol(self) -> str:
        """What the number is."""
        label = self.task.manifest.label if self.task.manifest else self.task.name
        return f"{label}, {describe(self.task.protocol('all'), 'all')}, float32"

    @property
    def note(self) -> str:
        """What a reader must know about these pairs."""
        return self.task.manifest.note if self.task.manifest else ""

    def __call__(self, encoder: Encoder) -> float:
        """Spearman × 100, encoded in float32 so that the number is the one `textcl eval` gives."""
        score = evaluate(EncodeWith(encoder, precision="float32"), self.task)[self.task.name]
        if score is None:
            raise RunError(
                f"the dev score on {self.task.name} is undefined: all cosines or all gold scores are equal"
            )
        return score


@dataclass(frozen=True)
class Trained:
    """A finished run.

    Args:
        folder: Its files.
        encoder: The encoder with the best weights.
        position: Steps and scores.
    """

    folder: RunFolder
    encoder: Encoder
    position: Position


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
    """Train a sentence encoder.

    Args:
        recipe: Name of a recipe, or a file with one.
        model: HuggingFace or sentence-transformers model to start from; the recipe's when None.
        data: File, folder, hub data set, list of texts or dicts, or `datasets.Dataset`; "sample" is textcl's own.
        dev: Task name or file of graded pairs that select the best weights; "" for none.
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
        [f"{k}={v}" for k, v in settings.items()] if isinstance(settings, Mapping) else settings
    )
    chosen = with_overrides(found.settings(model), overrides)
    source = data if data is not None else chosen.data
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
        raise UserError(f"the run in {folder} is finished: its encoder is {run.best}")
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
        rows = self._rows(source)
        dev = self._dev()
        method = self._method()
        loader = self._loader(rows, method)
        path = output or _new_path(self.recipe.name)
        facts = {**self.request, **self._facts(rows, dev)}
        negatives = _negatives(method, self.settings, self.world)
        if self.main:
            self._show(rows, method, loader, dev, path, negatives)
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
        rows = self._rows(self.settings.data if data is None else data)
        if rows.report.sha256 != facts["data"]["sha256"]:
            raise UserError(
                f"the data of this run changed: {facts['data']['source']} had sha256 "
                f"{facts['data']['sha256'][:12]}, it has {rows.report.sha256[:12]}; start a new run"
            )
        dev = self._dev() if facts["dev"] is not None else None
        method = self._method()
        return self._train(folder, facts, method, self._loader(rows, method), dev, resume=True)

    def _rows(self, source: Any) -> Rows:
        if isinstance(source, str) and not source:
            raise UserError("no training data: name a file, folder or data set with --data")
        sample = isinstance(source, str) and source == "sample"
        if sample:
            source = str(sample_dir() / "sentences.txt")
        request = self.request
        rows = load_rows(
            source,
            roles=self.recipe.roles,
            columns=request["columns"],
            split=request["split"],
            limit=request["limit"],
            deduplicate=request["deduplicate"],
        )
        if sample:
            rows.report = replace(rows.report, source="sample")
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
        return rows

    def _dev(self) -> DevPairs | None:
        name = self.settings.dev
        if not name:
            return None
        if Path(name).exists():
            rows = load_rows(name, roles=("sentence1", "sentence2", "score"))
            pairs = rows[range(len(rows))]
            return DevPairs(
                StsTask(
                    name=Path(name).stem,
                    sentences1=[pair["sentence1"] for pair in pairs],
                    sentences2=[pair["sentence2"] for pair in pairs],
                    scores=torch.tensor([pair["score"] for pair in pairs]).double().numpy(),
                    source=name,
                )
            )
        try:
            return DevPairs(load_task(name))
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
                if isinstance(encoder, Encoder):  # averages and teachers keep no activations
                    encoder.gradient_checkpointing_enable()
        return method

    def _loader(self, rows: Rows, method: Method) -> Loader:
        online = _online(method)
        sampler = ShuffledBatches(len(rows), self.settings.batch_size, self.settings.seed)
        collate = Collate(method.views, online.tokenize, self.settings.seed)
        return Loader(rows, sampler, collate, self.world)

    def _facts(self, rows: Rows, dev: DevPairs | None) -> dict[str, Any]:
        return {
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
        dev: DevPairs | None,
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
                card=_card(facts),
                resume=resume,
            )
        finally:
            reporter.stop()
            self.accelerator.end_training()
        if self.main:
            self._tell(folder, position, dev)
        return Trained(folder, _online(method), position)

    def _show(
        self,
        rows: Rows,
        method: Method,
        loader: Loader,
        dev: DevPairs | None,
        path: Path,
        negatives: str,
    ) -> None:
        """What the user sees before the first step."""
        settings, online = self.settings, _online(method)
        routes = ", ".join(
            f"{name} ← {route.encoder}({route.view} of column {method.views[route.view].column})"
            for name, route in method.routes.items()
        )
        parameters = sum(p.numel() for p in online.parameters()) / 1e6
        lengths = truncation_report(
            lambda texts: online.tokenize(texts, max_length=_UNCUT).lengths.tolist(),
            rows,
            settings.max_length,
        )
        total = settings.total_steps(len(loader.sampler))
        seen = total * settings.accumulation / len(loader.sampler)
        lines = {
            "recipe": f"{self.recipe.name}: {self.recipe.summary}",
            "model": f"{settings.model}: {online.dimension} dimensions, pooling {online.pooling}, "
            f"{parameters:.1f} M parameters",
            "data": rows.report.describe(),
            "lengths": lengths.describe(),
            "views": routes,
            "negatives": negatives,
            "dev": f"{dev.protocol}, {len(dev.task.scores)} pairs. {dev.note}".strip()
            if dev
            else "none: the last weights are kept",
            "steps": f"{total} updates of {settings.batch_size * settings.accumulation} rows, "
            f"{seen:.2f} epochs, {_machine(self.accelerator)}",
            "output": str(path),
        }
        for name, text in lines.items():
            self.console.print(f"{name:<10}{text}", highlight=False, markup=False, soft_wrap=True)
        index = loader.sampler.batch(0, 0)[:3]
        batch = loader.collate(rows[index.tolist()], index, 0)
        for row in range(len(index)):
            for view, tokens in batch.tokens.items():
                one = tokens.rows(row, row + 1)
                text = online.tokenizer.decode(one.ids.tolist())
                self.console.print(
                    f"{'example' if not row else '':<10}{row + 1} {view} ({len(one.ids)} tokens): {text}",
                    highlight=False,
                    markup=False,
                    soft_wrap=True,
                )

    def _tell(self, folder: RunFolder, position: Position, dev: DevPairs | None) -> None:
        say = self.console.print
        if dev is None or position.before is None or position.best is None:
            say(f"done in {position.seconds:.0f} s; encoder: {folder.best}", highlight=False)
            return
        say(
            f"dev before {position.before:.2f}, after {position.best:.2f} "
            f"(update {position.best_step}, seed {self.settings.seed}; {dev.protocol})",
            highlight=False,
            soft_wrap=True,
        )
        if dev.note:
            say(dev.note, highlight=False, soft_wrap=True)
        if position.best < position.before:
            say("training did not help on this dev set: the model before it scores higher")
        say(
            f"trained in {position.seconds:.0f} s; encoder: {folder.best}\n"
            f"next: textcl eval {folder.best} --suite sts · textcl encode {folder.best} FILE -o vectors.npy",
            highlight=False,
            soft_wrap=True,
        )


def _card(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What the model card tells of a run: enough to do it again, and no folder of this machine."""
    data, settings = facts["data"], dict(facts["settings"])
    start, source = _last_part(settings["model"]), _last_part(data["source"])
    settings.update(model=start, data=source, dev=_last_part(settings["dev"]))
    return {
        "name": f"{start}, {_last_part(facts['recipe'])}",
        "recipe": _last_part(facts["recipe"]),
        "data": f"{source}, {data['rows']:,} rows, sha256 {data['sha256']}",
        "dev": facts["dev"],
        "seed": facts["seed"],
        "precision": facts["precision"],
        "processes": facts["processes"],
        "command": facts["command"],
        "settings": settings,
    }


def _last_part(name: str) -> str:
    return Path(name).name if Path(name).is_absolute() else name


def _online(method: Method) -> Encoder:
    online = method.encoders["online"]
    assert isinstance(online, Encoder)
    return online


def _negatives(method: Method, settings: TrainSettings, world: World) -> str:
    """What the objective's table holds, read from a rehearsal of all processes with made-up embeddings."""
    share = torch.arange(settings.batch_size).tensor_split(world.size)[world.rank]
    scores = torch.linspace(0, 5, len(share))
    terms = method.rehearse(len(share), scores=scores, first=int(share[0]))
    counts = {
        name.removeprefix("negatives/"): int(n) for name, n in terms.items() if "negatives/" in name
    }
    if not counts:
        return f"from batches of {settings.batch_size} rows"
    parts = ", ".join(f"{kind} {count:,}" for kind, count in counts.items())
    return f"each anchor sees {sum(counts.values()):,} negatives: {parts}"


def _machine(accelerator: Accelerator) -> str:
    precision = {"no": "float32", "bf16": "bf16 autocast", "fp16": "fp16 autocast"}
    kind = precision.get(str(accelerator.mixed_precision), str(accelerator.mixed_precision))
    threads = f", {torch.get_num_threads()} threads" if accelerator.device.type == "cpu" else ""
    return f"{kind} on {accelerator.num_processes} × {accelerator.device.type}{threads}"


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
