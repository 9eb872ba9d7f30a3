"""`sdp sweep`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sdp.cli.commands.selection import Json, Overrides, Quiet
from sdp.cli.errors import handle_errors
from sdp.pipeline.progress import Reporter


def sweep_command(
    recipe: Annotated[Path, typer.Argument(help="A recipe (.toml).", show_default=False)],
    sparsity: Annotated[str, typer.Option(metavar="S1,S2,...", help="The levels, in rising order.")],
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="The sweep's folder; by default sweeps/NAME.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, and run nothing.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Prune gradually through several sparsities, keep a run of each, and choose the sparsest that passes the gate.

    Fine-tuning runs once; every level starts from the level before and is trained as the recipe sets it. If there is
    a test split, levels are judged on dev and the chosen level on test. Levels that are up to date are not run again.

    Exit code: 0 a level passes, 1 none does or a stage fails, 2 wrong usage or recipe, 3 inconclusive.
    """
    with handle_errors():
        from sdp.sweep.levels import open_sweep, plan_sweep

        sweep = open_sweep(recipe, sparsity, overrides or [], out)
        if dry_run:
            plan = plan_sweep(sweep)
            typer.echo(json.dumps(asdict(plan), indent=2) if as_json else "\n".join(plan.lines()))
            return
        from sdp.sweep.runner import run_sweep
        from sdp.sweep.table import print_frontier

        frontier = run_sweep(sweep, Reporter(quiet=quiet))
        report = frontier.report()
        if as_json:
            typer.echo(json.dumps(report.to_json(), indent=2))
        else:
            print_frontier(frontier, sweep.out)
        raise typer.Exit(1 if report.exit_code is None else report.exit_code)
