"""`sdp check` and `sdp schema`: commands that run nothing."""

from __future__ import annotations

import json

import typer

from sdp.cli.commands.selection import RUNS, Json, Overrides, RunDir, Runs, Target, select
from sdp.cli.errors import handle_errors


def check_command(
    target: Target = None,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    runs: Runs = RUNS,
    as_json: Json = False,
) -> None:
    """Validate a recipe and print its plan: stages, optimizer steps, parameters and bytes by part. Changes nothing."""
    with handle_errors():
        from sdp.check.plan import make_plan
        from sdp.cli.render.plan import print_plan

        selected = select(target, overrides, run_dir, runs)
        made = make_plan(selected.recipe, selected.run)
        if as_json:
            typer.echo(json.dumps(made.to_json(), indent=2))
        else:
            print_plan(made, selected.recipe_file, selected.run.path)


def schema_command() -> None:
    """Print the JSON Schema of a recipe, for editors."""
    from sdp.recipe.schema import recipe_schema

    typer.echo(json.dumps(recipe_schema(), indent=2))
