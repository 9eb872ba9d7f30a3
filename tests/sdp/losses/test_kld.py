"""Soft-label losses against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy
from torch.distributions import Bernoulli, kl_divergence

from sdp.losses.kld import kld_loss, multi_label_distillation_loss, regression_distillation_loss


def logits(seed: int, rows: int = 6, classes: int = 4) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(rows, classes)).astype(np.float32) * 3)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 10.0])
def test_against_scipys_relative_entropy(temperature: float) -> None:
    student, teacher = logits(1), logits(2)
    p, q = (softmax(z.double().numpy() / temperature, axis=1) for z in (teacher, student))
    expected = temperature**2 * float(np.mean(entropy(p, q, axis=1)))
    assert float(kld_loss(student, teacher, temperature)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 10.0])
def test_several_labels_against_torchs_divergence_of_bernoulli_distributions(temperature: float) -> None:
    student, teacher = logits(1), logits(2)
    own, other = (Bernoulli(logits=z.double() / temperature) for z in (student, teacher))
    expected = temperature**2 * float(kl_divergence(other, own).sum(dim=1).mean())
    assert float(multi_label_distillation_loss(student, teacher, temperature)) == pytest.approx(expected, rel=1e-4)
    # Two classes of a softmax are one label: its logit is their difference.
    two, one = (torch.stack([z, torch.zeros_like(z)], dim=-1) for z in (student[:, 0], teacher[:, 0]))
    by_label = multi_label_distillation_loss(student[:, :1], teacher[:, :1], temperature)
    assert float(kld_loss(two, one, temperature)) == pytest.approx(float(by_label), rel=1e-4)


def test_logits_of_any_size_have_a_divergence_of_labels() -> None:
    student, teacher = torch.tensor([[200.0, -200.0]]).requires_grad_(), torch.tensor([[-200.0, -200.0]])
    loss = multi_label_distillation_loss(student, teacher, 1.0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(200)
    assert student.grad.isfinite().all()


def test_equal_logits_cost_nothing_and_a_shift_is_no_difference() -> None:
    assert float(kld_loss(logits(3), logits(3), 2.0)) == pytest.approx(0, abs=1e-7)
    assert float(kld_loss(logits(3) + 5, logits(3), 2.0)) == pytest.approx(0, abs=1e-6)


def test_only_the_student_gets_a_gradient() -> None:
    student, teacher = logits(4).requires_grad_(), logits(5).requires_grad_()
    (kld_loss(student, teacher, 2.0) + regression_distillation_loss(student[:, :1], teacher[:, :1])).backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_regression_is_the_mean_squared_difference() -> None:
    student, teacher = logits(6, classes=1), logits(7, classes=1)
    expected = float(np.mean((student.numpy() - teacher.numpy()) ** 2))
    assert float(regression_distillation_loss(student, teacher)) == pytest.approx(expected, rel=1e-6)


def test_unlabelled_tokens_do_not_count() -> None:
    student, teacher = logits(8).reshape(2, 3, 4), logits(9).reshape(2, 3, 4)
    kept = torch.tensor([[True, False, True], [False, False, True]])
    expected = kld_loss(student[kept], teacher[kept], 2.0)
    assert float(kld_loss(student, teacher, 2.0, kept)) == pytest.approx(float(expected), rel=1e-6)


def test_half_precision_and_autocast_are_computed_in_float32() -> None:
    student, teacher = logits(10).bfloat16(), logits(11).bfloat16()
    expected = kld_loss(student.float(), teacher.float(), 2.0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(kld_loss(student, teacher, 2.0), expected)
    assert expected.dtype == torch.float32
