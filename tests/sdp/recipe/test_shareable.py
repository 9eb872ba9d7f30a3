"""What of a recipe goes out with a model: everything but where files lie."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sdp.recipe import load_recipe
from sdp.recipe.shareable import shareable
from support.toy import write_project


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


def test_no_key_reveals_a_folder_of_this_machine(
    tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Paths of --set are relative to where the command runs.
    monkeypatch.chdir(tmp_path)
    settings = ("vocabulary.size=100", 'vocabulary.corpus=["texts/a.txt", "texts/b.txt"]', 'prune.start="old/2-prune"')
    settings += ('prune.teacher="./runs/large"', 'prune.losses=[{name="kld"}]')
    recipe = load_recipe(write_project(tmp_path, toy_model), settings)
    assert str(tmp_path) in recipe.model_dump_json()
    content = shareable(recipe)
    assert str(tmp_path) not in json.dumps(content)
    assert content["vocabulary"]["corpus"] == ["a.txt", "b.txt"]
    assert content["prune"]["start"] == "2-prune"
    assert content["prune"]["teacher"] == "large"
