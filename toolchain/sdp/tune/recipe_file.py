"""The recipe of the chosen trial, which extends the user's: `sdp run` makes the same model from it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator

from pydantic_core import to_jsonable_python

from sdp.choice.run import Prepared
from sdp.pipeline.run_folder import RunFolder
from sdp.recipe.override import override_key
from sdp.recipe.sections import Recipe
from sdp_onnx.model.files import atomic_write

RECIPE_FILE = "recipe.toml"
# The longest name of a recipe, less the end.
_MOST_NAME = 94


def write_recipe(chosen: Prepared, out: RunFolder, remark: str) -> None:
    """Write recipe.toml into a tuning's folder, whole or not at all.

    Args:
        chosen: the recipe, its file and all overrides, as the chosen trial is run on test.
        out: the tuning's folder.
        remark: a sentence on the choice.
    """
    with atomic_write(out.path / RECIPE_FILE) as temporary:
        temporary.write_text(recipe_text(chosen, out, remark), encoding="utf-8")


def recipe_text(chosen: Prepared, out: RunFolder, remark: str) -> str:
    """The recipe as TOML: `extends`, a name of its own, and every override as a key.

    Values come from the loaded recipe, in which paths are absolute: those of `--set` were relative to another folder.
    """
    parent = os.path.relpath(os.path.realpath(chosen.recipe_file), os.path.realpath(out.path))
    lines = [
        f"# {remark}",
        f"# Run:  sdp run {RECIPE_FILE}",
        "",
        f"extends = {_toml(parent.replace(os.sep, '/'))}",
        f"name = {_toml(chosen.recipe.name[:_MOST_NAME] + '-tuned')}",
        "",
    ]
    # A later override of a table replaces an earlier one of a key in it.
    keys = dict.fromkeys(tuple(override_key(own).split(".")) for own in chosen.overrides)
    leaves = {leaf: value for key in keys for leaf, value in _leaves(key, _value(chosen.recipe, key))}
    lines += [f"{'.'.join(leaf)} = {_toml(value)}" for leaf, value in leaves.items() if leaf != ("name",)]
    return "\n".join(lines) + "\n"


def _value(recipe: Recipe, key: Iterable[str]) -> object:
    """The value of a dotted key as JSON types; keys without a value are left out of a table."""
    value: object = recipe
    for name in key:
        value = getattr(value, name.strip())
    found: object = to_jsonable_python(value, exclude_none=True)
    return found


def _leaves(key: tuple[str, ...], value: object) -> Iterator[tuple[tuple[str, ...], object]]:
    """The values of a table and of the tables in it, each with its whole key."""
    if not isinstance(value, dict):
        yield key, value
        return
    for name, inner in value.items():
        yield from _leaves((*key, name), inner)


def _toml(value: object) -> str:
    """A value in TOML, on one line."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name} = {_toml(inner)}' for name, inner in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    # TOML's texts and numbers are JSON's, but for one character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
