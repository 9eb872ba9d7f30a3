"""Fisher blocks against dense matrices written out, and against the closed form of a quadratic loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sdp.pruning import fisher
from sdp.pruning.fisher import BLOCK, obs_scores, obs_update


def sample(shape: tuple[int, int], count: int, scale: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(shape, generator=generator)
    mask = torch.rand(shape, generator=generator) > 0.6
    return weight, torch.randn(count, weight.numel(), generator=generator) * scale, mask


def dense_blocks(gradients: torch.Tensor, dampening: float) -> list[tuple[slice, np.ndarray]]:
    """F of each block, summed up gradient by gradient."""
    columns = gradients.double().numpy()
    blocks = []
    for start in range(0, columns.shape[1], BLOCK):
        part = slice(start, min(start + BLOCK, columns.shape[1]))
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
