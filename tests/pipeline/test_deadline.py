"""A training that reaches its deadline stops with a checkpoint, and goes on as if it had not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file

from sdp.choice.run import Prepared
from sdp.errors import OutOfTimeError
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import RunFolder
from sdp.recipe import load_recipe


def test_a_training_that_is_stopped_at_its_deadline_ends_like_an_unbroken_one(finished: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(finished, project, symlinks=True)
    overrides = ("prune.sparsity=0.7", "prune.steps=6", "analysis.rows=0")
    recipe = load_recipe(project / "toy.toml", overrides)
    source = RunFolder(project / "runs/toy")
    broken, unbroken = (
        Prepared(project / "toy.toml", overrides, recipe, RunFolder(project / "tried" / name)) for name in ("a", "b")
    )
    # A time that has passed: it stops after the first step it takes.
    for step in (1, 2):
        with pytest.raises(OutOfTimeError, match="a checkpoint was saved"):
            broken.bring_up_to_date("prune", Reporter(quiet=True), source=source, deadline=0.0)
        assert (broken.run.partial("2-prune") / f"checkpoints/checkpoint-{step}").is_dir()
    broken.bring_up_to_date("prune", Reporter(quiet=True), source=source)
    unbroken.bring_up_to_date("prune", Reporter(quiet=True), source=source)
    for name in ("model", "masks"):
        found, expected = (load_file(own.run.path / f"2-prune/{name}.safetensors") for own in (broken, unbroken))
        assert all(found[key].equal(value) for key, value in expected.items())
    # Stages that do not train, and a training whose last step is over, are not stopped.
    broken.bring_up_to_date("evaluate", Reporter(quiet=True), source=source, deadline=0.0)
