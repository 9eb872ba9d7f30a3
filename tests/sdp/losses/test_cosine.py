"""The cosine loss against naive loops in float64, and its invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sdp.losses.cosine import cosine_loss, row_cosines


def features(rows: int, width: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32))


def naive(student: torch.Tensor, teacher: torch.Tensor) -> float:
    distances = []
    for s, t in zip(student.double().tolist(), teacher.double().tolist(), strict=True):
        product = sum(a * b for a, b in zip(s, t, strict=True))
        distances.append(1 - product / math.sqrt(sum(a * a for a in s)) / math.sqrt(sum(b * b for b in t)))
    return sum(distances) / len(distances)


@pytest.mark.parametrize(("rows", "width"), [(1, 1), (1, 7), (5, 3), (64, 33)])
def test_against_naive_loops(rows: int, width: int) -> None:
    student, teacher = features(rows, width, 1), features(rows, width, 2)
    assert float(cosine_loss(student, teacher)) == pytest.approx(naive(student, teacher), rel=1e-5, abs=1e-6)


def test_closed_forms() -> None:
    right = torch.tensor([[2.0, 0.0]])
    for other, expected in (([5.0, 0.0], 0.0), ([0.0, 3.0], 1.0), ([-0.1, 0.0], 2.0), ([1.0, 1.0], 1 - 0.5**0.5)):
        assert float(cosine_loss(right, torch.tensor([other]))) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 1000))
def test_the_length_of_a_row_does_not_matter(scale: float, seed: int) -> None:
    student, teacher = features(6, 5, seed), features(6, 5, seed + 1)
    assert float(cosine_loss(student * scale, teacher)) == pytest.approx(float(cosine_loss(student, teacher)), abs=1e-5)


def test_the_gradient_is_that_of_finite_differences_and_the_teacher_gets_none() -> None:
    student, teacher = features(4, 3, 3).requires_grad_(), features(4, 3, 4).requires_grad_()
    cosine_loss(student, teacher).backward()
    assert teacher.grad is None
    for row, column in [(0, 0), (2, 1), (3, 2)]:
        values = []
        for step in (1e-4, -1e-4):
            moved = student.detach().double()
            moved[row, column] += step
            values.append(naive(moved, teacher.detach()))
        assert float(student.grad[row, column]) == pytest.approx((values[0] - values[1]) / 2e-4, rel=1e-3, abs=1e-6)


def test_a_row_of_zeros_has_cosine_0_and_a_small_gradient() -> None:
    student, teacher = features(3, 4, 5), features(3, 4, 6)
    student[1] = 0
    assert float(row_cosines(student, teacher)[1]) == 0
    student.requires_grad_()
    cosine_loss(student, teacher).backward()
    assert torch.isfinite(student.grad).all()
    assert float(student.grad[1].norm()) <= float(teacher[1].norm())


def test_half_precision_and_autocast_are_computed_in_float32() -> None:
    student, teacher = features(8, 6, 7).bfloat16(), features(8, 6, 8).bfloat16()
    expected = cosine_loss(student.float(), teacher.float())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(cosine_loss(student, teacher), expected)
        assert torch.equal(cosine_loss(student.float(), teacher.float()), expected)
    assert expected.dtype == torch.float32
