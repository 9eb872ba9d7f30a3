"""Run a study, in this process or on a Ray cluster, and write its table and plot after every cell."""

from __future__ import annotations

from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import RunFolder
from sdp.study.artifacts import StudyTable
from sdp.study.plan import Study
from sdp.study.ray_cluster import run_on_ray
from sdp.study.runner import Progress, Runner

MARKDOWN_FILE, PLOT_FILE = "study.md", "metric.svg"


def run_study(study: Study, reporter: Reporter, *, keep_models: bool, ray: str | None = None) -> StudyTable:
    """Run the cells that are not finished, and write the results, also when a signal stops it.

    Args:
        study: from `open_study`.
        reporter: shows progress.
        keep_models: keep the run folders of cells and teachers.
        ray: address of the Ray cluster to run the cells on; this process runs them without it.

    Raises:
        StoppedError: a signal came; the same command goes on.
        RunError: another process works on this study.
    """
    progress = Progress()
    runner = Runner(study, reporter, keep_models, progress, lambda: write_results(study, progress))
    with RunFolder(study.out).locked():
        try:
            if ray is None:
                runner.run()
            else:
                run_on_ray(runner, ray)
        finally:
            table = write_results(study, progress)
    return table


def write_results(study: Study, progress: Progress) -> StudyTable:
    """Write the table as JSON and Markdown, and the plot."""
    from sdp.study.plots import metric_plot
    from sdp.study.table import make_table, markdown

    table = make_table(study.grid, progress)
    table.store(study.out)
    (study.out / MARKDOWN_FILE).write_text(markdown(table), encoding="utf-8")
    plot = metric_plot(table, study.grid.axes)
    if plot is not None:
        (study.out / PLOT_FILE).write_text(plot, encoding="utf-8")
    return table
