"""Pruning that goes on from a finished one: pruned weights stay pruned, and what does not fit is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from sdp.cli.main import app


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A project pruned to 0.8 within layers, and a second run folder that is fine-tuned only."""
    folder = tmp_path / "project"
    shutil.copytree(finished, folder, symlinks=True)
    shutil.copytree(folder / "runs/toy", folder / "runs/next")
    for stage in folder.glob("runs/next/[2-7]-*"):
        shutil.rmtree(stage)
    return folder


def prune(project: Path, run: str, *settings: str) -> Result:
    options = [word for setting in ("analysis.rows=0", *settings) for word in ("--set", setting)]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        return CliRunner().invoke(app, ["prune", "toy.toml", "--run-dir", f"runs/{run}", *options])


START = 'prune.start="runs/toy/2-prune"'
SHORT = "prune.epochs=1"


@pytest.mark.parametrize("criterion", ["taylor", "lookahead", "obert"])
def test_no_criterion_brings_a_pruned_weight_back(criterion: str, project: Path) -> None:
    done = prune(project, "next", START, SHORT, "prune.sparsity=0.9", f'prune.criterion="{criterion}"')
    assert done.exit_code == 0, done.output
    before = load_file(project / "runs/toy/2-prune/masks.safetensors")
    masks = load_file(project / "runs/next/2-prune/masks.safetensors")
    weights = load_file(project / "runs/next/2-prune/model.safetensors")
    for name, mask in masks.items():
        assert not (mask.bool() & ~before[name].bool()).any()
        assert int(mask.sum()) == mask.numel() - round(0.9 * mask.numel())
        assert not weights[name][~mask.bool()].any()


def test_another_start_is_a_reason_to_prune_again(project: Path) -> None:
    settings = (START, SHORT, "prune.sparsity=0.9")
    assert "prune     runs" in prune(project, "next", *settings).stderr
    shutil.copytree(project / "runs/toy/2-prune", project / "moved/2-prune")
    assert "prune     up to date" in prune(project, "next", *settings[1:], 'prune.start="moved/2-prune"').stderr
    assert "start changed" in prune(project, "next", *settings[1:]).stderr


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (['prune.start="runs/toy/1-finetune"', "prune.sparsity=0.9"], "is no finished pruning"),
        (['prune.start="nowhere"', "prune.sparsity=0.9"], "is no finished pruning"),
        ([START, "prune.sparsity=0.8"], "prune.sparsity = 0.8 is not higher"),
        ([START, "prune.sparsity=0.9", 'prune.scope="global"'], 'it was pruned with scope = "layer"'),
        ([START, "prune.sparsity=0.9", 'prune.pattern="1x4"'], 'it was pruned with pattern = "unstructured"'),
        ([START, "prune.sparsity=0.9", 'prune.criterion="l0"'], "cannot start from one"),
        ([START, "prune.sparsity=0.9", "finetune.epochs=1"], "another fine-tuned model"),
    ],
)
def test_what_does_not_fit_is_refused(settings: list[str], words: str, project: Path) -> None:
    result = prune(project, "next", *settings)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert not (project / "runs/next/2-prune").exists()
