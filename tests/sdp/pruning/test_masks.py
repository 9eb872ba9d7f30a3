"""Masks against NumPy's sort, with ties, at every sparsity."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sdp.pruning.masks import (
    apply_masks,
    clear_pruned,
    kept_count,
    load_masks,
    mask_bits,
    save_masks,
    select_masks,
    sparsity_of,
)
from sdp.pruning.scores import magnitude_scores


def naive(scores: np.ndarray, keep: int) -> np.ndarray:
    """A stable sort, highest first: earlier positions win ties."""
    mask = np.zeros(scores.size, dtype=bool)
    mask[np.argsort(-scores.reshape(-1), kind="stable")[:keep]] = True
    return mask.reshape(scores.shape)


@pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_layer_and_global_scope_against_numpy(sparsity: float) -> None:
    generator = np.random.default_rng(0)
    arrays = {
        "a": generator.normal(size=(13, 7)).astype(np.float32),
        "b": generator.normal(size=(5, 11)).astype(np.float32) * 9,
    }
    scores = {name: torch.from_numpy(np.abs(array)) for name, array in arrays.items()}
    by_layer = select_masks(scores, sparsity, "layer")
    for name, array in arrays.items():
        assert np.array_equal(by_layer[name].numpy(), naive(np.abs(array), kept_count(array.size, sparsity)))
    together = np.concatenate([np.abs(array).reshape(-1) for array in arrays.values()])
    expected = naive(together, kept_count(together.size, sparsity))
    chosen = select_masks(scores, sparsity, "global")
    assert np.array_equal(np.concatenate([chosen[name].numpy().reshape(-1) for name in arrays]), expected)
    assert sparsity_of(chosen) == pytest.approx(sparsity, abs=1 / together.size)


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 0.99), min_size=1, max_size=6).map(sorted),
    st.sampled_from(["layer", "global"]),
    st.integers(0, 99),
)
def test_masks_only_shrink_while_sparsity_rises(levels: list[float], scope: str, seed: int) -> None:
    """Even when training makes kept weights smaller than any pruned one was."""
    generator = torch.Generator().manual_seed(seed)
    weights = {name: torch.randn(6, 5, generator=generator) for name in "ab"}
    masks = {name: torch.ones(6, 5, dtype=torch.bool) for name in "ab"}
    for level in levels:
        following = select_masks(magnitude_scores(weights, masks), level, scope)
        assert all(bool((following[name] <= masks[name]).all()) for name in "ab")
        masks = following
        apply_masks(weights, masks)
        weights = {name: weight * torch.rand(6, 5, generator=generator) for name, weight in weights.items()}


def test_applied_masks_leave_plain_zeros_whatever_was_there() -> None:
    weight = torch.tensor([[float("nan"), -1.0, float("inf"), 2.0]])
    apply_masks({"w": weight}, {"w": torch.tensor([[False, False, False, True]])})
    assert weight.numpy().tobytes() == np.array([0, 0, 0, 2], dtype=np.float32).tobytes()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_bits_clear_to_plain_zeros_in_every_width_and_layout(dtype: torch.dtype) -> None:
    values = torch.tensor([[float("nan"), -1.0], [float("-inf"), -0.0], [2.5, -3.5]], dtype=dtype)
    mask = torch.tensor([[False, True], [False, False], [True, False]])
    expected = torch.tensor([[0.0, -1.0], [0.0, 0.0], [2.5, 0.0]], dtype=dtype)
    for tensor, kept, wanted in ((values.clone(), mask, expected), (values.clone().T, mask.T, expected.T)):
        clear_pruned(tensor, mask_bits(kept, dtype))
        assert torch.equal(tensor, wanted)
        assert not torch.signbit(tensor[~kept]).any()


def test_masks_survive_the_disk(tmp_path) -> None:
    masks = {"x.weight": torch.rand(5, 3) > 0.5, "y.weight": torch.zeros(2, 2, dtype=torch.bool)}
    save_masks(masks, tmp_path)
    again = load_masks(tmp_path)
    assert set(again) == set(masks)
    assert all(again[name].dtype == torch.bool and torch.equal(again[name], masks[name]) for name in masks)


@pytest.mark.parametrize("scope", ["layer", "global"])
@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.9])
def test_blocks_of_four_inputs_against_numpy(scope: str, sparsity: float) -> None:
    generator = np.random.default_rng(0)
    arrays = {"a": generator.random((5, 12)).astype(np.float32), "b": generator.random((3, 40)).astype(np.float32)}
    sums = {name: array.reshape(len(array), -1, 4).sum(axis=2) for name, array in arrays.items()}
    masks = select_masks({name: torch.from_numpy(a) for name, a in arrays.items()}, sparsity, scope, "1x4")
    together = np.concatenate([s.reshape(-1) for s in sums.values()])
    for name, block_sums in sums.items():
        kept = masks[name].numpy().reshape(*block_sums.shape, 4)
        assert (kept.all(axis=2) == kept.any(axis=2)).all()
        pool = block_sums if scope == "layer" else together
        limit = np.sort(pool.reshape(-1))[::-1][: kept_count(pool.size, sparsity)].min(initial=np.inf)
        np.testing.assert_array_equal(kept.any(axis=2), block_sums >= limit)


def test_blocks_that_are_pruned_stay_pruned() -> None:
    weights = {"a": torch.randn(8, 16, generator=torch.Generator().manual_seed(0))}
    masks = {"a": torch.ones(8, 16, dtype=torch.bool)}
    for sparsity in (0.25, 0.5, 0.75):
        before = masks["a"]
        masks = select_masks(magnitude_scores(weights, masks), sparsity, "layer", "1x4")
        assert not (masks["a"] & ~before).any()
        apply_masks(weights, masks)
        # Weights grow back in training; a mask must not let them in again.
        weights["a"] = weights["a"] + 5
        assert sparsity_of(masks) == sparsity


def groups_of(masks: dict[str, torch.Tensor]) -> torch.Tensor:
    """Kept weights of each group of four, all tensors after one another."""
    return torch.cat([mask.unflatten(-1, (-1, 4)).sum(dim=-1).reshape(-1) for mask in masks.values()])


@settings(deadline=None)
@given(
    st.lists(st.floats(0, 0.5), max_size=4).map(sorted),
    st.sampled_from(["layer", "global"]),
    st.integers(0, 99),
    st.booleans(),
)
def test_two_of_four_at_the_end_and_never_fewer_before(levels: list[float], scope: str, seed: int, tied: bool) -> None:
    generator = torch.Generator().manual_seed(seed)
    weights = {name: torch.randn(5, 12, generator=generator) for name in "ab"}
    if tied:
        weights = {name: weight.round() for name, weight in weights.items()}
    masks = {name: torch.ones(5, 12, dtype=torch.bool) for name in "ab"}
    for level in [*levels, 0.5]:
        following = select_masks(magnitude_scores(weights, masks), level, scope, "2:4")
        assert all(bool((following[name] <= masks[name]).all()) for name in "ab")
        counts = [int(mask.sum()) for mask in following.values()]
        assert sum(counts) == kept_count(120, level) if scope == "global" else counts == [kept_count(60, level)] * 2
        assert groups_of(following).min() >= 2
        masks = following
        apply_masks(weights, masks)
        weights = {name: weight * torch.rand(5, 12, generator=generator) for name, weight in weights.items()}
    assert groups_of(masks).unique().tolist() == [2]


def test_the_two_lowest_of_each_group_go_first() -> None:
    row = torch.tensor([[9.0, 8.0, 7.0, 6.0, 1.0, 2.0, 3.0, 4.0]])
    chosen = {share: select_masks({"a": row}, share, "layer", "2:4")["a"][0].tolist() for share in (0.25, 0.375, 0.5)}
    # 6 and 7 go before 3 and 4: those are the best two of their group.
    assert chosen[0.25] == [True, True, True, True, False, False, True, True]
    assert chosen[0.375] == [True, True, True, False, False, False, True, True]
    assert chosen[0.5] == [True, True, False, False, False, False, True, True]


@settings(deadline=None)
@given(st.floats(0, 0.99), st.floats(0, 1), st.integers(0, 99), st.sampled_from(["unstructured", "1x4"]))
def test_a_limit_on_every_matrix_against_numpy(sparsity: float, share: float, seed: int, pattern: str) -> None:
    limit = sparsity + (1 - sparsity) * share
    generator = np.random.default_rng(seed)
    # One matrix is so small in every weight that a global threshold would leave nothing of it.
    arrays = {name: generator.random((6, 20)).astype(np.float32) * scale for name, scale in (("a", 1e-3), ("b", 1.0))}
    scores = {name: torch.from_numpy(array) for name, array in arrays.items()}
    masks = select_masks(scores, sparsity, "global", pattern, limit)
    width = 4 if pattern == "1x4" else 1
    units = {name: array.reshape(6, -1, width).sum(axis=2) for name, array in arrays.items()}
    count = sum(unit.size for unit in units.values())
    kept = {name: masks[name].numpy().reshape(6, -1, width).any(axis=2) for name in arrays}
    assert sum(int(own.sum()) for own in kept.values()) == kept_count(count, sparsity)
    # A naive choice: the best of each matrix up to its floor, then the best of all that is left.
    floors = {name: naive(unit, unit.size - int(np.floor(unit.size * limit))) for name, unit in units.items()}
    ranked = np.concatenate([np.where(floors[name], np.inf, unit).reshape(-1) for name, unit in units.items()])
    expected = naive(ranked, kept_count(count, sparsity))
    assert np.array_equal(np.concatenate([own.reshape(-1) for own in kept.values()]), expected)


def test_a_limit_brings_no_pruned_weight_back() -> None:
    pruned = torch.full((4, 8), -torch.inf)
    pruned[0, 0] = 1.0
    scores = {"a": pruned, "b": torch.rand(4, 8, generator=torch.Generator().manual_seed(0)) + 2}
    masks = select_masks(scores, 0.6, "global", max_layer_sparsity=0.7)
    assert masks["a"].nonzero().tolist() == [[0, 0]]
