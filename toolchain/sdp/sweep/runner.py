"""Running a sweep: every level's run that is not up to date, then the chosen level on test.

sweeps/quickstart/
    sparsity-0.50/     a run folder: the snapshot at that sparsity, evaluated, exported, measured and judged
    sparsity-0.80/     another; its 1-finetune is the first one's, its pruning starts from 2-prune of the one before
    chosen/            the chosen level measured on test, where there is a test split
    frontier.json, .md the table; frontier.svg, its plot
"""

from __future__ import annotations

from dataclasses import replace

from sdp.choice.measured import dense_model
from sdp.pipeline.artifacts.results import FinishedResults, load_results
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import RunFolder
from sdp.sweep.frontier import Frontier, measured_level
from sdp.sweep.levels import LAST_STAGE, Level, Sweep

MARKDOWN_FILE, PLOT_FILE = "frontier.md", "frontier.svg"


def run_sweep(sweep: Sweep, reporter: Reporter) -> Frontier:
    """Bring every level up to date, in rising order, then measure the chosen one; write the frontier after each.

    Raises:
        StoppedError: a signal came; the same command goes on.
        RunError: another process works on this sweep.
        SdpError: a stage of a level failed.
    """
    with RunFolder(sweep.out).locked():
        frontier = _empty(sweep)
        _write(sweep, frontier)
        for index, level in enumerate(sweep.levels):
            reporter.heading(f"level {index + 1}/{len(sweep.levels)}: sparsity {level.sparsity:g}")
            results = _run(level, reporter, sweep.levels[0].run if index else None, "finetune")
            measured = measured_level(level.sparsity, level.run.path.name, results)
            frontier = replace(
                frontier, dense=dense_model(results.export, results.bench), levels=(*frontier.levels, measured)
            )
            _write(sweep, frontier)
        if sweep.held_out and frontier.chosen is not None:
            level = sweep.levels[frontier.levels.index(frontier.chosen)]
            frontier = _confirm(sweep, level, frontier, reporter)
            _write(sweep, frontier)
    return frontier


def _run(level: Level, reporter: Reporter, source: RunFolder | None, shared: str) -> FinishedResults:
    """Bring a level's run up to date, with the stages up to `shared` from another run, and read its results."""
    # The preflight of the first level holds for the others as well.
    level.bring_up_to_date(LAST_STAGE, reporter, source=source, shared=shared, preflight=source is None)
    return load_results(level.run)


def _confirm(sweep: Sweep, level: Level, frontier: Frontier, reporter: Reporter) -> Frontier:
    """Measure the chosen level on test, in a run folder of its own."""
    chosen = sweep.chosen(level)
    reporter.heading(f"chosen: sparsity {level.sparsity:g}, now on test")
    results = _run(chosen, reporter, level.run, "prune")
    return replace(frontier, confirmed=measured_level(level.sparsity, chosen.run.path.name, results))


def _empty(sweep: Sweep) -> Frontier:
    recipe = sweep.levels[0].recipe
    return Frontier(
        name=recipe.name,
        metric=recipe.task.score,
        gate=recipe.gate,
        wanted=tuple(level.sparsity for level in sweep.levels),
        dense=None,
        levels=(),
        held_out=sweep.held_out,
    )


def _write(sweep: Sweep, frontier: Frontier) -> None:
    from sdp.sweep.plot import frontier_plot
    from sdp.sweep.table import markdown

    frontier.report().store(sweep.out)
    (sweep.out / MARKDOWN_FILE).write_text(markdown(frontier), encoding="utf-8")
    plot = frontier_plot(frontier)
    if plot is not None:
        (sweep.out / PLOT_FILE).write_text(plot, encoding="utf-8")
