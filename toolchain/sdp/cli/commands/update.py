"""Bring a run up to date, and print its results."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import typer

from sdp.cli.commands.selection import Selected
from sdp.distributed import launcher, ranks
from sdp.pipeline.progress import Reporter


def bring_up_to_date(selected: Selected, until: str, *, as_json: bool, quiet: bool) -> dict[str, Any]:
    """Run the pipeline up to a stage, print the results, and return the stages' records.

    Outdated results of later stages are left out.
    """
    from sdp.cli.render.summary import run_results
    from sdp.pipeline.runner import follow, older_stages, run_pipeline

    launcher.require_complete()
    run = selected.run
    if ranks.rank() > 0:
        follow(selected.recipe, run)
        raise typer.Exit
    with run.at_work(selected.recipe.name, selected.recipe_file, selected.overrides):
        records = run_pipeline(selected.recipe, run, until, Reporter(quiet=quiet))
        # The last stage has no later stages.
        older = older_stages(selected.recipe, run) if until != "ship" else {}
    if as_json:
        remark = {"older": older} if older else {}
        typer.echo(json.dumps({"run": str(run.path), **run_results(run, older), **remark}, indent=2))
    else:
        print_summary(selected, older, vocabulary=until == "vocabulary")
    return records


def print_summary(selected: Selected, older: Mapping[str, str] | None = None, *, vocabulary: bool) -> None:
    """Print the tables of a run and the lines below them.

    Args:
        selected: the run.
        older: stages with outdated results -> reason.
        vocabulary: print only the table of the vocabulary.
    """
    from sdp.cli.render.summary import parts_table, run_results, summary_lines, summary_table, vocabulary_table
    from sdp.pipeline.progress import result_console

    console, run = result_console(), selected.run
    results = run_results(run, older or {})
    both = (summary_table(results, selected.recipe.name), parts_table(results))
    tables = (vocabulary_table(results),) if vocabulary else both
    for table in tables:
        if table is not None:
            console.print(table)
    for line in summary_lines(run, older or {}):
        console.print(line, markup=False)
