"""What of a recipe goes out with a model: everything but where files lie."""

from __future__ import annotations

from pathlib import Path

from sdp.recipe import load_recipe
from sdp.recipe.shareable import shareable
from toy import write_project


def test_absolute_paths_lose_their_folders_and_nothing_else(tmp_path: Path, toy_model: Path) -> None:
    recipe = load_recipe(write_project(tmp_path, toy_model))
    content, whole = shareable(recipe), recipe.model_dump(mode="json")
    assert (content["data"]["train"], content["data"]["dev"], content["data"]["test"]) == ("train.tsv", "dev.tsv", None)
    assert content["model"]["name"] == toy_model.name
    for section, key in (("data", "train"), ("data", "dev"), ("model", "name")):
        assert Path(whole[section].pop(key)).name == content[section].pop(key)
    assert content == whole


def test_names_that_are_no_paths_stay(tmp_path: Path, toy_model: Path) -> None:
    recipe = load_recipe(write_project(tmp_path, toy_model), ('model.name="package:a/b"',))
    assert shareable(recipe)["model"]["name"] == "package:a/b"
