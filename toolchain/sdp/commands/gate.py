"""`sdp gate`, and the exit code of its verdict."""

from __future__ import annotations

import os
import shlex
from typing import Annotated

import typer

from sdp import ranks
from sdp.command_errors import told
from sdp.commands.options import RUNS, Json, Overrides, Quiet, RunDir, Runs, Target
from sdp.commands.selection import Selected, select
from sdp.commands.update import bring_up_to_date
from sdp.console import Reporter
from sdp.errors import RunError


def exit_with_verdict(selected: Selected) -> None:
    """End with the exit code of the gate's verdict, and tell a GitHub job's page of it."""
    from sdp.json_file import read_json

    verdict = read_json(selected.run.stage("6-gate") / "verdict.json")
    if verdict is None:
        raise RunError("the gate left no verdict", where=str(selected.run.path))
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if page:
        with open(page, "a", encoding="utf-8") as stream:
            stream.write((selected.run.stage("6-gate") / "summary.md").read_text(encoding="utf-8"))
    raise typer.Exit(int(verdict["exit_code"]))


def gate_command(
    target: Target = None,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    runs: Runs = RUNS,
    no_update: Annotated[
        bool, typer.Option("--no-update", help="Judge the numbers that the run folder holds; run no other stage.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge the recipe's thresholds, after bringing what comes before up to date.

    Exit code: 0 pass, 1 fail, 2 wrong usage or recipe, 3 inconclusive.
    """
    with told():
        selected = select(target, overrides, run_dir, runs)
        if no_update:
            from sdp.pipeline import run_single

            ranks.require_one_process("sdp gate --no-update")
            if not selected.run.path.is_dir():
                raise RunError(
                    "there is no such run",
                    where=str(selected.run.path),
                    hint=f"Run it first: sdp run {shlex.quote(str(selected.recipe_file))}",
                )
            # Without a budget nothing is measured; and with one, the verdict is not up to date.
            gate = selected.recipe.gate.model_copy(update={"budget_seconds": 0.0})
            with selected.run.locked():
                recipe = selected.recipe.model_copy(update={"gate": gate})
                run_single("gate", recipe, selected.run, Reporter(quiet=quiet))
        else:
            bring_up_to_date(selected, "gate", as_json=as_json, quiet=quiet)
        if no_update and as_json:
            typer.echo((selected.run.stage("6-gate") / "verdict.json").read_text(encoding="utf-8"))
        exit_with_verdict(selected)
