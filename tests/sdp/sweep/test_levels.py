"""The parts of a sweep: levels read from the command line, recipes that go on from each other, wrong usage."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sdp.cli.main import app
from sdp.errors import RecipeError
from sdp.sweep.levels import folder_name, open_sweep, parse_levels
from support.toy import toy_rows, write_project, write_tsv


@pytest.fixture
def project(tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_project(tmp_path, toy_model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sweep(*options: str) -> Result:
    return CliRunner().invoke(app, ["sweep", "toy.toml", *options])


def test_levels_are_numbers_in_rising_order() -> None:
    assert parse_levels("0.5, 0.75,.9") == (0.5, 0.75, 0.9)
    assert parse_levels("0.5") == (0.5,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "does not have the form S1,S2"),
        ("0.5,", "does not have the form S1,S2"),
        ("half", "does not have the form S1,S2"),
        ("0.5,1", "1 is not between 0 and 1"),
        ("0,0.5", "0 is not between 0 and 1"),
        ("nan", "nan is not between 0 and 1"),
        ("0.5,0.5", "levels must rise"),
        ("0.9,0.5,0.9", "--sparsity 0.5,0.9"),
    ],
)
def test_other_lists_are_refused(text: str, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_levels(text)
    assert words in str(caught.value)


def test_a_folder_for_each_level() -> None:
    assert [folder_name(level) for level in (0.5, 0.95, 0.975, 0.951)] == [
        "sparsity-0.50",
        "sparsity-0.95",
        "sparsity-0.975",
        "sparsity-0.951",
    ]


def test_every_level_goes_on_from_the_one_before(project: Path) -> None:
    made = open_sweep(Path("toy.toml"), "0.5,0.8,0.9", ["prune.epochs=2"], None)
    assert [level.recipe.prune.sparsity for level in made.levels] == [0.5, 0.8, 0.9]
    starts = [level.recipe.prune.start for level in made.levels]
    before = [str(project / "sweeps/toy" / name / "2-prune") for name in ("sparsity-0.50", "sparsity-0.80")]
    assert starts == [None, *before]
    assert not made.held_out
    assert all(level.recipe.evaluate.split is None for level in made.levels)


def test_structured_levels_start_from_the_dense_network(project: Path) -> None:
    settings = ["prune.pattern='structured'", "prune.criterion='momentum'", "prune.scope='global'"]
    made = open_sweep(Path("toy.toml"), "0.3,0.5", settings, None)
    assert [level.recipe.prune.start for level in made.levels] == [None, None]


def test_levels_are_judged_on_dev_where_the_recipe_has_a_test_split(project: Path) -> None:
    write_tsv(project / "test.tsv", toy_rows(20, seed=3))
    test = 'data.test="test.tsv"'
    made = open_sweep(Path("toy.toml"), "0.5,0.8", [test], None)
    assert made.held_out
    assert [level.recipe.evaluate.split for level in made.levels] == ["dev", "dev"]
    last = made.chosen(made.levels[1])
    assert last.recipe.evaluate.split is None
    assert last.recipe.prune == made.levels[1].recipe.prune
    assert last.run.path == project / "sweeps/toy/chosen"
    on_dev = open_sweep(Path("toy.toml"), "0.5,0.8", [test, 'evaluate.split="dev"'], None)
    assert not on_dev.held_out


def test_a_plan_names_stages_and_steps_and_writes_nothing(project: Path) -> None:
    before = sorted(entry.name for entry in project.iterdir())
    plan = json.loads(sweep("--sparsity", "0.5,0.8", "--dry-run", "--json").stdout)
    stages = ["finetune", "prune", "evaluate", "export", "bench", "gate", "report"]
    assert [level["stages"] for level in plan["levels"]] == [stages, stages[1:]]
    assert [level["steps"] for level in plan["levels"]] == [{"finetune": 100, "prune": 40}, {"prune": 40}]
    printed = sweep("--sparsity", "0.5,0.8", "--dry-run").stdout
    assert "sparsity-0.80  will run: prune 40 steps, evaluate" in printed
    assert f"2 of 2 levels will run in {project}/sweeps/toy, 180 optimizer steps" in printed
    assert sorted(entry.name for entry in project.iterdir()) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sparsity", "0.5,2"], "2 is not between 0 and 1"),
        ([], "--sparsity"),
        (["--sparsity", "0.5", "--set", "prune.sparsity=0.9"], "set in two places"),
        (["--sparsity", "0.5", "--set", 'prune.pattern="2:4"', "--set", "prune.mask_updates=0"], "mask_updates"),
        (["--sparsity", "0.5,0.8", "--set", 'prune.criterion="movement"'], "cannot start from one"),
        (["--sparsity", "0.5,0.8", "--set", 'prune.criterion="l0"'], "cannot start from one"),
        (["--sparsity", "0.5,0.8", "--set", 'prune.scope="allocated"'], "cannot start from a pruned one"),
        (["--sparsity", "0.5,0.8", "--set", 'evaluate.split="test"'], "the data has no test split"),
        (["--sparsity", "0.5,0.8", "--out", "."], "is no sweep"),
    ],
)
def test_wrong_usage_is_an_error_before_anything_runs(options: list[str], words: str, project: Path) -> None:
    before = sorted(entry.name for entry in project.iterdir())
    result = sweep(*options)
    assert result.exit_code == 2, result.output
    assert words in result.stderr
    assert "Traceback" not in result.output
    assert sorted(entry.name for entry in project.iterdir()) == before


def test_two_of_four_is_one_sparsity(project: Path) -> None:
    recipe = project / "toy.toml"
    recipe.write_text(recipe.read_text().replace("sparsity = 0.8", 'sparsity = 0.5\npattern = "2:4"'))
    result = sweep("--sparsity", "0.3,0.5")
    assert result.exit_code == 2
    assert "there is nothing to sweep" in result.stderr
