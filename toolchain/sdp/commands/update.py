"""Bringing a run up to date, and telling what is known then."""

from __future__ import annotations

import json
from typing import Any

import typer

from sdp import launcher, ranks
from sdp.commands.selection import Selected
from sdp.console import Reporter


def bring_up_to_date(selected: Selected, until: str, *, as_json: bool, quiet: bool) -> dict[str, Any]:
    """Run the pipeline up to a stage and print what is known by then; returns the stages' records."""
    from sdp.pipeline import follow, run_pipeline
    from sdp.summary import run_results

    launcher.require_whole()
    run = selected.run
    if ranks.rank() > 0:
        follow(selected.recipe, run)
        raise typer.Exit
    with run.at_work(selected.recipe.name, selected.recipe_file, selected.overrides):
        records = run_pipeline(selected.recipe, run, until, Reporter(quiet=quiet))
    if as_json:
        typer.echo(json.dumps({"run": str(run.path), **run_results(run)}, indent=2))
    else:
        print_summary(selected, vocabulary=until == "vocabulary")
    return records


def print_summary(selected: Selected, *, vocabulary: bool) -> None:
    """Print the tables (that of the vocabulary where it was asked for) and the lines below them."""
    from sdp.console import result_console
    from sdp.summary import parts_table, summary_lines, summary_table, vocabulary_table

    console, run = result_console(), selected.run
    tables = (vocabulary_table(run),) if vocabulary else (summary_table(run, selected.recipe.name), parts_table(run))
    for table in tables:
        if table is not None:
            console.print(table)
    for line in summary_lines(selected.run):
        console.print(line, markup=False)
