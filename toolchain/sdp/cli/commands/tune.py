"""`sdp tune`."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdp.cli.commands.selection import Json, Overrides, Quiet
from sdp.cli.errors import handle_errors
from sdp.errors import SdpError
from sdp.pipeline.progress import Reporter

if TYPE_CHECKING:
    from sdp.tune.artifacts import TuneReport


def tune_command(
    recipe: Annotated[Path, typer.Argument(help="A recipe (.toml).", show_default=False)],
    max_drop: Annotated[
        float, typer.Option(min=0.0, help="Largest loss of the metric against the dense model (0.01 = one point).")
    ],
    minutes: Annotated[float, typer.Option(min=0.0, help="The budget of time.")],
    confidence: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="Smallest probability that the loss is at most --max-drop.")
    ] = 0.8,
    overrides: Overrides = None,
    out: Annotated[Path | None, typer.Option(help="The tuning's folder; by default tune/NAME.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan, and run nothing.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find the fastest model that loses at most so much, within a budget of time, and write a recipe for it.

    Precision, pattern, sparsity and layers are chosen on dev: first without training, then with more and more of it, as
    time allows. If there is a test split, the chosen model is measured on it once. There is always an answer: the dense
    model at worst. The same command goes on from the trials that are there.

    Exit code: 0 a model is chosen, 1 a stage fails, 2 wrong usage or recipe.
    """
    with handle_errors():
        from sdp.tune.outcome import Promise
        from sdp.tune.plan import plan_tune
        from sdp.tune.setup import open_tune

        tune = open_tune(recipe, Promise(max_drop, confidence), minutes, overrides or [], out, download=not dry_run)
        if dry_run:
            plan = plan_tune(tune)
            typer.echo(json.dumps(asdict(plan), indent=2) if as_json else "\n".join(plan.lines()))
            return
        from sdp.tune.runner import Tuning

        tuning = Tuning(tune, Reporter(quiet=quiet))
        try:
            report = tuning.run()
        except (SdpError, KeyboardInterrupt):
            if tuning.report is not None:
                _show(tuning.report, tune.out, as_json=as_json)
            raise
        _show(report, tune.out, as_json=as_json)


def _show(report: TuneReport, out: Path, *, as_json: bool) -> None:
    from sdp.tune.table import print_tuning

    if as_json:
        typer.echo(json.dumps(report.to_json(), indent=2))
    else:
        print_tuning(report, out)
