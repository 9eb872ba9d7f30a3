"""A study refuses keys that change nothing it measures, instead of ignoring them."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from sdp.cli.main import app
from sdp.errors import RecipeError
from sdp.recipe.sections import Recipe
from sdp.study.measured import check_measured
from sdp.study.vary import parse_vary

IGNORED = ["export.precision=fp32,int8", "bench.threads=1,2", "gate.max_metric_drop=0.1", 'ship.license="mit"']
MEASURED = {"seed", "model", "vocabulary", "task", "data", "finetune", "prune", "analysis", "evaluate"}


@pytest.mark.parametrize("text", [*IGNORED, "arm=a{prune.sparsity=0.5},b{export.encoding=coo}"])
def test_what_comes_after_evaluation_is_not_varied(text: str) -> None:
    with pytest.raises(RecipeError, match=r"^--vary .*: a study ends with evaluate, and (export|bench|gate|ship)\."):
        check_measured([parse_vary(text)], [])


def test_every_section_is_either_measured_or_refused() -> None:
    sections = set(Recipe.model_fields) - {"seed"}
    refused = set()
    for section in sections:
        try:
            check_measured([parse_vary(f"{section}.x=1")], [])
        except RecipeError:
            refused.add(section)
    assert sections - refused == MEASURED - {"seed"}
    assert {"export", "bench", "gate", "ship", "runtime", "name"} <= refused


def test_how_a_study_runs_is_set_and_not_varied() -> None:
    check_measured([parse_vary("prune.sparsity=0.5,0.9")], ["runtime.device=cpu", "name=mine", "prune.epochs=2"])
    with pytest.raises(RecipeError, match=r"runtime\.device changes nothing .*\n  Give it with --set"):
        check_measured([parse_vary("runtime.device=cpu")], [])


def test_the_command_refuses_it_and_leaves_a_mistyped_section_to_the_recipe(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished)
    for option in ("--set", "--vary"):
        done = CliRunner().invoke(app, ["study", "toy.toml", option, "export.precision=int8", "--dry-run"])
        assert done.exit_code == 2
        assert "a study ends with evaluate, and export.precision comes after that" in done.stderr
    done = CliRunner().invoke(app, ["study", "toy.toml", "--set", "exprot.precision=int8", "--dry-run"])
    assert 'did you mean "export"' in done.stderr
