"""The cross-correlation loss against naive loops in float64, and its invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sdp.losses.cross_correlation import EPSILON, cross_correlation_loss, cross_correlation_matrix


def features(rows: int, width: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32))


def naive_matrix(student: torch.Tensor, teacher: torch.Tensor) -> list[list[float]]:
    """Pearson correlations one by one, with plain Python sums."""
    s, t = student.double().tolist(), teacher.double().tolist()
    rows, width = len(s), len(s[0])

    def column(z: list[list[float]], i: int) -> list[float]:
        values = [row[i] for row in z]
        mean = sum(values) / rows
        deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / rows + EPSILON)
        return [(value - mean) / deviation for value in values]

    return [
        [sum(a * b for a, b in zip(column(s, i), column(t, j), strict=True)) / rows for j in range(width)]
        for i in range(width)
    ]


def naive_loss(student: torch.Tensor, teacher: torch.Tensor, off_diagonal: float) -> float:
    matrix = naive_matrix(student, teacher)
    width = len(matrix)
    on = sum((1 - matrix[i][i]) ** 2 for i in range(width))
    off = sum(matrix[i][j] ** 2 for i in range(width) for j in range(width) if i != j)
    return (on + off_diagonal * off) / width


@pytest.mark.parametrize(("rows", "width"), [(2, 1), (3, 5), (64, 7), (17, 32)])
def test_against_naive_loops(rows: int, width: int) -> None:
    student, teacher = features(rows, width, 1), features(rows, width, 2)
    matrix = cross_correlation_matrix(student, teacher)
    assert torch.allclose(matrix.double(), torch.tensor(naive_matrix(student, teacher), dtype=torch.float64), atol=1e-5)
    loss = float(cross_correlation_loss(student, teacher, 0.005))
    assert loss == pytest.approx(naive_loss(student, teacher, 0.005), rel=1e-4)


def test_the_matrix_is_numpys_correlation() -> None:
    student, teacher = features(50, 4, 3), features(50, 4, 4)
    expected = np.corrcoef(student.numpy().T, teacher.numpy().T)[:4, 4:]
    assert np.allclose(cross_correlation_matrix(student, teacher).numpy(), expected, atol=1e-5)


def test_equal_features_have_no_diagonal_loss() -> None:
    teacher = features(200, 6, 5)
    assert float(cross_correlation_loss(teacher.clone(), teacher, 0.0)) == pytest.approx(0, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(0.1, 50), shift=st.floats(-20, 20), seed=st.integers(0, 1000), off_diagonal=st.floats(0, 1))
def test_scale_and_shift_of_a_feature_do_not_matter(scale: float, shift: float, seed: int, off_diagonal: float) -> None:
    student, teacher = features(40, 5, seed), features(40, 5, seed + 1)
    before = float(cross_correlation_loss(student, teacher, off_diagonal))
    after = float(cross_correlation_loss(student * scale + shift, teacher, off_diagonal))
    assert after == pytest.approx(before, rel=2e-3, abs=1e-4)


def test_unrelated_features_have_the_floor_of_the_docstring() -> None:
    """E[C_ij^2] is about 1/N for unrelated features."""
    rows, width = 500, 40
    off = cross_correlation_matrix(features(rows, width, 6), features(rows, width, 7)).square().mean()
    assert float(off) == pytest.approx(1 / rows, rel=0.15)


def test_the_gradient_is_that_of_finite_differences_and_the_teacher_gets_none() -> None:
    student = features(9, 4, 8).requires_grad_()
    teacher = features(9, 4, 9).requires_grad_()
    cross_correlation_loss(student, teacher, 0.1).backward()
    assert teacher.grad is None
    step = 1e-4
    for row, column in [(0, 0), (4, 2), (8, 3)]:
        moved = [student.detach().clone() for _ in range(2)]
        moved[0][row, column] += step
        moved[1][row, column] -= step
        slope = (naive_loss(moved[0], teacher.detach(), 0.1) - naive_loss(moved[1], teacher.detach(), 0.1)) / (2 * step)
        assert float(student.grad[row, column]) == pytest.approx(slope, rel=0.02, abs=1e-5)


def test_constant_features_give_finite_gradients() -> None:
    student = torch.ones(8, 3, requires_grad=True)
    cross_correlation_loss(student, features(8, 3, 10), 0.005).backward()
    assert torch.isfinite(student.grad).all()


def test_half_precision_features_are_compared_in_float32() -> None:
    student, teacher = features(64, 8, 11).bfloat16(), features(64, 8, 12).bfloat16()
    matrix = cross_correlation_matrix(student, teacher)
    assert matrix.dtype == torch.float32
    assert torch.equal(matrix, cross_correlation_matrix(student.float(), teacher.float()))


def test_autocast_does_not_reach_the_product() -> None:
    student, teacher = features(64, 8, 13), features(64, 8, 14)
    expected = cross_correlation_matrix(student, teacher)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(cross_correlation_matrix(student, teacher), expected)
