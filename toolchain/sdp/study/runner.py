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
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from sdp.errors import SdpError, StoppedError, StorageError
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import CACHE, RunFolder, share_files
from sdp.pipeline.runner import run_pipeline
from sdp.pipeline.stages import stages_of
from sdp.study.cell import CellResult, cell_result, read_cell, write_cell
from sdp.study.grid import StudyCell
from sdp.study.measured import LAST_STAGE
from sdp.study.vary import Axis

STUDY_FILE = "study.json"
TEACHERS, RUNS = "teachers", "runs"
FINETUNE = "finetune"


@dataclass(frozen=True)
class Failure:
    """A cell that broke off, and why."""

    cell: StudyCell
    message: str


@dataclass
class Progress:
    """What a study has so far.

    Attributes:
        results: cell key -> result.
        failures: the cells that failed in this call.
        broken_teachers: teacher -> why its fine-tuning failed in this call.
    """

    results: dict[str, CellResult] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    broken_teachers: dict[str, str] = field(default_factory=dict)


def finished_cells(out: Path, cells: Sequence[StudyCell]) -> dict[str, CellResult]:
    """The results that are there, by cell key."""
    found = ((cell.key, read_cell(out, cell)) for cell in cells)
    return {key: content for key, content in found if content is not None}


@dataclass(frozen=True)
class Runner:
    """Runs the cells of one study.

    Attributes:
        axes: what the grid varies.
        recipe_file: the recipe.
        out: the study's folder, locked.
        reporter: shows what happens.
        keep_models: keep the run folders of cells and teachers.
    """

    axes: Sequence[Axis]
    recipe_file: Path
    out: Path
    reporter: Reporter
    keep_models: bool

    def run(self, cells: Sequence[StudyCell], progress: Progress, on_cell: Callable[[], object]) -> None:
        """Run every cell that has no result; a cell that fails is noted, and the others go on.

        Args:
            cells: the grid.
            progress: is filled, so that what is known survives a stop.
            on_cell: called after each cell.

        Raises:
            StoppedError: a signal came; the running cell has saved a checkpoint.
        """
        progress.results.update(finished_cells(self.out, cells))
        waiting = [cell for cell in cells if cell.key not in progress.results]
        started, done = time.monotonic(), len(cells) - len(waiting)
        for index, cell in enumerate(waiting):
            left = (time.monotonic() - started) / index * (len(waiting) - index) if index else None
            words = f", about {_duration(left)} left" if left is not None else ""
            self.reporter.heading(f"cell {done + index + 1}/{len(cells)}{words}: {cell.title(self.axes)}")
            self._attempt(cell, progress)
            on_cell()
            # Trainer and model refer to each other; the next cell needs their memory.
            gc.collect()
        if not self.keep_models and not progress.failures:
            for folder in (TEACHERS, RUNS):
                shutil.rmtree(self.out / folder, ignore_errors=True)

    def _attempt(self, cell: StudyCell, progress: Progress) -> None:
        """Run a cell, and note its result or why it failed. A teacher that failed is not trained again for each arm."""
        message = progress.broken_teachers.get(cell.teacher)
        try:
            if message is None:
                self._train_or_note(cell, progress)
                progress.results[cell.key] = self.run_cell(cell)
        except (StoppedError, StorageError):
            raise
        except SdpError as error:
            message = str(error)
        if message is not None:
            self.reporter.line(f"cell failed: {message}")
            progress.failures.append(Failure(cell, message))
        if not self.keep_models:
            shutil.rmtree(self.out / RUNS / cell.key, ignore_errors=True)

    def _train_or_note(self, cell: StudyCell, progress: Progress) -> None:
        try:
            self.train_teacher(cell)
        except (StoppedError, StorageError):
            raise
        except SdpError as error:
            progress.broken_teachers[cell.teacher] = str(error)
            raise

    def train_teacher(self, cell: StudyCell) -> None:
        """Bring the fine-tuning that a cell shares with others up to date."""
        teacher = RunFolder(self.out / TEACHERS / cell.teacher)
        with self._at_work(teacher, cell):
            run_pipeline(cell.recipe, teacher, FINETUNE, self.reporter)

    def run_cell(self, cell: StudyCell) -> CellResult:
        """Run the cell's stages beside its teacher, and write its result."""
        teacher, run = RunFolder(self.out / TEACHERS / cell.teacher), RunFolder(self.out / RUNS / cell.key)
        with self._at_work(run, cell):
            for stage in stages_of(cell.recipe, FINETUNE):
                run.take(teacher, stage.folder)
            share_files(teacher.path / CACHE, run.path / CACHE)
            records = run_pipeline(cell.recipe, run, LAST_STAGE, self.reporter)
            share_files(run.path / CACHE, teacher.path / CACHE)
            arm = {axis.name: label for axis, label in zip(self.axes, cell.arm, strict=True)}
            result = cell_result(cell, arm, run, records)
            write_cell(self.out, result)
        return result

    def _at_work(self, run: RunFolder, cell: StudyCell) -> AbstractContextManager[None]:
        """Hold a run folder that is the cell's."""
        return run.at_work(cell.recipe.name, self.recipe_file, cell.overrides)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
