"""Aligned weight regularizers against naive loops in float64, and what masking does to them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sdp.losses.alignment import align_cosine_loss, align_frobenius_loss

SHAPES = {"query": (3, 4), "up": (5, 3), "down": (2, 7)}


def weights(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def masked(values: dict[str, torch.Tensor], keep: int) -> dict[str, torch.Tensor]:
    """Each unit keeps its `keep` largest weights."""
    return {
        name: w * torch.zeros_like(w).scatter(1, w.abs().topk(min(keep, w.shape[1]), dim=1).indices, 1.0)
        for name, w in values.items()
    }


def naive_cosine(student: dict[str, torch.Tensor], teacher: dict[str, torch.Tensor]) -> float:
    distances = []
    for name, weight in teacher.items():
        for w, v in zip(student[name].double().tolist(), weight.double().tolist(), strict=True):
            norms = math.sqrt(sum(a * a for a in w)) * math.sqrt(sum(b * b for b in v))
            distances.append(1 - sum(a * b for a, b in zip(w, v, strict=True)) / norms)
    return sum(distances) / len(distances)


def naive_frobenius(student: dict[str, torch.Tensor], teacher: dict[str, torch.Tensor]) -> float:
    ratios = []
    for name in teacher:
        w, v = (side[name].double().flatten().tolist() for side in (student, teacher))
        ratios.append(sum((a - b) ** 2 for a, b in zip(w, v, strict=True)) / sum(b * b for b in v))
    return sum(ratios) / len(ratios)


@pytest.mark.parametrize("keep", [1, 2, 9])
def test_against_naive_loops(keep: int) -> None:
    student, teacher = masked(weights(1), keep), weights(2)
    assert float(align_cosine_loss(student, teacher)) == pytest.approx(naive_cosine(student, teacher), rel=1e-5)
    assert float(align_frobenius_loss(student, teacher)) == pytest.approx(naive_frobenius(student, teacher), rel=1e-5)


def test_closed_forms() -> None:
    teacher = weights(3)
    for loss, of_none, of_double in ((align_cosine_loss, 1.0, 0.0), (align_frobenius_loss, 1.0, 1.0)):
        assert float(loss(teacher, teacher)) == pytest.approx(0, abs=1e-6)
        assert float(loss({name: w * 0 for name, w in teacher.items()}, teacher)) == pytest.approx(of_none)
        assert float(loss({name: w * 2 for name, w in teacher.items()}, teacher)) == pytest.approx(of_double, abs=1e-6)


def test_a_masked_copy_keeps_the_cosine_of_what_is_left() -> None:
    """cos(M * v, v) = |M * v| / |v|, and the Frobenius ratio is the share of the squares that is gone."""
    teacher = weights(4)
    student = masked(teacher, 2)
    cosines = torch.cat([student[name].norm(dim=1) / teacher[name].norm(dim=1) for name in teacher])
    gone = [1 - float(student[name].square().sum() / teacher[name].square().sum()) for name in teacher]
    assert float(align_cosine_loss(student, teacher)) == pytest.approx(1 - float(cosines.mean()), rel=1e-5)
    assert float(align_frobenius_loss(student, teacher)) == pytest.approx(sum(gone) / len(gone), rel=1e-5)


@settings(max_examples=25, deadline=None)
@given(scale=st.floats(0.01, 100), seed=st.integers(0, 1000))
def test_scales(scale: float, seed: int) -> None:
    """One loss does not see the length of a unit, the other not that of both networks' layer."""
    student, teacher = weights(seed), weights(seed + 1)
    longer, both = ({name: w * scale for name, w in side.items()} for side in (student, teacher))
    assert float(align_cosine_loss(longer, teacher)) == pytest.approx(
        float(align_cosine_loss(student, teacher)), abs=1e-5
    )
    assert float(align_frobenius_loss(longer, both)) == pytest.approx(
        float(align_frobenius_loss(student, teacher)), rel=1e-4
    )


@pytest.mark.parametrize("loss", [align_cosine_loss, align_frobenius_loss])
def test_a_step_along_the_gradient_aligns_and_the_teacher_gets_none(loss) -> None:
    student = {name: w.requires_grad_() for name, w in masked(weights(5), 2).items()}
    teacher = {name: w.requires_grad_() for name, w in weights(6).items()}
    before = loss(student, teacher)
    before.backward()
    before = before.detach()
    assert all(w.grad is None for w in teacher.values())
    after = loss({name: (w - 0.1 * w.grad).detach() for name, w in student.items()}, teacher)
    assert float(after) < float(before)


def test_autocast_changes_nothing() -> None:
    student, teacher = weights(7), weights(8)
    for loss in (align_cosine_loss, align_frobenius_loss):
        expected = loss(student, teacher)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(loss(student, teacher), expected)
