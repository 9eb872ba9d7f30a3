"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Target = Annotated[
    Path | None,
    typer.Argument(help="A recipe (.toml) or a run folder; by default the newest run.", show_default=False),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="A.B=VALUE",
        help="Override a key of the recipe; VALUE is TOML, or text without quotes. May be repeated.",
    ),
]
RunDir = Annotated[
    Path | None,
    typer.Option("--run-dir", help="The run folder; by default the recipe's name in the runs folder."),
]
Runs = Annotated[Path, typer.Option("--runs", help="The parent folder of run folders.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, only results and errors.")]
RUNS = Path("runs")
