"""Fisher blocks against dense matrices written out, and against the closed form of a quadratic loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sdp.pruning import fisher
from sdp.pruning.fisher import BLOCK, GROUPED_BLOCK, obs_group_scores, obs_group_update, obs_scores, obs_update


def sample(shape: tuple[int, int], count: int, scale: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(shape, generator=generator)
    mask = torch.rand(shape, generator=generator) > 0.6
    return weight, torch.randn(count, weight.numel(), generator=generator) * scale, mask


def dense_blocks(gradients: torch.Tensor, dampening: float, size: int = BLOCK) -> list[tuple[slice, np.ndarray]]:
    """F of each block, summed up gradient by gradient."""
    columns = gradients.double().numpy()
    blocks = []
    for start in range(0, columns.shape[1], size):
        part = slice(start, min(start + size, columns.shape[1]))
        matrix = dampening * np.eye(part.stop - part.start)
        for row in columns:
            matrix += np.outer(row[part], row[part]) / len(columns)
        blocks.append((part, matrix))
    return blocks


@pytest.mark.parametrize(
    ("count", "scale", "dampening"), [(1, 1.0, 0.1), (8, 1e-2, 1e-3), (32, 1e-3, 1e-7), (80, 1, 1)]
)
@pytest.mark.parametrize("shape", [(5, 10), (7, 19), (3, 11), (16, 50)])
def test_scores_and_update_against_dense_inverses(
    shape: tuple[int, int], count: int, scale: float, dampening: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fisher, "_CHUNK", 2)
    weight, gradients, mask = sample(shape, count, scale)
    flat, kept = weight.reshape(-1).double().numpy(), mask.reshape(-1).numpy()
    scores, changes = np.zeros(flat.size), np.zeros(flat.size)
    for part, matrix in dense_blocks(gradients, dampening):
        inverse = np.linalg.inv(matrix)
        scores[part] = flat[part] ** 2 / (2 * np.diag(inverse))
        pruned = np.flatnonzero(~kept[part])
        within = np.linalg.inv(inverse[np.ix_(pruned, pruned)])
        changes[part] = -inverse[:, pruned] @ within @ flat[part][pruned]
    # The formula also takes the pruned weights to zero; those are left to the mask.
    np.testing.assert_allclose(changes[~kept], -flat[~kept], rtol=1e-6)
    changes[~kept] = 0
    found = obs_update(weight, gradients, mask, dampening)
    assert found.shape == weight.shape
    assert found.dtype == weight.dtype
    np.testing.assert_allclose(found.reshape(-1).numpy(), changes, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(obs_scores(weight, gradients, dampening).reshape(-1).numpy(), scores, rtol=1e-5)


def test_a_quadratic_loss_rises_by_the_score_and_the_update_finds_its_minimum() -> None:
    """L(w) = (w - w*)^T F (w - w*) / 2 at w = w*: the best w with some weights at zero has a closed form."""
    weight, gradients, mask = sample((1, 40), 12, 1.0)
    ((_, matrix),) = dense_blocks(gradients, 0.05)
    best = weight.reshape(-1).double().numpy()

    def loss(values: np.ndarray) -> float:
        return float((values - best) @ matrix @ (values - best)) / 2

    scores = obs_scores(weight, gradients, 0.05).reshape(-1)
    for index in range(40):
        single = torch.ones(1, 40, dtype=torch.bool)
        single[0, index] = False
        after = ((weight + obs_update(weight, gradients, single, 0.05)) * single).reshape(-1).double().numpy()
        assert loss(after) == pytest.approx(float(scores[index]), rel=1e-4)
    kept = mask.reshape(-1).numpy()
    # dL/dw_K = 0 with w_Q = 0.
    minimum = np.zeros(40)
    right = matrix[np.ix_(kept, kept)] @ best[kept] + matrix[np.ix_(kept, ~kept)] @ best[~kept]
    minimum[kept] = np.linalg.solve(matrix[np.ix_(kept, kept)], right)
    found = ((weight + obs_update(weight, gradients, mask, 0.05)) * mask).reshape(-1).double().numpy()
    np.testing.assert_allclose(found, minimum, rtol=1e-4, atol=1e-5)
    assert loss(found) < loss(best * kept)


def test_without_curvature_it_is_magnitude_without_an_update() -> None:
    weight, gradients, mask = sample((4, 30), 3, 0.0)
    torch.testing.assert_close(obs_scores(weight, gradients), weight.square() * fisher.DAMPENING / 2)
    assert not obs_update(weight, gradients, mask).count_nonzero()


def minimum_without(matrix: np.ndarray, best: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """The minimum of (w - w*)^T F (w - w*) / 2 under w = 0 where it is not kept, from dL/dw_K = 0."""
    minimum = np.zeros(len(best))
    if kept.any():
        inside, across = matrix[np.ix_(kept, kept)], matrix[np.ix_(kept, ~kept)]
        minimum[kept] = np.linalg.solve(inside, inside @ best[kept] + across @ best[~kept])
    return minimum


def quadratic(matrix: np.ndarray, best: np.ndarray, values: np.ndarray) -> float:
    return float((values - best) @ matrix @ (values - best)) / 2


def fours(shape: tuple[int, int], seed: int, share: float) -> torch.Tensor:
    """A mask of blocks of four consecutive inputs."""
    kept = torch.rand(shape[0], shape[1] // 4, generator=torch.Generator().manual_seed(seed)) > share
    return kept.repeat_interleave(4, dim=1)


@pytest.mark.parametrize("shape", [(1, 32), (3, 32), (5, 12), (7, 20), (2, 96)])
@pytest.mark.parametrize(("count", "scale", "dampening"), [(1, 1.0, 0.1), (32, 1e-2, 1e-7), (80, 1.0, 1.0)])
def test_groups_against_the_constrained_minimum(
    shape: tuple[int, int], count: int, scale: float, dampening: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each block of four by itself gives its score; many at once give the update. Fisher blocks run across rows."""
    monkeypatch.setattr(fisher, "_CHUNK", 2)
    weight, gradients, _ = sample(shape, count, scale)
    flat = weight.reshape(-1).double().numpy()
    scores = obs_group_scores(weight, gradients, 4, dampening)
    assert scores.dtype == torch.float32
    assert scores.shape == (shape[0], shape[1] // 4)
    mask = fours(shape, 3, 0.6)
    update = obs_group_update(weight, gradients, mask, dampening)
    assert update.shape == weight.shape
    assert not update[~mask].count_nonzero()
    after = ((weight + update) * mask).reshape(-1).double().numpy()
    for part, matrix in dense_blocks(gradients, dampening, GROUPED_BLOCK):
        best = flat[part]
        for first in range(0, len(best), 4):
            kept = np.ones(len(best), dtype=bool)
            kept[first : first + 4] = False
            rise = quadratic(matrix, best, minimum_without(matrix, best, kept))
            assert float(scores.reshape(-1)[(part.start + first) // 4]) == pytest.approx(rise, rel=1e-4)
        expected = minimum_without(matrix, best, mask.reshape(-1).numpy()[part])
        np.testing.assert_allclose(after[part], expected, rtol=1e-4, atol=1e-5)


def test_a_group_of_one_is_a_single_weight() -> None:
    weight, gradients, mask = sample((1, GROUPED_BLOCK), 12, 1.0)
    torch.testing.assert_close(obs_group_scores(weight, gradients, 1, 0.05), obs_scores(weight, gradients, 0.05))
    torch.testing.assert_close(
        obs_group_update(weight, gradients, mask, 0.05), obs_update(weight, gradients, mask, 0.05)
    )


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 40), share=st.floats(0, 1), scale=st.floats(1e-3, 10))
def test_the_update_of_groups_never_makes_it_worse(seed: int, count: int, share: float, scale: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(2, 32, generator=generator, dtype=torch.float64)
    gradients = torch.randn(count, 64, generator=generator, dtype=torch.float64) * scale
    mask = fours((2, 32), seed, share)
    after = ((weight + obs_group_update(weight, gradients, mask, 1e-3)) * mask).reshape(-1).numpy()
    best, kept = weight.reshape(-1).numpy(), mask.reshape(-1).numpy()
    for part, matrix in dense_blocks(gradients, 1e-3, GROUPED_BLOCK):
        loss = quadratic(matrix, best[part], after[part])
        assert loss <= quadratic(matrix, best[part], (best * kept)[part]) * (1 + 1e-9)
        # No other weights with this mask are better.
        other = after[part] + np.random.default_rng(seed).normal(size=32) * 0.1 * kept[part]
        assert loss <= quadratic(matrix, best[part], other) * (1 + 1e-9)


def test_a_block_of_four_is_more_than_its_single_weights() -> None:
    """Two weights that can stand in for each other cost nothing alone, and much together."""
    weight = torch.zeros(1, 32)
    weight[0, :2] = 1.0
    gradients = torch.zeros(1, 32)
    gradients[0, :2] = 1.0
    single = obs_scores(weight, gradients, 1e-6)[0, :4].sum()
    together = obs_group_scores(weight, gradients, 4, 1e-6)[0, 0]
    assert float(single) < 1e-5
    assert float(together) == pytest.approx(2.0, rel=1e-4)
