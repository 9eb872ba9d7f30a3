"""`sdp run`, `sdp ship`, and a command for each stage."""

from __future__ import annotations

from collections.abc import Callable

from sdp.cli.commands.gate import exit_with_verdict
from sdp.cli.commands.selection import RUNS, Json, Overrides, Quiet, RunDir, Runs, Target, bring_up_to_date, select
from sdp.cli.errors import handle_errors


def run_command(
    target: Target = None,
    overrides: Overrides = None,
    run_dir: RunDir = None,
    runs: Runs = RUNS,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run the whole pipeline: fine-tune, prune, evaluate, export, bench, gate, report, and ship if the gate passes.

    Stages that are up to date are skipped; an interrupted stage resumes. Exit code: 0 the gate passes, 1 it or a stage
    fails, 2 wrong usage or recipe, 3 inconclusive.
    """
    with handle_errors():
        selected = select(target, overrides, run_dir, runs)
        bring_up_to_date(selected, "ship", as_json=as_json, quiet=quiet)
        exit_with_verdict(selected)


def stage_command(stage: str) -> Callable[..., None]:
    """Return the command that brings a run up to date through one stage."""

    def command(
        target: Target = None,
        overrides: Overrides = None,
        run_dir: RunDir = None,
        runs: Runs = RUNS,
        as_json: Json = False,
        quiet: Quiet = False,
    ) -> None:
        with handle_errors():
            bring_up_to_date(select(target, overrides, run_dir, runs), stage, as_json=as_json, quiet=quiet)

    return command
