"""`sdp study`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sdp.cli.commands.selection import Json, Overrides, Quiet
from sdp.cli.errors import handle_errors
from sdp.pipeline.progress import Reporter


def study_command(
    recipe: Annotated[Path, typer.Argument(help="A recipe (.toml).", show_default=False)],
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=V1,V2,...",
            help="A key to vary; losses by name (none,kld,hidden:2+kld), or arms of several keys: "
            "arm=plain{A.B=V;C.D=V},sdp{}. May be repeated: every combination is run.",
            show_default=False,
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Number of seeds, 0 to N - 1.")] = 3,
    baseline: Annotated[
        str | None, typer.Option(metavar="KEY=V", help="The value to compare the key's other values with.")
    ] = None,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="The study's folder; by default studies/NAME.")] = None,
    keep_models: Annotated[bool, typer.Option("--keep-models", help="Keep the run folder of every cell.")] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS", help="Run the cells on a Ray cluster: auto, HOST:PORT, or local for this machine."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, and run nothing.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a recipe over a grid of settings and seeds, and compare the arms: table, paired tests, plot.

    Finished cells are not run again. Exit code: 0 all cells are finished, 1 a cell failed, 2 wrong usage.
    """
    with handle_errors():
        from sdp.study.plan import StudyOptions, open_study, plan_study

        options = StudyOptions(recipe, tuple(vary or ()), seeds, tuple(overrides or ()), baseline, out)
        study, reporter = open_study(options, download=not dry_run), Reporter(quiet=quiet)
        if dry_run:
            plan = plan_study(study, reporter)
            typer.echo(json.dumps(asdict(plan), indent=2) if as_json else "\n".join(plan.lines()))
            return
        from sdp.study.execute import run_study

        table = run_study(study, reporter, keep_models=keep_models, ray=ray)
        if as_json:
            typer.echo(json.dumps(table.to_json(), indent=2))
        else:
            from sdp.study.table import print_study

            print_study(table, study.out)
        if table.failed:
            raise typer.Exit(1)
