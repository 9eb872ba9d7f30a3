"""The losses of hidden states against naive loops in float64."""

from __future__ import annotations

import pytest
import torch

from sdp.losses.hidden import hidden_loss, squared_error_loss

MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]])


def states(seed: int, layers: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(3, 4, 5, generator=generator) * 10**layer for layer in range(layers)]


def naive(student: list[torch.Tensor], teacher: list[torch.Tensor]) -> float:
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        places = [(b, k, i) for b in range(3) for k in range(4) for i in range(5) if MASK[b, k]]
        distance = sum((float(s[place]) - float(t[place])) ** 2 for place in places)
        total += distance / sum(float(t[place]) ** 2 for place in places)
    return total


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_against_naive_loops(layers: int) -> None:
    student, teacher = states(1, layers), states(2, layers)
    assert float(hidden_loss(student, teacher, MASK)) == pytest.approx(naive(student, teacher), rel=1e-5)


def test_closed_forms() -> None:
    teacher = states(3)
    assert float(hidden_loss(teacher, teacher, MASK)) == 0
    # Nothing at all is as far away as the teacher is long: 1 a layer; a tenth too long, 0.01 a layer.
    assert float(hidden_loss([t * 0 for t in teacher], teacher, MASK)) == pytest.approx(3)
    assert float(hidden_loss([t * 1.1 for t in teacher], teacher, MASK)) == pytest.approx(0.03, rel=1e-4)


def test_padding_does_not_count() -> None:
    student, teacher = states(4), states(5)
    other = [torch.where(MASK.bool().unsqueeze(-1), s, 1e6) for s in student]
    assert torch.equal(hidden_loss(student, teacher, MASK), hidden_loss(other, teacher, MASK))


def test_only_the_student_gets_a_gradient_and_only_at_real_tokens() -> None:
    student = [s.requires_grad_() for s in states(6)]
    teacher = [t.requires_grad_() for t in states(7)]
    hidden_loss(student, teacher, MASK).backward()
    assert all(t.grad is None for t in teacher)
    for s, t in zip(student, teacher, strict=True):
        size = (t.detach() * MASK.unsqueeze(-1)).square().sum()
        expected = 2 * (s - t).detach() / size * MASK.unsqueeze(-1)
        assert torch.allclose(s.grad, expected, rtol=1e-4, atol=1e-8)


def test_half_precision_and_autocast_are_computed_in_float32() -> None:
    student, teacher = ([s.bfloat16() for s in states(seed)] for seed in (8, 9))
    expected = hidden_loss([s.float() for s in student], [t.float() for t in teacher], MASK)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(hidden_loss(student, teacher, MASK), expected)
    assert expected.dtype == torch.float32


@pytest.mark.parametrize("layers", [1, 3])
def test_the_squared_error_against_naive_loops(layers: int) -> None:
    student, teacher = states(1, layers), states(2, layers)
    errors = [
        [
            (float(s[b, k, i]) - float(t[b, k, i])) ** 2
            for b in range(3)
            for k in range(4)
            for i in range(5)
            if MASK[b, k]
        ]
        for s, t in zip(student, teacher, strict=True)
    ]
    expected = sum(sum(own) / len(own) for own in errors) / layers
    assert float(squared_error_loss(student, teacher, MASK)) == pytest.approx(expected, rel=1e-5)


def test_the_squared_error_has_a_gradient_for_the_student_at_real_tokens_alone() -> None:
    (student,), (teacher,) = ([s.requires_grad_() for s in states(seed, 1)] for seed in (6, 7))
    squared_error_loss([student], [teacher], MASK).backward()
    assert teacher.grad is None
    expected = 2 * (student - teacher).detach() * MASK.unsqueeze(-1) / (int(MASK.sum()) * 5)
    assert torch.allclose(student.grad, expected, rtol=1e-4, atol=1e-8)
