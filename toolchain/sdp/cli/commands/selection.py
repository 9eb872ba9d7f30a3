"""What commands share: options, the recipe and run folder that were selected, and bringing a run up to date."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from sdp.distributed import launcher, ranks
from sdp.errors import RunError
from sdp.pipeline.progress import Reporter

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


@dataclass(frozen=True)
class Selected:
    """The recipe and run folder of a command."""

    recipe_file: Path
    overrides: tuple[str, ...]
    recipe: Any
    run: Any


def select(target: Path | None, overrides: list[str] | None, run_dir: Path | None, runs: Path) -> Selected:
    """Find recipe and run folder: from a recipe file, from a run folder, or from the newest run.

    Raises:
        RunError: there is no run, or the given folder is not a run folder.
        RecipeError: the recipe is invalid.
    """
    from sdp.pipeline.files import read_json
    from sdp.pipeline.run_folder import RUN_FILE, RunFolder, absolute, newest_run
    from sdp.recipe import load_recipe

    given = tuple(overrides or ())
    if target is not None and not target.is_dir():
        recipe = load_recipe(target, given)
        return Selected(target, given, recipe, RunFolder(run_dir or runs / recipe.name))
    folder = absolute(target or run_dir or newest_run(runs))
    owner = read_json(folder / RUN_FILE)
    if owner is None or not _has_recipe(owner):
        raise RunError("no run folder (it has no run.json)", where=str(folder), hint="Give a recipe or a run folder.")
    file = Path(os.path.realpath(folder / owner["file"]))
    given = (*owner["overrides"], *given)
    if not file.is_file():
        raise RunError("the recipe of this run is gone", where=str(file), hint="Give the recipe's new place.")
    return Selected(file, given, load_recipe(file, given), RunFolder(folder))


def _has_recipe(owner: dict[str, Any]) -> bool:
    """Whether a run.json has the name of a file and a list of overrides."""
    file, overrides = owner.get("file"), owner.get("overrides")
    texts = [file, *overrides] if isinstance(overrides, list) else [None]
    return all(isinstance(text, str) and _names_a_file(text) for text in texts)


def _names_a_file(text: str) -> bool:
    """Whether a text is a valid file name for the system."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def bring_up_to_date(selected: Selected, until: str, *, as_json: bool, quiet: bool) -> None:
    """Run the pipeline up to a stage and print what is known by then.

    Outdated results of later stages are left out.
    """
    from sdp.pipeline.artifacts.results import read_results
    from sdp.pipeline.runner import follow, older_stages, run_pipeline

    launcher.require_complete()
    run = selected.run
    if ranks.rank() > 0:
        follow(selected.recipe, run)
        raise typer.Exit
    with run.at_work(selected.recipe.name, selected.recipe_file, selected.overrides):
        run_pipeline(selected.recipe, run, until, Reporter(quiet=quiet))
        # The last stage has no later stages.
        older = older_stages(selected.recipe, run) if until != "ship" else {}
    if as_json:
        remark = {"older": older} if older else {}
        typer.echo(json.dumps({"run": str(run.path), **read_results(run, older).to_json(), **remark}, indent=2))
    else:
        print_summary(selected, older, vocabulary=until == "vocabulary")


def print_summary(selected: Selected, older: Mapping[str, str] | None = None, *, vocabulary: bool) -> None:
    """Print the tables of a run and the lines below them.

    Args:
        selected: the run.
        older: stages with outdated results -> reason.
        vocabulary: print only the table of the vocabulary.
    """
    from sdp.pipeline.artifacts.results import read_results
    from sdp.pipeline.progress import result_console
    from sdp.report.summary import parts_table, summary_lines, summary_table, vocabulary_table

    console, run = result_console(), selected.run
    results = read_results(run, older)
    both = (summary_table(results, selected.recipe.name), parts_table(results))
    tables = (vocabulary_table(results),) if vocabulary else both
    for table in tables:
        if table is not None:
            console.print(table)
    for line in summary_lines(run, older or {}):
        console.print(line, markup=False)
