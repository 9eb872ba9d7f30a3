"""Every recipe in recipes/ loads; those in recipes/base/ are fragments that others extend."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from sdp.errors import RecipeError
from sdp.recipe import load_recipe
from sdp.recipe.schema import recipe_schema

FOLDER = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").is_file()) / "recipes"
FILES = sorted(FOLDER.rglob("*.toml"))
FRAGMENTS = [path for path in FILES if path.parent == FOLDER / "base"]
RECIPES = [path for path in FILES if path not in FRAGMENTS]


def shown(path: Path) -> str:
    return path.relative_to(FOLDER).as_posix()


def test_there_are_some() -> None:
    assert FOLDER / "quickstart.toml" in RECIPES
    assert len({load_recipe(path).name for path in RECIPES}) == len(RECIPES), "names are run folders"


@pytest.mark.parametrize("path", RECIPES, ids=shown)
def test_it_loads(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name.replace("-", "_") == path.stem.replace("-", "_")
    assert 0 < recipe.prune.sparsity < 1
    assert recipe.gate.thresholds, "a recipe promises something"


@pytest.mark.parametrize("path", FRAGMENTS, ids=shown)
def test_a_fragment_is_extended_and_no_recipe_by_itself(path: Path) -> None:
    parents = [
        (other.parent / table["extends"]).resolve()
        for other in FILES
        if "extends" in (table := tomllib.loads(other.read_text(encoding="utf-8")))
    ]
    assert path.resolve() in parents
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    lines = str(caught.value).splitlines()[1:]
    assert lines
    assert all("missing" in line for line in lines), "it lacks keys, and has no wrong ones"


@pytest.mark.parametrize("path", FILES, ids=shown)
def test_its_sections_are_those_of_the_schema(path: Path) -> None:
    properties = recipe_schema()["properties"]
    assert isinstance(properties, dict)
    assert tomllib.loads(path.read_text(encoding="utf-8")).keys() <= properties.keys()
