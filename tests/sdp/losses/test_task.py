"""The task loss of every kind of task against naive loops and torch's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from sdp.losses.task import task_loss


def logits(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(1).normal(size=shape).astype(np.float32) * 3)


def test_classification() -> None:
    labels = torch.tensor([0, 2, 1, 1])
    expected = float(functional.cross_entropy(logits(4, 3), labels))
    assert float(task_loss(logits(4, 3), labels, "classification")) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("kind", ["regression", "ranking"])
def test_scores(kind) -> None:
    labels = torch.tensor([0.5, 2.0, 4.0])
    expected = sum((s - y) ** 2 for s, y in zip(logits(3, 1)[:, 0].tolist(), labels.tolist(), strict=True)) / 3
    assert float(task_loss(logits(3, 1), labels, kind)) == pytest.approx(expected, rel=1e-5)


def test_several_labels_are_each_a_yes_or_no() -> None:
    labels = torch.tensor([[1.0, 0.0, 1.0], [math.nan] * 3, [0.0, 0.0, 0.0]])
    values = logits(3, 3)
    expected = []
    for row in (0, 2):
        for z, y in zip(values[row].double().tolist(), labels[row].tolist(), strict=True):
            p = 1 / (1 + math.exp(-z))
            expected.append(-math.log(p if y else 1 - p))
    assert float(task_loss(values, labels, "multi-label")) == pytest.approx(sum(expected) / 6, rel=1e-5)
    trained = values.clone().requires_grad_()
    task_loss(trained, labels, "multi-label").backward()
    assert not trained.grad[1].any(), "a row without labels teaches nothing"


def test_tagging_counts_labelled_tokens_alone() -> None:
    labels = torch.tensor([[-100, 2, 0, -100], [-100, 1, -100, -100]])
    values = logits(2, 4, 3)
    expected = []
    for row, place in ((0, 1), (0, 2), (1, 1)):
        y = values[row, place].double().tolist()
        expected.append(math.log(sum(math.exp(v) for v in y)) - y[labels[row, place]])
    assert float(task_loss(values, labels, "tagging")) == pytest.approx(sum(expected) / 3, rel=1e-5)
    elsewhere = torch.where((labels == -100).unsqueeze(-1), 1e4, values)
    assert float(task_loss(elsewhere, labels, "tagging")) == pytest.approx(sum(expected) / 3, rel=1e-5)


def test_a_batch_without_labels_costs_nothing() -> None:
    values = logits(2, 4, 3).requires_grad_()
    loss = task_loss(values, torch.full((2, 4), -100), "tagging")
    loss.backward()
    assert float(loss.detach()) == 0
    assert not values.grad.count_nonzero()


def test_half_precision_is_computed_in_float32() -> None:
    labels = torch.tensor([0, 2, 1, 1])
    half = logits(4, 3).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        loss = task_loss(half, labels, "classification")
    assert loss.dtype == torch.float32
    assert torch.equal(loss, task_loss(half.float(), labels, "classification"))
