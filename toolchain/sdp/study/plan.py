"""A study from the command line's words to its files: read, planned, run, written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sdp.data.identity import count_rows
from sdp.distributed.ranks import require_one_process
from sdp.pipeline.json_file import write_json
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import RunFolder, absolute, check_results_folder
from sdp.study.cell import CELLS
from sdp.study.grid import StudyCell, make_grid
from sdp.study.measured import check_measured
from sdp.study.ray_cluster import StudyArguments, run_on_ray
from sdp.study.runner import RUNS, STUDY_FILE, TEACHERS, Progress, Runner, finished_cells
from sdp.study.vary import Axis, Baseline, check_axes, parse_baseline, parse_vary
from sdp.training.steps import optimizer_steps

if TYPE_CHECKING:
    from sdp.study.table import StudyTable

MARKDOWN_FILE, PLOT_FILE = "study.md", "metric.svg"


@dataclass(frozen=True)
class Study:
    """A grid of recipes, and the folder that its results go to."""

    recipe_file: Path
    axes: tuple[Axis, ...]
    baseline: Baseline | None
    cells: list[StudyCell]
    out: Path
    arguments: StudyArguments


def open_study(
    recipe_file: Path,
    vary: Sequence[str],
    seeds: int,
    baseline: str | None,
    overrides: Sequence[str],
    out: Path | None,
    *,
    download: bool = True,
) -> Study:
    """Read and check a study; nothing is run or written.

    Args:
        recipe_file: the recipe.
        vary: the `--vary` options.
        seeds: number of seeds.
        baseline: the `--baseline` option.
        overrides: the `--set` options.
        out: the study's folder; studies/NAME without it.
        download: fetch a model from the hub that is not here yet.

    Raises:
        UsageError: options, recipes, model, data or folder are wrong.
    """
    require_one_process("sdp study")
    axes = tuple(parse_vary(text) for text in vary)
    check_axes(axes, overrides)
    check_measured(axes, overrides)
    chosen = parse_baseline(baseline, axes) if baseline is not None else None
    cells = make_grid(recipe_file, axes, seeds, overrides, download=download)
    folder = absolute(out or Path("studies") / cells[0].recipe.name)
    check_results_folder(folder, "study", marks=(CELLS, STUDY_FILE), others=(TEACHERS, RUNS))
    arguments = StudyArguments(
        recipe_file=str(recipe_file.resolve()),
        vary=tuple(vary),
        seeds=seeds,
        overrides=tuple(overrides),
        out=str(folder.resolve()),
    )
    return Study(recipe_file, axes, chosen, cells, folder, arguments)


def execute(study: Study, reporter: Reporter, *, keep_models: bool, ray: str | None = None) -> StudyTable:
    """Run what is not finished, and write the results, also when it is stopped in the middle.

    Args:
        study: from `open_study`.
        reporter: shows what happens.
        keep_models: keep the run folders of cells and teachers.
        ray: address of the Ray cluster to run the cells on; this process runs them without it.

    Raises:
        StoppedError: a signal came; the same command goes on.
        RunError: another process works on this study.
    """
    progress = Progress()
    with RunFolder(study.out).locked():
        try:
            runner = Runner(study.axes, study.recipe_file, study.out, reporter, keep_models)
            if ray is None:
                runner.run(study.cells, progress, on_cell=lambda: _write(study, progress))
            else:
                run_on_ray(study.arguments, ray, study.cells, progress, lambda: _write(study, progress), runner)
        finally:
            table = _write(study, progress)
    return table


def _write(study: Study, progress: Progress) -> StudyTable:
    from sdp.study.plots import metric_plot
    from sdp.study.table import make_table, markdown

    table = make_table(study.cells, study.axes, study.baseline, progress)
    write_json(study.out / STUDY_FILE, table.to_json())
    (study.out / MARKDOWN_FILE).write_text(markdown(table), encoding="utf-8")
    plot = metric_plot(table)
    if plot is not None:
        (study.out / PLOT_FILE).write_text(plot, encoding="utf-8")
    return table


@dataclass(frozen=True)
class PlannedCell:
    """A cell of a plan: its name in words, its key, whether it is finished, and the optimizer steps of each stage that
    would train (None: data not here yet)."""

    cell: str
    key: str
    done: bool
    steps: dict[str, int | None]


@dataclass(frozen=True)
class StudyPlan:
    """What running a study would do; `dataclasses.asdict` gives its JSON form."""

    folder: str
    cells: list[PlannedCell]


def plan_study(study: Study) -> StudyPlan:
    """What running the study would do: its cells, which are done, and optimizer steps (None: data not here yet)."""
    finished = finished_cells(study.out, study.cells)
    teachers: set[str] = set()
    cells = []
    for cell in study.cells:
        done = cell.key in finished
        train = count_rows(cell.recipe)["train"]
        steps: dict[str, int | None] = {"finetune": 0, "prune": 0}
        if not done:
            if cell.teacher not in teachers:
                steps["finetune"] = None if train is None else optimizer_steps(train, cell.recipe.finetune)
            steps["prune"] = None if train is None else optimizer_steps(train, cell.recipe.prune)
            teachers.add(cell.teacher)
        cells.append(PlannedCell(cell.title(study.axes), cell.key, done, steps))
    return StudyPlan(str(study.out), cells)


def plan_lines(plan: StudyPlan) -> list[str]:
    """A plan as a person reads it."""
    lines = []
    for cell in plan.cells:
        steps = cell.steps
        words = ", ".join(f"{name} {count:,} steps" for name, count in steps.items() if count)
        unknown = "steps not known yet" if None in steps.values() else words
        lines.append(f"{cell.key}  {'done' if cell.done else 'will run: ' + unknown}  {cell.cell}")
    counts = [count for cell in plan.cells for count in cell.steps.values()]
    waiting = sum(not cell.done for cell in plan.cells)
    known = [count for count in counts if count is not None]
    total = f", {sum(known):,} optimizer steps" if len(known) == len(counts) else ""
    lines.append(f"{waiting} of {len(plan.cells)} cells will run in {plan.folder}{total}")
    return lines
