"""`sdp gate`, and the exit code of a verdict."""

from __future__ import annotations

import json
import os
import shlex
from typing import Annotated

import typer

from sdp.cli.commands.selection import (
    RUNS,
    Json,
    Overrides,
    Quiet,
    RunDir,
    Runs,
    Selected,
    Target,
    bring_up_to_date,
    print_summary,
    select,
)
from sdp.cli.errors import handle_errors
from sdp.distributed import ranks
from sdp.errors import RunError
from sdp.pipeline.progress import Reporter

NoUpdate = Annotated[
    bool, typer.Option("--no-update", help="Judge the numbers that the run folder holds; run nothing before the gate.")
]


def exit_with_verdict(selected: Selected) -> None:
    """Exit with the code of the gate's verdict, and add the verdict to a GitHub job's page."""
    from sdp.pipeline.artifacts.verdict import SUMMARY_FILE, GateVerdict

    verdict = GateVerdict.load(selected.run)
    _add_to_page(GateVerdict.path(selected.run).with_name(SUMMARY_FILE).read_text(encoding="utf-8"))
    raise typer.Exit(verdict.exit_code)


def _add_to_page(text: str) -> None:
    page = os.environ.get("GITHUB_STEP_SUMMARY")
    if page:
        with open(page, "a", encoding="utf-8") as stream:
            stream.write(text)


def gate_command(
    target: Target = None,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    runs: Runs = RUNS,
    no_update: NoUpdate = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Bring earlier stages up to date and judge the recipe's thresholds; then report, and ship if they pass.

    With --set of thresholds alone, on a finished run, the verdict of these thresholds is printed and nothing changes.
    Exit code: 0 pass, 1 fail, 2 wrong usage or recipe, 3 inconclusive.
    """
    with handle_errors():
        from sdp.gate.what_if import is_what_if

        selected = select(target, overrides, run_dir, runs)
        if no_update:
            ranks.require_one_process("sdp gate --no-update")
            if not selected.run.path.is_dir():
                raise RunError(
                    "there is no such run",
                    where=str(selected.run.path),
                    hint=f"Run it first: sdp run {shlex.quote(str(selected.recipe_file))}",
                )
        if is_what_if(selected.recipe, selected.run, overrides or [], as_it_is=no_update):
            ranks.require_one_process("sdp gate on other thresholds")
            given = [str(target or selected.run.path)]
            given += ["--run-dir", str(run_dir)] if target is not None and run_dir is not None else []
            given += ["--runs", str(runs)] if target is not None and runs != RUNS else []
            _what_if(selected, given, overrides or [], as_json=as_json)
        if no_update:
            _judge_again(selected, as_json=as_json, quiet=quiet)
        else:
            # Through the last stage: report and shipped folder must match the verdict.
            bring_up_to_date(selected, "ship", as_json=as_json, quiet=quiet)
        exit_with_verdict(selected)


def _what_if(selected: Selected, given: list[str], overrides: list[str], *, as_json: bool) -> None:
    """Print the verdict of other thresholds, and exit with its code."""
    from sdp.gate.verdict_files import markdown
    from sdp.gate.what_if import what_if_lines
    from sdp.stages.gate import verdict_of, what_if

    checks = what_if(selected.recipe, selected.run)
    stored = verdict_of(checks)
    lines = what_if_lines(checks, selected.run, given, overrides)
    if as_json:
        typer.echo(json.dumps({**stored.to_json(), "what_if": overrides, "changed": False}, indent=2))
    else:
        typer.echo("\n".join(lines))
    _add_to_page(markdown(checks, f"{selected.recipe.name}, what if", lines[-2]))
    raise typer.Exit(stored.exit_code)


def _judge_again(selected: Selected, *, as_json: bool, quiet: bool) -> None:
    """Judge the stored results without measuring again, and write the report of that verdict."""
    from sdp.pipeline.artifacts.verdict import GateVerdict
    from sdp.pipeline.runner import run_single
    from sdp.pipeline.stages import REPORT

    # With a budget, the stored verdict would not be up to date.
    gate = selected.recipe.gate.model_copy(update={"budget_seconds": 0.0})
    recipe, run, reporter = selected.recipe.model_copy(update={"gate": gate}), selected.run, Reporter(quiet=quiet)
    with run.locked():
        run_single("gate", recipe, run, reporter)
        if run.record(REPORT.folder) is not None:
            try:
                run_single("report", recipe, run, reporter)
            except RunError as error:
                hint = "The verdict is written, and report.html is of an earlier one. Bring all up to date: sdp run."
                raise RunError(error.what, where=error.where, hint=hint) from None
    if as_json:
        typer.echo(GateVerdict.path(run).read_text(encoding="utf-8"))
    else:
        print_summary(selected, vocabulary=False)
