"""A tuning before anything runs: its recipes, its plan, and wrong usage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import sdp.tune.setup
from sdp.cli.main import app
from sdp.recipe.pruning import PruneSection
from sdp.tune.candidates import Candidate, Trial
from sdp.tune.outcome import Promise
from sdp.tune.setup import open_tune
from support.toy import toy_rows, write_project, write_tsv

GIVEN = ("--max-drop", "0.05", "--minutes", "3")


@pytest.fixture
def project(tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_project(tmp_path, toy_model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tune(*options: str) -> Result:
    return CliRunner().invoke(app, ["tune", "toy.toml", *options])


def test_a_plan_names_candidates_and_steps_and_writes_nothing(project: Path) -> None:
    before = sorted(entry.name for entry in project.iterdir())
    plan = json.loads(tune(*GIVEN, "--dry-run", "--json").stdout)
    assert plan["steps"] == [0, 10, 40]
    assert plan["candidates"][:3] == ["fp32-dense", "int8-dense", "int8-1x4-0.50"]
    assert plan["opening"][0] == "int8-dense"
    assert (plan["max_drop"], plan["confidence"], plan["minutes"], plan["done"]) == (0.05, 0.8, 3, [])
    assert not plan["test_at_the_end"]
    printed = tune(*GIVEN, "--dry-run", "--confidence", "0.9").stdout
    assert "0 trials are done in" in printed
    assert "loses at most 0.05 with a probability of at least 0.9" in printed
    score = PruneSection.model_fields["criterion"].default
    without = ("--set", "prune.epochs=0", "--set", f"prune.criterion={score}")
    untrained = json.loads(tune(*GIVEN, "--dry-run", "--json", *without).stdout)
    assert untrained["steps"] == [0]
    assert sorted(entry.name for entry in project.iterdir()) == before


def test_trials_are_judged_on_dev_and_the_chosen_one_on_test(project: Path) -> None:
    write_tsv(project / "test.tsv", toy_rows(20, seed=3))
    made = open_tune(Path("toy.toml"), Promise(0.01, 0.8), 1, ['data.test="test.tsv"'], None)
    trial = Trial(Candidate("int8", "1x4", 0.8), 7)
    prepared, chosen = made.prepared(trial), made.chosen(trial)
    assert made.held_out
    assert (prepared.recipe.evaluate.split, chosen.recipe.evaluate.split) == ("dev", None)
    assert prepared.recipe.prune == chosen.recipe.prune
    assert prepared.run.path == project / "tune/toy/int8-1x4-0.80-7-steps"
    assert chosen.run.path == project / "tune/toy/chosen"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--minutes", "3"], "--max-drop"),
        (["--max-drop", "0.1"], "--minutes"),
        ([*GIVEN, "--confidence", "1"], "--confidence"),
        ([*GIVEN, "--set", "prune.sparsity=0.9"], "sdp tune chooses it"),
        ([*GIVEN, "--set", "export.precision=int8"], "sdp tune chooses it"),
        ([*GIVEN, "--set", "prune.mask_updates=0"], "mask_updates"),
        ([*GIVEN, "--set", 'prune.start="runs/toy/2-prune"'], "every trial starts from the dense model"),
        ([*GIVEN, "--set", "prune.teacher=model"], "learn from no other network"),
        ([*GIVEN, "--set", "bench.provider=cuda"], "the candidates are for the CPU"),
        ([*GIVEN, "--set", "export.encoding=coo"], "makes files smaller and not faster: there is nothing to choose"),
        ([*GIVEN, "--set", "evaluate.split=test"], "the data has no test split"),
        ([*GIVEN, "--out", "."], "is no tuning"),
    ],
)
def test_wrong_usage_is_an_error_before_anything_runs(options: list[str], words: str, project: Path) -> None:
    before = sorted(entry.name for entry in project.iterdir())
    result = tune(*options)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert sorted(entry.name for entry in project.iterdir()) == before


def test_a_sparsity_that_follows_from_a_speed_up_is_not_chosen(project: Path) -> None:
    recipe = project / "toy.toml"
    recipe.write_text(recipe.read_text().replace("sparsity = 0.8\n", ""))
    result = tune(*GIVEN, "--set", "prune.scope=allocated", "--set", "prune.target_speedup=2")
    assert result.exit_code == 2
    assert "sdp tune chooses the sparsity" in result.stderr


def test_without_the_operator_library_there_is_nothing_to_choose(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdp.tune.setup, "has_library", lambda: False)
    result = tune(*GIVEN)
    assert result.exit_code == 2
    assert "no operator library" in result.stderr
    assert "install this package again" in result.stderr
