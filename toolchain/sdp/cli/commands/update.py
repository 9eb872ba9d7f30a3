"""Bring a run up to date, and print its results."""

from __future__ import annotations

import json
from collections.abc import Mapping

import typer

from sdp.cli.commands.selection import Selected
from sdp.distributed import launcher, ranks
from sdp.pipeline.progress import Reporter


def bring_up_to_date(selected: Selected, until: str, *, as_json: bool, quiet: bool) -> None:
    """Run the pipeline up to a stage and print what is known by then.

    Outdated results of later stages are left out.
    """
    from sdp.pipeline.artifacts.results import read_results
    from sdp.pipeline.runner import follow, older_stages, run_pipeline

    launcher.require_complete()
    run = selected.run
    if ranks.rank() > 0:
        follow(selected.recipe, run)
        raise typer.Exit
    with run.at_work(selected.recipe.name, selected.recipe_file, selected.overrides):
        run_pipeline(selected.recipe, run, until, Reporter(quiet=quiet))
        # The last stage has no later stages.
        older = older_stages(selected.recipe, run) if until != "ship" else {}
    if as_json:
        remark = {"older": older} if older else {}
        typer.echo(json.dumps({"run": str(run.path), **read_results(run, older).to_json(), **remark}, indent=2))
    else:
        print_summary(selected, older, vocabulary=until == "vocabulary")


def print_summary(selected: Selected, older: Mapping[str, str] | None = None, *, vocabulary: bool) -> None:
    """Print the tables of a run and the lines below them.

    Args:
        selected: the run.
        older: stages with outdated results -> reason.
        vocabulary: print only the table of the vocabulary.
    """
    from sdp.cli.render.summary import parts_table, summary_lines, summary_table, vocabulary_table
    from sdp.pipeline.artifacts.results import read_results
    from sdp.pipeline.progress import result_console

    console, run = result_console(), selected.run
    results = read_results(run, older)
    both = (summary_table(results, selected.recipe.name), parts_table(results))
    tables = (vocabulary_table(results),) if vocabulary else both
    for table in tables:
        if table is not None:
            console.print(table)
    for line in summary_lines(run, older or {}):
        console.print(line, markup=False)
