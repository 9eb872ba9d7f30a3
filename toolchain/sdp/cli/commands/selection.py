"""Find recipe and run folder from a command's arguments."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdp.errors import RunError


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
    from sdp.pipeline.json_file import read_json
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
