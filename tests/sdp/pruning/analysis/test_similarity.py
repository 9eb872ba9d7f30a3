"""Likeness of representations: CKA against its form with Gram matrices, cosine against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cosine
from scipy.stats import ortho_group

from sdp.pruning.analysis.representations import agreement, linear_cka, mean_cosine


def hsic_cka(first: np.ndarray, second: np.ndarray) -> float:
    """HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)) with linear kernels, HSIC(K, L) = tr(K H L H)."""
    count = len(first)
    centre = np.eye(count) - np.ones((count, count)) / count
    kernels = [rows.astype(np.float64) @ rows.T.astype(np.float64) for rows in (first, second)]

    def hsic(one: np.ndarray, other: np.ndarray) -> float:
        return float(np.trace(one @ centre @ other @ centre))

    both, one, other = hsic(*kernels), hsic(kernels[0], kernels[0]), hsic(kernels[1], kernels[1])
    return both / np.sqrt(one * other)


def pair(seed: int, count: int = 12, widths: tuple[int, int] = (6, 4)) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    first = generator.normal(size=(count, widths[0])) + 2
    second = first[:, : widths[1]] * 0.5 + generator.normal(size=(count, widths[1])) - 1
    return first.astype(np.float32), second.astype(np.float32)


@pytest.mark.parametrize("count", [2, 5, 40])
def test_cka_is_that_of_gram_matrices(count: int) -> None:
    first, second = pair(1, count)
    assert linear_cka(first, second) == pytest.approx(hsic_cka(first, second), rel=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 100))
def test_cka_does_not_see_rotation_scale_and_shift(seed: int, scale: float) -> None:
    first, second = pair(seed)
    value = linear_cka(first, second)
    assert value is not None
    assert -1e-9 <= value <= 1 + 1e-9
    rotation = ortho_group.rvs(6, random_state=seed)
    moved = (scale * first @ rotation + 3).astype(np.float64)
    assert linear_cka(moved, second) == pytest.approx(value, abs=1e-4)
    assert linear_cka(second, first) == pytest.approx(value, abs=1e-9)
    assert linear_cka(first, moved) == pytest.approx(1, abs=1e-4)


def test_cka_of_a_constant_is_none() -> None:
    first, _ = pair(2)
    assert linear_cka(first, np.ones((12, 3), dtype=np.float32)) is None


def test_mean_cosine_is_scipys_and_zero_rows_count_as_zero() -> None:
    first, second = pair(3, widths=(4, 4))
    expected = [1 - cosine(x.astype(np.float64), y.astype(np.float64)) for x, y in zip(first, second, strict=True)]
    assert mean_cosine(first, second) == pytest.approx(np.mean(expected), rel=1e-9)
    first[0] = 0
    expected[0] = 0.0
    assert mean_cosine(first, second) == pytest.approx(np.mean(expected), rel=1e-9)


def test_agreement_counts_equal_classes() -> None:
    first = np.array([[1, 2], [3, 0], [0, 9], [5, 1]], dtype=np.float32)
    second = np.array([[0, 7], [0, 3], [1, 2], [8, 1]], dtype=np.float32)
    assert agreement(first, second) == 0.75
