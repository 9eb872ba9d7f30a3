"""Running a study: fine-tuning once for all cells that share it, then every cell that has no result yet.

studies/quickstart/
    cells/KEY.json     the result of a finished cell; all that is needed to go on, on any machine
    study.json, .md    the table; metric.svg, its plot
    teachers/KEY/      run folders of fine-tuning, kept until the study is done
    runs/KEY/          run folders of cells at work; removed when the result is written
"""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

from sdp.errors import SdpError, StoppedError, StorageError
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import CACHE, RunFolder, share_files
from sdp.pipeline.runner import run_pipeline
from sdp.pipeline.stages import stages_of
from sdp.study.artifacts import CellResult
from sdp.study.cell import cell_result, finished_cells
from sdp.study.grid import StudyCell
from sdp.study.plan import RUNS, TEACHERS, Study
from sdp.study.vary import LAST_STAGE

FINETUNE = "finetune"


@dataclass(frozen=True)
class Failure:
    """A cell that failed, and the error."""

    cell: StudyCell
    message: str


@dataclass
class Progress:
    """The results of a study so far.

    Attributes:
        results: cell key -> result.
        failures: the cells that failed in this call.
        broken_teachers: teacher -> why its fine-tuning failed in this call.
    """

    results: dict[str, CellResult] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    broken_teachers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Runner:
    """Runs the cells of one study.

    Attributes:
        study: its folder is locked.
        reporter: shows progress.
        keep_models: keep the run folders of cells and teachers.
        progress: is filled, so that results survive a stop.
        on_cell: called after each cell.
    """

    study: Study
    reporter: Reporter
    keep_models: bool
    progress: Progress = field(default_factory=Progress)
    on_cell: Callable[[], object] = lambda: None

    def run(self) -> None:
        """Run every cell that has no result; a cell that fails is recorded, and the others go on.

        Raises:
            StoppedError: a signal came; the running cell has saved a checkpoint.
        """
        waiting, total = self.waiting(), len(self.study.grid.cells)
        started, done = time.monotonic(), total - len(waiting)
        for index, cell in enumerate(waiting):
            left = (time.monotonic() - started) / index * (len(waiting) - index) if index else None
            duration = f", about {_duration(left)} left" if left is not None else ""
            self.reporter.heading(f"cell {done + index + 1}/{total}{duration}: {self.title(cell)}")
            self._attempt(cell)
            self.on_cell()
            # Trainer and model refer to each other; the next cell needs their memory.
            gc.collect()
        self.clean_up()

    def waiting(self) -> list[StudyCell]:
        """Read the results in the study's folder, and return the cells that have none."""
        self.progress.results.update(finished_cells(self.study.out, self.study.grid, self.reporter))
        return [cell for cell in self.study.grid.cells if cell.key not in self.progress.results]

    def title(self, cell: StudyCell) -> str:
        """A cell as a person reads it."""
        return cell.title(self.study.grid.axes)

    def fail(self, cell: StudyCell, message: str) -> None:
        """Record and report that a cell failed."""
        self.reporter.line(f"cell failed: {message}")
        self.progress.failures.append(Failure(cell, message))

    def remove_run(self, cell: StudyCell) -> None:
        """Remove a cell's run folder, unless models are kept."""
        if not self.keep_models:
            shutil.rmtree(self.study.out / RUNS / cell.key, ignore_errors=True)

    def clean_up(self) -> None:
        """Remove the run folders of a study without failures, unless models are kept."""
        if not self.keep_models and not self.progress.failures:
            for folder in (TEACHERS, RUNS):
                shutil.rmtree(self.study.out / folder, ignore_errors=True)

    def _attempt(self, cell: StudyCell) -> None:
        """Run a cell, and record its result or its error. A teacher that failed is not trained again for each arm."""
        message = self.progress.broken_teachers.get(cell.teacher)
        try:
            if message is None:
                self._train_or_record(cell)
                self.progress.results[cell.key] = self.run_cell(cell)
        except (StoppedError, StorageError):
            raise
        except SdpError as error:
            message = str(error)
        if message is not None:
            self.fail(cell, message)
        self.remove_run(cell)

    def _train_or_record(self, cell: StudyCell) -> None:
        try:
            self.train_teacher(cell)
        except (StoppedError, StorageError):
            raise
        except SdpError as error:
            self.progress.broken_teachers[cell.teacher] = str(error)
            raise

    def train_teacher(self, cell: StudyCell) -> None:
        """Bring the fine-tuning that a cell shares with others up to date."""
        teacher = self._teacher(cell)
        with self._at_work(teacher, cell):
            run_pipeline(cell.recipe, teacher, FINETUNE, self.reporter)

    def run_cell(self, cell: StudyCell) -> CellResult:
        """Run the cell's stages beside its teacher, and write its result."""
        teacher, run = self._teacher(cell), RunFolder(self.study.out / RUNS / cell.key)
        with self._at_work(run, cell):
            for stage in stages_of(cell.recipe, FINETUNE):
                run.take(teacher, stage.folder)
            share_files(teacher.path / CACHE, run.path / CACHE)
            records = run_pipeline(cell.recipe, run, LAST_STAGE, self.reporter)
            share_files(run.path / CACHE, teacher.path / CACHE)
            result = cell_result(cell, cell.labels(self.study.grid.axes), run, records)
            result.store(self.study.out)
        return result

    def _teacher(self, cell: StudyCell) -> RunFolder:
        return RunFolder(self.study.out / TEACHERS / cell.teacher)

    def _at_work(self, run: RunFolder, cell: StudyCell) -> AbstractContextManager[None]:
        """Lock a run folder, and claim it for the cell."""
        return run.at_work(cell.recipe.name, self.study.options.recipe_file, cell.overrides)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
