"""The cells of a grid and their keys: stable, the same in another place, another for every setting that counts."""

from __future__ import annotations

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from sdp.errors import RecipeError
from sdp.pipeline.files import write_json
from sdp.pipeline.progress import Reporter
from sdp.pipeline.stages import settings_of
from sdp.study.artifacts import CellResult, StudyTable
from sdp.study.cell import read_cell
from sdp.study.grid import StudyCell, cell_stages, make_grid
from sdp.study.vary import parse_vary
from support.toy import write_project, write_tsv

BENCHMARKS = Path(__file__).parents[3] / "benchmarks/results/study"


@pytest.fixture
def recipe(tmp_path: Path, toy_model: Path) -> Path:
    return write_project(tmp_path / "project", toy_model)


def cell(recipe: Path, *overrides: str) -> StudyCell:
    (only,) = make_grid(recipe, [], 1, overrides).cells
    return only


def test_every_combination_with_every_seed(recipe: Path) -> None:
    axes = [parse_vary("prune.losses=none,kld"), parse_vary("prune.sparsity=0.5,0.9")]
    cells = make_grid(recipe, axes, 2, ["prune.epochs=1"]).cells
    assert [(*c.arm, c.seed) for c in cells] == [
        (loss, sparsity, seed) for seed in (0, 1) for loss in ("none", "kld") for sparsity in ("0.5", "0.9")
    ]
    assert all(
        (c.recipe.prune.losses[0].name, str(c.recipe.prune.sparsity), c.recipe.seed, c.recipe.prune.epochs)
        == (*c.arm, c.seed, 1)
        for c in cells
    )
    assert len({c.key for c in cells}) == 8
    assert len({c.teacher for c in cells}) == 2


def test_cells_share_a_teacher_where_fine_tuning_is_the_same(recipe: Path) -> None:
    cells = make_grid(recipe, [parse_vary("finetune.epochs=1,2"), parse_vary("prune.epochs=1,2")], 1, []).cells
    assert [c.teacher for c in cells] == [cells[0].teacher] * 2 + [cells[2].teacher] * 2
    assert cells[0].teacher != cells[2].teacher


def test_a_key_does_not_depend_on_the_place(recipe: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "deeper"
    shutil.copytree(recipe.parent, moved)
    assert cell(moved / recipe.name).key == cell(recipe).key
    assert (
        cell(recipe, "runtime.checkpoint_seconds=1.0", "gate.min_speedup=1.5", "bench.seconds=1.0").key
        == cell(recipe).key
    )


@pytest.mark.parametrize(
    "override",
    [
        "task.metric='f1'",
        "data.max_length=31",
        "finetune.epochs=9",
        "prune.weight_decay=0.02",
        "prune.losses=[{name='cross-correlation', off_diagonal=0.006}]",
        "prune.scope='global'",
        "evaluate.split='dev'",
    ],
)
def test_every_setting_that_counts_changes_the_key(override: str, recipe: Path) -> None:
    assert cell(recipe, override).key != cell(recipe).key


def test_other_rows_change_the_key(recipe: Path) -> None:
    before = cell(recipe).key
    write_tsv(recipe.parent / "dev.tsv", [("good", "pos"), ("bad", "neg")])
    assert cell(recipe).key != before


def test_a_setting_at_its_default_is_no_setting(recipe: Path) -> None:
    """So that a setting that a recipe may have from now on makes no finished cell worthless."""
    assert cell(recipe, "prune.criterion='magnitude'").key == cell(recipe).key


def committed(part: str) -> list[Path]:
    return sorted((BENCHMARKS / part / "cells").glob("*.json"))


def test_results_and_tables_of_earlier_versions_are_read(tmp_path: Path) -> None:
    parts = [folder.name for folder in BENCHMARKS.iterdir() if folder.is_dir()]
    files = [file for part in parts for file in committed(part)]
    assert len(files) == 84
    for file in files:
        result = CellResult.read(file)
        assert result is not None
        result.store(tmp_path)
        same_json(CellResult.path(tmp_path, file.stem), file)
    for part in parts:
        table = StudyTable.read(BENCHMARKS / part / "study.json")
        assert table is not None
        table.store(tmp_path)
        same_json(tmp_path / "study.json", BENCHMARKS / part / "study.json")


def same_json(first: Path, second: Path) -> None:
    """The same values, and keys in the same order."""
    texts = [path.read_text(encoding="utf-8") for path in (first, second)]
    assert json.loads(texts[0]) == json.loads(texts[1])
    assert re.findall('"[a-z_]+":', texts[0]) == re.findall('"[a-z_]+":', texts[1])


def test_a_result_is_read_back_unless_a_default_has_changed(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = cell(recipe)
    settings = settings_of(one.recipe, cell_stages(one.recipe))
    content = json.loads(committed("losses-mrpc")[0].read_text())
    content |= {"key": one.key, "seed": 0, "inputs": one.inputs, "settings": settings}
    file = CellResult.path(tmp_path, one.key)
    file.parent.mkdir()

    def read(**changes: object) -> CellResult | None:
        write_json(file, {**content, **changes})
        return read_cell(tmp_path, one, Reporter())

    def with_prune(**changes: object) -> dict[str, object]:
        prune = {key: value for key, value in {**settings["prune"], **changes}.items() if value is not None}
        return {**settings, "prune": prune}

    found = read()
    assert found is not None
    assert json.loads(json.dumps(found.to_json())) == content
    assert read(settings=with_prune(criterion=None)) is not None
    assert read(energy=1.0) is not None, "a later version may have more keys"
    assert capsys.readouterr().err == ""
    for changes in (
        {"settings": with_prune(criterion="random")},
        {"settings": with_prune(losses=[])},
        {"seed": 1},
        {"inputs": {}},
    ):
        assert read(**changes) is None
        assert "of other settings, or a default has changed" in capsys.readouterr().err
    assert read(format=0, dev=None) is None
    assert "written by another version of sdp: format: 0 is not the form of this version, 1" in capsys.readouterr().err
    assert read(teacher=None, energy=1.0) is None
    assert "damaged: teacher: input should be a valid string" in capsys.readouterr().err
    file.write_text(file.read_text()[:-20])
    assert read_cell(tmp_path, one, Reporter()) is None
    assert f"cell {one.key} runs again: {file}: damaged" in capsys.readouterr().err
    file.unlink()
    assert read_cell(tmp_path, one, Reporter()) is None
    assert capsys.readouterr().err == ""


def test_all_wrong_arms_are_in_one_error(recipe: Path) -> None:
    axes = [parse_vary("prune.sparsity=0.5,1.5"), parse_vary("prune.losses=kld,kdl,none+kld")]
    with pytest.raises(RecipeError) as caught:
        make_grid(recipe, axes, 3, [])
    headline, *lines = str(caught.value).splitlines()
    assert headline.startswith("3 problems in the recipes of this study")
    (sparsity,) = [line for line in lines if "less than 1 (got 1.5)" in line]
    assert sparsity.endswith("(arm prune.sparsity=1.5, prune.losses=kld and 2 more)")
    (unknown,) = [line for line in lines if "got 'kdl'" in line]
    assert unknown.endswith("(arm prune.sparsity=0.5, prune.losses=kdl and 1 more)")
    (alone,) = [line for line in lines if '"none" stands alone' in line]
    assert alone.endswith("(arm prune.sparsity=0.5, prune.losses=none+kld and 1 more)")


def test_a_mistake_of_the_recipe_itself_is_reported_once(recipe: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        make_grid(recipe, [parse_vary("prune.sparsity=0.5,0.6")], 1, ["prune.epochs=-1"])
    assert str(caught.value).count("prune.epochs") == 1
    assert "prune.sparsity" not in str(caught.value)
    with pytest.raises(RecipeError, match="no such recipe"):
        make_grid(recipe.with_name("other.toml"), [parse_vary("prune.sparsity=0.5,0.6")], 1, [])


STAGES_WITH_MODELS = ("1-finetune", "2-prune")


@pytest.mark.parametrize("vary", ["prune.sparsity=0.9,0.90", "arm=a{},b{prune.epochs=4.0}"])
def test_two_arms_of_one_recipe_are_refused(vary: str, recipe: Path) -> None:
    assert tomllib.loads(recipe.read_text())["prune"]["epochs"] == 4
    with pytest.raises(RecipeError, match="two arms are the same recipe"):
        make_grid(recipe, [parse_vary(vary)], 1, [])


def test_cells_that_go_on_from_different_prunings_are_different_cells(recipe: Path, finished: Path) -> None:
    # The key depends on the files of the folder, although its place is no setting.
    starts = [recipe.parent / name for name in ("one", "two")]
    for seed, run in enumerate(starts):
        shutil.copytree(finished / "runs/toy/2-prune", run / "2-prune")
        record = json.loads((run / "2-prune/stage.json").read_text())
        record["outputs"]["masks.safetensors"]["sha256"] = f"{seed}"
        (run / "2-prune/stage.json").write_text(json.dumps(record))
    arms = ",".join(f'{run.name}{{prune.start="{run}/2-prune"}}' for run in starts)
    cells = make_grid(recipe, [parse_vary(f"arm=none{{}},{arms}")], 1, ["prune.sparsity=0.9"]).cells
    assert ["start" in c.inputs for c in cells] == [False, True, True]
    assert len({c.key for c in cells}) == 3
    assert len({c.teacher for c in cells}) == 1


def test_cells_that_learn_from_different_networks_share_the_fine_tuning(recipe: Path, finished: Path) -> None:
    arms = "one{},two{}".format(*(f'{{prune.teacher="{finished}/runs/toy/{stage}"}}' for stage in STAGES_WITH_MODELS))
    losses = 'prune.losses=[{name="kld"}]'
    cells = make_grid(recipe, [parse_vary(f"arm=none{{}},{arms}")], 1, [losses]).cells
    assert ["teacher" in c.inputs for c in cells] == [False, True, True]
    assert len({c.key for c in cells}) == 3
    assert len({c.teacher for c in cells}) == 1
