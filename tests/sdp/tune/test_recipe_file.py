"""recipe.toml: what it holds loads as the recipe that the chosen trial ran."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.stages import STAGES, resolved_settings
from sdp.recipe import load_recipe
from sdp.tune.candidates import DENSE_FP32, DENSE_INT8, Candidate, Trial
from sdp.tune.outcome import Promise
from sdp.tune.recipe_file import RECIPE_FILE, write_recipe
from sdp.tune.setup import open_tune
from support.toy import toy_rows, write_project, write_tsv

# Settings of every kind of value, among them a path that is relative to the working folder.
SETTINGS = (
    'data.test="more/test.tsv"',
    "prune.losses=hidden:2+kld",
    "prune.scope=global",
    "bench.threads=[1, 2]",
    "evaluate.resamples=150",
    "runtime.preflight=false",
    'ship.intended_use="Film \\"reviews\\"\\nonly: é"',
    "vocabulary={size = 40}",
    "prune.steps=9",
    "prune.steps=12",
)


@pytest.mark.parametrize(
    "trial",
    [Trial(DENSE_FP32, 0), Trial(DENSE_INT8, 0), *(Trial(Candidate("int8", "1x4", 0.85), steps) for steps in (0, 12))],
    ids=lambda trial: trial.name,
)
def test_the_file_gives_the_recipe_of_the_trial(
    trial: Trial, tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(tmp_path / "project", toy_model)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "more").mkdir()
    write_tsv(tmp_path / "more/test.tsv", toy_rows(20, seed=3))
    tune = open_tune(Path("project/toy.toml"), Promise(0.01, 0.8), 1, SETTINGS, Path("out"))
    chosen = tune.chosen(trial)
    tune.out.mkdir()
    write_recipe(chosen, RunFolder(tune.out), "The fastest.")
    monkeypatch.chdir("/")
    made = load_recipe(tune.out / RECIPE_FILE)
    assert made == chosen.recipe.model_copy(update={"name": "toy-tuned"})
    assert resolved_settings(made, STAGES) == resolved_settings(chosen.recipe, STAGES)
    text = (tune.out / RECIPE_FILE).read_text()
    assert text.startswith("# The fastest.\n# Run:  sdp run recipe.toml\n")
    assert 'extends = "../project/toy.toml"' in text
    # The project moves as a whole, recipe and all.
    shutil.copytree(tmp_path / "project", tmp_path / "elsewhere/project", symlinks=True)
    shutil.copytree(tmp_path / "out", tmp_path / "elsewhere/out")
    moved = load_recipe(tmp_path / "elsewhere/out" / RECIPE_FILE)
    assert moved.data.train == str(tmp_path / "elsewhere/project/train.tsv")


def test_a_name_of_its_own_even_where_it_is_long(tmp_path: Path, toy_model: Path) -> None:
    recipe = write_project(tmp_path, toy_model)
    recipe.write_text(recipe.read_text().replace('name = "toy"', f'name = "{"x" * 100}"'))
    tune = open_tune(recipe, Promise(0.01, 0.8), 1, (), tmp_path / "out")
    tune.out.mkdir()
    write_recipe(tune.chosen(Trial(DENSE_INT8, 0)), RunFolder(tune.out), "")
    assert load_recipe(tune.out / RECIPE_FILE).name == "x" * 94 + "-tuned"
