"""A study as it was asked for: read, checked, and what running it would do. Nothing is run or written here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from sdp.data.identity import count_rows
from sdp.distributed.ranks import require_one_process
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import absolute, check_results_folder
from sdp.study.artifacts import CELLS, StudyTable
from sdp.study.cell import finished_cells
from sdp.study.grid import Grid, make_grid
from sdp.study.vary import check_axes, check_measured, parse_baseline, parse_vary
from sdp.training.steps import optimizer_steps

TEACHERS, RUNS = "teachers", "runs"


@dataclass(frozen=True)
class StudyOptions:
    """The command's arguments; all that another process needs to make the same grid.

    Attributes:
        recipe_file: the recipe.
        vary: the `--vary` options.
        seeds: number of seeds.
        overrides: the `--set` options.
        baseline: the `--baseline` option.
        out: the study's folder; studies/NAME without it.
    """

    recipe_file: Path
    vary: tuple[str, ...] = ()
    seeds: int = 3
    overrides: tuple[str, ...] = ()
    baseline: str | None = None
    out: Path | None = None

    def study(self, *, download: bool = True) -> Study:
        """Check the options and make the grid.

        Args:
            download: fetch a hub model that is not here yet.

        Raises:
            UsageError: options, recipes, model or data are wrong.
        """
        axes = tuple(parse_vary(text) for text in self.vary)
        check_axes(axes, self.overrides)
        check_measured(axes, self.overrides)
        baseline = parse_baseline(self.baseline, axes) if self.baseline is not None else None
        grid = make_grid(self.recipe_file, axes, self.seeds, self.overrides, baseline=baseline, download=download)
        return Study(self, grid, absolute(self.out or Path("studies") / grid.name))

    def resolved(self, out: Path) -> StudyOptions:
        """The same options for a process in another working directory."""
        return replace(self, recipe_file=self.recipe_file.resolve(), out=out.resolve())


@dataclass(frozen=True)
class Study:
    """A grid of recipes, and the folder that its results go to.

    Attributes:
        options: as asked for.
        grid: the cells.
        out: the study's folder, absolute.
    """

    options: StudyOptions
    grid: Grid
    out: Path


def open_study(options: StudyOptions, *, download: bool = True) -> Study:
    """Read and check a study; nothing is run or written.

    Args:
        options: the command's arguments.
        download: fetch a model from the hub that is not here yet.

    Raises:
        UsageError: options, recipes, model, data or folder are wrong.
    """
    require_one_process("sdp study")
    study = options.study(download=download)
    check_results_folder(study.out, "study", marks=(CELLS, StudyTable.FILE), others=(TEACHERS, RUNS))
    return study


@dataclass(frozen=True)
class PlannedCell:
    """A cell, and what running it takes.

    Attributes:
        cell: its title.
        key: of its result.
        done: whether it has one.
        steps: stage -> optimizer steps; None where the data is not here yet.
    """

    cell: str
    key: str
    done: bool
    steps: dict[str, int | None]

    def line(self) -> str:
        """The cell as a person reads it."""
        counts = ", ".join(f"{name} {count:,} steps" for name, count in self.steps.items() if count)
        steps = "steps not known yet" if None in self.steps.values() else counts
        return f"{self.key}  {'done' if self.done else f'will run: {steps}'}  {self.cell}"


@dataclass(frozen=True)
class StudyPlan:
    """The plan of a study; `dataclasses.asdict` gives its JSON form."""

    folder: str
    cells: tuple[PlannedCell, ...]

    def lines(self) -> list[str]:
        """The plan as a person reads it."""
        counts = [count for cell in self.cells for count in cell.steps.values()]
        known = [count for count in counts if count is not None]
        total = f", {sum(known):,} optimizer steps" if len(known) == len(counts) else ""
        waiting = sum(not cell.done for cell in self.cells)
        summary = f"{waiting} of {len(self.cells)} cells will run in {self.folder}{total}"
        return [*(cell.line() for cell in self.cells), summary]


def plan_study(study: Study, reporter: Reporter) -> StudyPlan:
    """Find the cells that would run, and their optimizer steps."""
    finished = finished_cells(study.out, study.grid, reporter)
    teachers: set[str] = set()
    cells = []
    for cell in study.grid.cells:
        done = cell.key in finished
        rows = count_rows(cell.recipe)["train"]
        train = None if rows is None else rows * cell.recipe.inputs_per_row
        steps: dict[str, int | None] = {"finetune": 0, "prune": 0}
        if not done:
            if cell.teacher not in teachers:
                steps["finetune"] = None if train is None else optimizer_steps(train, cell.recipe.finetune)
            steps["prune"] = None if train is None else optimizer_steps(train, cell.recipe.prune)
            teachers.add(cell.teacher)
        cells.append(PlannedCell(cell.title(study.grid.axes), cell.key, done, steps))
    return StudyPlan(str(study.out), tuple(cells))
