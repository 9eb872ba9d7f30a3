"""From cells to the table: which arms are compared, over which seeds, and the remarks below it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sdp.statistics.seeds import paired_difference
from sdp.study.artifacts import CellResult, CellScores, SeedDifference
from sdp.study.cell import MOST_POINTS, thinned
from sdp.study.comparison import compare_arms, remarks
from sdp.study.grid import Grid, StudyCell, make_grid
from sdp.study.plots import metric_plot
from sdp.study.runner import Failure, Progress
from sdp.study.table import make_table, markdown
from sdp.study.vary import Axis, Baseline, parse_vary
from support.toy import write_project

AXES = [parse_vary("prune.losses=none,kld,cosine"), parse_vary("prune.sparsity=0.5,0.9")]
BASELINE = Baseline("prune.losses", "none")
COMMITTED = next((Path(__file__).parents[3] / "benchmarks/results/study/losses-mrpc/cells").glob("*.json"))
# Scores of three seeds; None: not finished.
SCORES: dict[tuple[str, ...], list[float | None]] = {
    ("none", "0.5"): [0.80, 0.82, 0.81],
    ("kld", "0.5"): [0.83, None, 0.82],
    ("cosine", "0.5"): [0.79, 0.83, 0.80],
    ("none", "0.9"): [0.60, None, None],
    ("kld", "0.9"): [None, 0.70, 0.71],
    ("cosine", "0.9"): [None, None, None],
}


@pytest.fixture
def grid(tmp_path: Path, toy_model: Path) -> Grid:
    return make_grid(write_project(tmp_path, toy_model), AXES, 3, [], baseline=BASELINE)


def result(cell: StudyCell, score: float) -> CellResult:
    """A committed result with the scores of a cell."""
    old = CellResult.read(COMMITTED)
    assert old is not None
    return old.model_copy(
        update={
            "key": cell.key,
            "metric": "accuracy",
            "dev": CellScores(dense=0.9, pruned=score),
            "test": CellScores(dense=0.88, pruned=score - 0.1),
            "teacher": f"seed {cell.seed}",
        }
    )


def results(grid: Grid) -> dict[str, CellResult]:
    scored = ((cell, SCORES[cell.arm][cell.seed]) for cell in grid.cells)
    return {cell.key: result(cell, score) for cell, score in scored if score is not None}


def test_arms_are_compared_with_the_baseline_where_all_else_is_equal(grid: Grid) -> None:
    assert grid.partner(("kld", "0.9")) == ("none", "0.9")
    assert grid.partner(("none", "0.9")) is None
    assert replace(grid, baseline=None).partner(("kld", "0.9")) is None
    assert replace(grid, baseline=Baseline("prune.sparsity", "0.5")).partner(("kld", "0.9")) == ("kld", "0.5")


def test_pairs_are_the_seeds_that_both_arms_have(grid: Grid) -> None:
    arms = {arm.labels: arm for arm in compare_arms(grid, results(grid))}
    assert list(arms) == [(loss, sparsity) for loss in ("none", "kld", "cosine") for sparsity in ("0.5", "0.9")]
    dev = {arm: found.splits["dev"] for arm, found in arms.items() if found.splits}
    two = paired_difference({0: 0.83, 2: 0.82}, {0: 0.80, 2: 0.81})
    three = paired_difference(dict(enumerate((0.79, 0.83, 0.80))), dict(enumerate((0.80, 0.82, 0.81))))
    assert two is not None
    assert three is not None
    assert dev["kld", "0.5"].difference == SeedDifference.of(two)
    assert dev["cosine", "0.5"].difference == SeedDifference.of(three)
    # Scored on two seeds, and on none that the baseline has.
    assert (dev["kld", "0.9"].pruned.n, dev["kld", "0.9"].difference) == (2, None)
    assert arms["cosine", "0.9"].splits == {}
    assert arms["cosine", "0.9"].sparsity is None
    assert arms["kld", "0.5"].splits["test"].pruned.mean == pytest.approx(0.725)


def test_p_is_corrected_over_the_whole_table(grid: Grid) -> None:
    arms = {arm.labels: arm for arm in compare_arms(grid, results(grid))}
    tested = sorted(
        (scores.difference.p, scores.holm)
        for arm in arms.values()
        if (scores := arm.splits.get("dev")) is not None and scores.difference is not None
    )
    assert len(tested) == 2
    (small, corrected), (large, last) = tested
    assert corrected == pytest.approx(2 * small)
    assert last == pytest.approx(max(large, 2 * small))


def warned(grid: Grid, found: dict[str, CellResult]) -> str:
    return "\n".join(remarks(grid, found, compare_arms(grid, found)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"code": {"prune": "2"}}, "2 different versions of the code"),
        ({"libraries": {"torch": "3.0"}}, "2 different library versions"),
        ({"machine": "other"}, "2 different machines"),
        ({"teacher": "other"}, "different fine-tuned models"),
    ],
)
def test_cells_that_were_made_differently_get_a_remark(changes: dict[str, Any], words: str, grid: Grid) -> None:
    found = results(grid)
    assert words not in warned(grid, found)
    first = next(iter(found))
    found[first] = found[first].model_copy(update=changes)
    assert words in warned(grid, found)


def test_few_seeds_and_missing_cells_get_a_remark(grid: Grid) -> None:
    text = warned(grid, results(grid))
    assert "With 3 seeds only large effects" in text
    assert "7 of 18 cells are not finished" in text
    first = replace(grid, cells=tuple(cell for cell in grid.cells if cell.seed == 0))
    assert "no interval and no test" in warned(first, results(first))


def test_the_markdown_holds_together_whatever_the_labels_are(grid: Grid) -> None:
    odd = replace(grid, axes=(Axis("a|b", AXES[0].values), AXES[1]), baseline=None)
    progress = Progress(results(grid), [Failure(grid.cells[-1], "the loss\n  is no number")])
    text = markdown(make_table(odd, progress))
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 2 + 6
    assert len({line.replace("\\|", "").count("|") for line in table}) == 1
    assert "p (Holm) |" not in text
    assert "* failed: a|b=cosine, prune.sparsity=0.9, seed 2: the loss is no number" in text


def test_sparsities_are_an_axis_and_named_arms_of_them_are_points(grid: Grid) -> None:
    progress = Progress(results(grid))
    numbers = metric_plot(make_table(grid, progress), AXES) or ""
    assert ">encoder sparsity</text>" in numbers
    # Labels in the order of the grid, which is what the table goes by.
    named = parse_vary("prune.sparsity=half{prune.sparsity=0.5},most{prune.sparsity=0.9}")
    arms = {"0.5": "half", "0.9": "most"}
    renamed = tuple(replace(cell, arm=(cell.arm[0], arms[cell.arm[1]])) for cell in grid.cells)
    axes = (AXES[0], named)
    points = metric_plot(make_table(Grid(axes, renamed), progress), axes) or ""
    assert ">encoder sparsity</text>" not in points
    assert ">none, half</text>" in points


@pytest.mark.parametrize("count", [1, 2, MOST_POINTS, MOST_POINTS + 1, 1000])
def test_a_thinned_curve_keeps_its_ends(count: int) -> None:
    found = thinned([{"step": step, "dev": 1.0} for step in range(count)])
    steps = [point["step"] for point in found]
    assert len(steps) == min(count, MOST_POINTS)
    assert (steps[0], steps[-1]) == (0, count - 1)
    assert steps == sorted(set(steps))
    assert found[0] == {"step": 0, "dev": 1.0}


def test_cells_where_the_metric_is_undefined_are_left_out_and_counted(grid: Grid) -> None:
    found = results(grid)
    (undefined,) = [cell.key for cell in grid.cells if cell.arm == ("kld", "0.5") and cell.seed == 2]
    evaluated = found[undefined].evaluated.model_copy(update={"better_than_constant": False})
    changes = {"dev": CellScores(dense=0.9, pruned=None), "evaluated": evaluated}
    found[undefined] = found[undefined].model_copy(update=changes)
    arms = {arm.labels: arm for arm in compare_arms(grid, found)}
    assert list(arms["kld", "0.5"].splits["dev"].values) == [0]
    assert list(arms["kld", "0.5"].splits["test"].values) == [0, 2]
    lines = remarks(grid, found, list(arms.values()))
    assert f"The metric is undefined on dev in 1 of {len(found)} cells; they are left out." in lines
    assert any(line.startswith("In 1 cell the dense model is not shown to be better than one answer") for line in lines)
