"""The losses of hidden states against naive loops in float64."""

from __future__ import annotations

import pytest
import torch

from sdp.losses.hidden import hidden_loss, squared_error_loss


def states(seed: int, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(9, 5, generator=torch.Generator().manual_seed(seed)) * scale


def squares(first: torch.Tensor, second: torch.Tensor) -> list[float]:
    return [(float(first[n, i]) - float(second[n, i])) ** 2 for n in range(9) for i in range(5)]


@pytest.mark.parametrize("scale", [1.0, 100.0])
def test_against_naive_loops(scale: float) -> None:
    student, teacher = states(1, scale), states(2, scale)
    errors, sizes = squares(student, teacher), squares(teacher, teacher * 0)
    assert float(hidden_loss(student, teacher)) == pytest.approx(sum(errors) / sum(sizes), rel=1e-5)
    assert float(squared_error_loss(student, teacher)) == pytest.approx(sum(errors) / len(errors), rel=1e-5)


def test_closed_forms() -> None:
    teacher = states(3)
    assert float(hidden_loss(teacher, teacher)) == float(squared_error_loss(teacher, teacher)) == 0
    # Nothing at all is as far away as the teacher is long; a tenth too long, 0.01 of it.
    assert float(hidden_loss(teacher * 0, teacher)) == pytest.approx(1)
    assert float(hidden_loss(teacher * 1.1, teacher)) == pytest.approx(0.01, rel=1e-4)
    assert float(squared_error_loss(teacher + 0.5, teacher)) == pytest.approx(0.25, rel=1e-5)


def test_only_the_student_gets_a_gradient() -> None:
    for loss, size in ((hidden_loss, states(7).square().sum()), (squared_error_loss, torch.tensor(45.0))):
        student, teacher = states(6).requires_grad_(), states(7).requires_grad_()
        loss(student, teacher).backward()
        assert teacher.grad is None
        assert student.grad is not None
        assert torch.allclose(student.grad, 2 * (student - teacher).detach() / size, rtol=1e-4, atol=1e-8)


def test_half_precision_and_autocast_are_computed_in_float32() -> None:
    student, teacher = states(8).bfloat16(), states(9).bfloat16()
    for loss in (hidden_loss, squared_error_loss):
        expected = loss(student.float(), teacher.float())
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(loss(student, teacher), expected)
        assert expected.dtype == torch.float32
