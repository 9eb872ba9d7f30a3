"""Choosing a sparsity for each matrix: what fits the recipe, and errors where nothing does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdp.errors import RecipeError
from sdp.pipeline.artifacts.allocation import AllocatedLayer, AllocationTimes, PruneAllocation
from sdp.pruning.allocated import allocation_line, within_sparsity, within_time
from sdp.pruning.allocation import sparsity_levels
from sdp.pruning.layer_errors import LayerLoss
from sdp.pruning.masks import kept_count
from sdp.pruning.measured_times import MeasuredTimes
from sdp.recipe.sections import Recipe
from sdp_onnx.export.kernel_choice import BREAK_EVEN_DENSITY, LARGEST_MEAN_DENSITY

LEVELS = sparsity_levels(1.0)
ELEMENTS = {"a": 4000, "b": 4000, "c": 16000}
# The second matrix is worth more than the others.
LOSSES = {
    name: LayerLoss(tuple(factor * level**2 for level in LEVELS), 1)
    for name, factor in zip("abc", (1, 5, 1), strict=True)
}


def recipe(precision: str = "int8", **prune: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "toy",
            "model": {"name": "none"},
            "task": {"name": "sst2"},
            "prune": {"scope": "allocated", **prune},
            "export": {"precision": precision},
        }
    )


def times(dense: float, rest: float = 1.0, each: float = 1.0) -> MeasuredTimes:
    """Products that take time by weights that are left, above a fifth of their dense time."""
    by_level = tuple(each * (0.2 + 0.8 * (1 - level)) for level in LEVELS)
    return MeasuredTimes("batch 1, 16 tokens", 2, dense, rest, dict.fromkeys("abc", by_level))


def test_a_share_of_all_weights_is_pruned_and_what_is_worth_more_keeps_more() -> None:
    chosen = within_sparsity(recipe(sparsity=0.8).prune, LEVELS, ELEMENTS, LOSSES)
    kept = [kept_count(count, LEVELS[level]) for count, level in zip(ELEMENTS.values(), chosen, strict=True)]
    assert 0.17 * 24000 < sum(kept) <= 0.2 * 24000
    # The cap may be the sparsity itself, however a matrix is rounded.
    prune = recipe(sparsity=0.7, max_layer_sparsity=0.7, pattern="1x4").prune
    odd = dict.fromkeys("abc", 44)
    capped = sparsity_levels(0.7)
    few = {name: LayerLoss(loss.errors[: len(capped)], 1) for name, loss in LOSSES.items()}
    assert within_sparsity(prune, capped, odd, few) == [len(capped) - 1] * 3
    assert chosen[1] < chosen[0]
    # A weight of the largest matrix changes its error least.
    assert chosen[0] < chosen[2]


def test_more_zeros_than_the_sparsest_level_has_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"prune\.sparsity: 0\.995 cannot be reached: .* is 0\.988"):
        within_sparsity(recipe(sparsity=0.995).prune, LEVELS, ELEMENTS, LOSSES)


@pytest.mark.parametrize("target", [3.0, 4.5])
def test_the_expected_speed_up_is_the_target_or_a_little_more(target: float) -> None:
    measured = times(dense=9.0)
    chosen = within_time(recipe(target_speedup=target), measured, LEVELS, ELEMENTS, LOSSES)
    spent = sum(measured.layers[name][level] for name, level in zip("abc", chosen, strict=True))
    assert target <= measured.speedup(spent) < 1.1 * target
    assert chosen[1] < chosen[0]


def test_an_impossible_speed_up_names_the_fastest_one() -> None:
    measured = times(dense=9.0)
    fastest = measured.speedup(3 * measured.layers["a"][-1])
    with pytest.raises(RecipeError) as caught:
        within_time(recipe("fp32", target_speedup=7.0), measured, LEVELS, ELEMENTS, LOSSES)
    message = str(caught.value)
    assert "prune.target_speedup = 7: cannot be reached" in message
    assert f"98.8% zeros in every matrix the file is {fastest:.2f} times as fast" in message
    assert f"Set at most {np.floor(10 * fastest) / 10:g}" in message
    assert 'export.precision = "int8"' in message
    within_time(recipe(target_speedup=np.floor(10 * fastest) / 10), measured, LEVELS, ELEMENTS, LOSSES)


def test_a_speed_up_that_int8_has_without_a_zero_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"needs no zeros: int8 alone is 2\.25 times"):
        within_time(recipe(target_speedup=2.0), times(dense=9.0), LEVELS, ELEMENTS, LOSSES)


def test_fp32_is_pruned_until_the_exporter_uses_the_operators() -> None:
    """Dense, the model is faster than the target; the exporter would leave it to onnxruntime."""
    chosen = within_time(recipe("fp32", target_speedup=1.5), times(dense=9.0), LEVELS, ELEMENTS, LOSSES)
    counted = ((1 - LEVELS[level], count) for level, count in zip(chosen, ELEMENTS.values(), strict=True))
    assert sum(min(left, BREAK_EVEN_DENSITY) * count for left, count in counted) < LARGEST_MEAN_DENSITY * 24000
    capped = sparsity_levels(0.45)
    few = {name: LayerLoss(loss.errors[: len(capped)], 1) for name, loss in LOSSES.items()}
    measured = MeasuredTimes("c", 1, 9.0, 1.0, dict.fromkeys("abc", tuple(1 - 0.1 * i for i in range(len(capped)))))
    with pytest.raises(RecipeError, match=r"45\.0% zeros in every matrix the exporter leaves the model dense"):
        within_time(recipe("fp32", target_speedup=1.5, max_layer_sparsity=0.5), measured, capped, ELEMENTS, few)


def test_the_choice_is_stored_and_shown_in_a_line(tmp_path: Path) -> None:
    layers = {
        "a": AllocatedLayer(elements=100, sparsity=0.5, error=0.1, ms=0.5, ms_dense=1.0),
        "b": AllocatedLayer(elements=300, sparsity=0.9, error=0.2, ms=0.1, ms_dense=1.0),
    }
    own = AllocationTimes(case="batch 1, 16 tokens", threads=2, dense=9.0, rest=1.0, expected_speedup=5.6)
    PruneAllocation(times=own, layers=layers).store(tmp_path)
    read = PruneAllocation.read(tmp_path / PruneAllocation.FILE)
    assert read is not None
    assert read.sparsities == {"a": 0.5, "b": 0.9}
    assert read.sparsity == pytest.approx(0.8)
    assert allocation_line(read) == (
        "allocated: 50% to 90.0% zeros in 2 matrices, 80.0% in all; expected 5.60 times as fast as the dense file's "
        "9.0 ms (batch 1, 16 tokens, 2 threads)"
    )
