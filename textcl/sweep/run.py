"""Running a sweep: every cell a process of its own, nothing done twice, failures reported and not hidden."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from pathlib import Path

from textcl.data.files import check_writable, write_json
from textcl.data.lock import sole_writer
from textcl.errors import RunError, UserError
from textcl.evaluation.benchmarks import Encodes
from textcl.probe.numbers import SpaceNumbers
from textcl.probe.texts import ProbeData, load_probe_data
from textcl.sweep.comparison import compare
from textcl.sweep.held_out import check_test, held_out_score
from textcl.sweep.plan import Cell, Plan
from textcl.sweep.processes import Processes
from textcl.sweep.stored import FILE, StoredCell, StoredSweep
from textcl.sweep.table import Probes, Result, table
from textcl.training import recipes
from textcl.training.interrupts import InterruptedRunError
from textcl.training.run_folder import RunFolder
from textcl.versions import versions

Report = Callable[[str], object]


class Sweep:
    """A sweep in its folder.

    Args:
        path: The folder.
        plan: What to run.
        results: What became of every cell so far.

    Attributes:
        before: Probes of what the runs started from, by recipe.
        trials: Settings that a search has proposed, in their order.
    """

    def __init__(self, path: Path, plan: Plan, results: Sequence[Result] = ()) -> None:
        self.path, self.plan = path, plan
        self.results: dict[str, Result] = {result.cell.name: result for result in results}
        self.before: dict[str, Probes] = {}
        self.trials: list[dict[str, str]] = []
        self._writing, self._probing = threading.Lock(), threading.Lock()
        self._data: dict[str, ProbeData] = {}
        self._processes = Processes()

    @classmethod
    def create(cls, path: Path, plan: Plan) -> Sweep:
        """A new sweep.

        Raises:
            UserError: If something is in the folder already.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            way = "go on with --resume" if (path / FILE).exists() else "choose another folder"
            raise UserError(f"output {path} exists already: {way}")
        for name in plan.probes:
            load_probe_data(name)  # found wrong now, not after the first run
        if plan.test:
            for name in plan.recipes:
                check_test(plan.test, recipes.find(name).roles)
        check_writable(path)
        path.mkdir(parents=True, exist_ok=True)
        sweep = cls(path, plan, [] if plan.trials else [Result(cell) for cell in plan.cells()])
        sweep.write()
        return sweep

    @classmethod
    def open(cls, path: Path, files: Sequence[str] = ()) -> Sweep:
        """The sweep in a folder.

        Args:
            path: The folder.
            files: Files of its recipes, where these do not come with textcl: none that the folder names is executed.

        Raises:
            UserError: If there is none, its file is damaged, or a recipe file is needed or another than then.
        """
        stored = StoredSweep.read(path).with_files(files, path)
        sweep = cls(path, stored.plan, [cell.result() for cell in stored.cells])
        sweep.before = dict(stored.before)
        sweep.trials = [dict(trial) for trial in stored.trials]
        return sweep

    def sole_writer(self) -> AbstractContextManager[None]:
        """Hold the folder: a sweep that is started twice would run every cell twice.

        Raises:
            UserError: If another process holds it.
        """
        return sole_writer(self.path / ".lock", f"the sweep in {self.path}")

    def run(self, jobs: int = 1, report: Report = lambda text: None) -> None:
        """Run and probe what is not finished, and write the table.

        Args:
            jobs: Runs at the same time; they share the cores.
            report: Called with a line on every run.

        Raises:
            RunError: If a run failed; the others are finished.
        """
        waiting = [r.cell for r in self.results.values() if r.status != "finished"]
        self.run_cells(waiting, jobs, report)
        self.tell_failures()

    def tell_failures(self) -> None:
        """Raise a RunError where runs failed."""
        failed = [r for r in self.results.values() if r.status == "failed"]
        if failed:
            raise RunError(
                f"{len(failed)} of {len(self.results)} runs failed, first {failed[0].cell.name}: {failed[0].error} "
                f"(its log: {self.log_of(failed[0].cell)}); try them again with textcl sweep --resume {self.path}"
            )

    def run_cells(
        self, cells: Sequence[Cell], jobs: int = 1, report: Report = lambda text: None
    ) -> None:
        """Run these cells, each in a process of its own."""
        with ThreadPoolExecutor(jobs) as pool:
            futures = [pool.submit(self._run_cell, cell, jobs) for cell in cells]
            try:
                for done, future in enumerate(as_completed(futures), 1):
                    result = future.result()
                    self.keep(result)
                    report(f"run {done}/{len(cells)} {result_line(result)}")
            except KeyboardInterrupt as interrupt:
                self._processes.stop()
                pool.shutdown(wait=True, cancel_futures=True)
                raise InterruptedRunError(
                    "stopped; finished runs are kept, and what was running has saved; go on with: "
                    f"textcl sweep --resume {self.path}",
                    getattr(interrupt, "signal_number", signal.SIGINT),
                ) from None

    def keep(self, result: Result) -> None:
        """Note what became of a cell."""
        with self._writing:
            self.results[result.cell.name] = result
            self.write()

    def write(self) -> None:
        """Write sweep.json."""
        write_json(self.path / FILE, self.content())

    def content(self) -> StoredSweep:
        """Content of sweep.json."""
        results = list(self.results.values())
        rows = table(results)
        return StoredSweep(
            plan=self.plan,
            cells=[StoredCell.of(result) for result in results],
            before=self.before,
            trials=self.trials,
            table=rows,
            # what a search looked at follows from the scores, so a test of it would find too much
            tests=[] if self.plan.trials else compare(rows, self.plan.defaults()),
            note=self.score_note,
            versions=versions(),
        )

    @property
    def score_note(self) -> str:
        """Note on the compared scores, for a reader of their p-values."""
        return self.plan.score_note(result.scores.protocol for result in self.results.values())

    def folder_of(self, cell: Cell) -> Path:
        """The run folder of a cell."""
        return self.path / "cells" / cell.name

    def log_of(self, cell: Cell) -> Path:
        """The log of its process."""
        return self.folder_of(cell).with_name(f"seed-{cell.seed}.log")

    def _run_cell(self, cell: Cell, jobs: int) -> Result:
        folder, started = RunFolder(self.folder_of(cell)), time.perf_counter()
        if not folder.finished:
            code = self._start(cell, folder.path, jobs)
            if code != 0 or not folder.finished:
                log = self.log_of(cell).read_text(encoding="utf-8", errors="replace").strip()
                last_line = log.splitlines()[-1] if log else f"exit code {code}"
                return Result(cell, "failed", error=last_line.removeprefix("textcl: "))
        scores = folder.scores()
        seconds = round(time.perf_counter() - started, 1)
        score = scores.last if self.plan.metric == "last" else scores.best
        with self._probing:
            if self.plan.test:
                score = held_out_score(folder, self.plan.test)
            probes = self._probe(cell, folder.path)
        result = Result(cell, "finished", score, scores, seconds, probes=probes)
        shutil.rmtree(folder.checkpoints, ignore_errors=True)  # for going on, which it never will
        if not self.plan.keep_models:
            for models in (folder.best, folder.last):
                shutil.rmtree(models, ignore_errors=True)
        return result

    def _start(self, cell: Cell, folder: Path, jobs: int) -> int:
        """Start or resume a run; its exit code."""
        command = [sys.executable, "-m", "textcl", "train"]
        recipes.check_hash(
            cell.recipe, self.plan.sha256.get(cell.recipe), f"the sweep in {self.path}"
        )
        if (folder / "settings.json").exists():
            command += ["--resume", str(folder)]
            command += ["--recipe", cell.recipe] if cell.recipe.endswith(".py") else []
        else:
            shutil.rmtree(folder, ignore_errors=True)  # killed before it had written a line
            command += ["--recipe", cell.recipe, "--output", str(folder), *self.plan.options]
            settings = self.plan.settings_of(cell)
            command += [part for setting in settings for part in ("--set", setting)]
        log = self.log_of(cell)
        log.parent.mkdir(parents=True, exist_ok=True)
        environment = dict(os.environ)
        if jobs > 1:
            threads = max(1, (os.cpu_count() or 1) // jobs)
            environment.setdefault("OMP_NUM_THREADS", str(threads))
        with log.open("w", encoding="utf-8") as file:
            return self._processes.run(command, file, environment)

    def _probe(self, cell: Cell, folder: Path) -> Probes:
        """Probe a finished run, and what the first of its recipe started from, on the data of the plan.

        The whole of a probe is in the folder of the run.
        """
        from textcl.probe.models import probe_models, started_from

        probes: dict[str, SpaceNumbers] = {}
        for place, name in enumerate(self.plan.probes):
            data = self._data.setdefault(name, load_probe_data(name))
            if name not in self.before.get(cell.recipe, {}):
                numbers = _numbers(started_from(folder), data)
                self.before[cell.recipe] = {**self.before.get(cell.recipe, {}), name: numbers}
            probed = probe_models([str(folder)], data)
            write_json(folder / f"probe-{place}.json", probed)
            probes[name] = probed.models[0].numbers()
        return probes


def result_line(result: Result) -> str:
    """One line about a run."""
    if result.status == "failed":
        return f"{result.cell.name}: FAILED, {result.error}"
    score = "no score" if result.score is None else f"{result.score:.2f}"
    return f"{result.cell.name}: {score} ({result.seconds:.0f} s)"


def _numbers(encoder: Encodes, data: ProbeData) -> SpaceNumbers:
    from textcl.evaluation.benchmarks import EncodeWith
    from textcl.probe.measure import embed, probe

    vectors = embed(EncodeWith(encoder, precision="float32"), data.texts)
    return probe(vectors, data).numbers()
