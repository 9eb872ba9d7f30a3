"""`sdp compare`: compare two runs, such as a branch and main."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sdp.cli.commands.selection import RUNS, Json, Quiet, select
from sdp.cli.errors import handle_errors
from sdp.cli.terminal import json_text
from sdp.pipeline.progress import Reporter

if TYPE_CHECKING:
    from sdp.compare.difference import Difference
    from sdp.compare.snapshot import Snapshot
    from sdp_onnx.bench.results import BenchResult

Before = Annotated[Path, typer.Argument(help="A run folder, or a file of --save: main.", show_default=False)]
After = Annotated[
    Path | None, typer.Argument(help="The run folder (or file) to compare with it: the branch.", show_default=False)
]
Save = Annotated[Path | None, typer.Option(help="Store the first run's results in this file, for later comparisons.")]
Measure = Annotated[
    bool, typer.Option("--measure", help="Measure both exported files in turns; times are not compared without it.")
]
Fail = Annotated[
    bool,
    typer.Option(
        "--fail-on-regression",
        help="Exit code 1 where anything is worse beyond noise, 3 where the metric is undefined.",
    ),
]


def compare_command(
    before: Before,
    after: After = None,
    save: Save = None,
    measure: Measure = False,
    fail_on_regression: Fail = False,
    as_json: Json = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print a Markdown table on stdout.")] = False,
    quiet: Quiet = False,
) -> None:
    """Compare two runs: metric by part, size, memory and time, each with its interval.

    Scores are compared pairwise where both runs were scored on the same rows. Exit code: 0, or with
    --fail-on-regression 1 where something is worse beyond noise, 3 where the metric is undefined; 2 wrong usage.
    """
    with handle_errors():
        from sdp.compare.snapshot import load_snapshot, save_snapshot
        from sdp.errors import UsageError
        from sdp.pipeline.run_folder import absolute

        first = load_snapshot(before)
        if save is not None:
            save_snapshot(first, save)
        if after is None:
            if save is None:
                raise UsageError("compare needs two runs, or one and --save FILE")
            return
        rows = differences(first, load_snapshot(after), measured(before, after, quiet=quiet) if measure else None)
        worse = [row.what for row in rows if row.outcome == "worse"]
        unknown = [row.what for row in rows if row.undefined]
        outcome = f"worse in {', '.join(worse)}" if worse else "nothing is worse beyond noise"
        outcome += f"; undefined, and not compared: {', '.join(unknown)}" if unknown else ""
        names = [absolute(path) if path.is_dir() else path for path in (after, before)]
        show(rows, f"{names[0]} against {names[1]}: {outcome}", as_json=as_json, as_markdown=as_markdown)
        if (worse or unknown) and fail_on_regression:
            raise typer.Exit(1 if worse else 3)


def differences(before: Snapshot, after: Snapshot, measured: BenchResult | None) -> list[Difference]:
    """All rows of the comparison of two snapshots; `measured`: the benchmark of both files in turns."""
    from sdp.compare.costs import compare_costs
    from sdp.compare.quality import compare_quality

    return [*compare_quality(before, after), *compare_costs(before, after, measured)]


def measured(before: Path, after: Path, *, quiet: bool) -> BenchResult:
    """Measure both exported files with the settings of the recipe of `after`.

    Raises:
        UsageError: one of them is not a run folder.
    """
    from sdp.compare.measure import measure_in_turns
    from sdp.errors import UsageError

    for run in (before, after):
        if not run.is_dir():
            raise UsageError(f"--measure runs both exported files, and {run} has none", hint="Give run folders.")
    return measure_in_turns(before, after, select(after, None, None, RUNS).recipe, Reporter(quiet=quiet))


def show(rows: list[Difference], title: str, *, as_json: bool, as_markdown: bool) -> None:
    """Print the rows as JSON, as Markdown or as a table."""
    from sdp.compare.difference import differences_markdown, differences_table
    from sdp.pipeline.progress import result_console

    if as_json:
        typer.echo(json_text({"title": title, "rows": [asdict(row) for row in rows]}, indent=2))
    elif as_markdown:
        typer.echo(differences_markdown(rows, title), nl=False)
    else:
        result_console().print(differences_table(rows, title))
