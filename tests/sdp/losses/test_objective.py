"""How losses are put together, for every combination; and how hidden states become rows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional

from sdp.losses.cross_correlation import cross_correlation_loss
from sdp.losses.kld import kld_loss
from sdp.losses.objective import NetworkOutput, Objective, task_loss
from sdp.losses.representation import represent
from sdp.recipe.losses import CrossCorrelationLoss, KldLoss

MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]])
LABELS = torch.tensor([0, 2, 1])
KLD = KldLoss(name="kld", weight=0.3, temperature=2.0)
CROSS = CrossCorrelationLoss(name="cross-correlation", weight=1.7, off_diagonal=0.01)


def output(seed: int, classes: int = 3) -> NetworkOutput:
    generator = torch.Generator().manual_seed(seed)
    return NetworkOutput(torch.randn(3, classes, generator=generator), hidden=torch.randn(3, 4, 5, generator=generator))


def test_represent_against_loops() -> None:
    hidden = output(1).hidden
    means = [[sum(hidden[b, t, d] for t in range(4) if MASK[b, t]) / sum(MASK[b]) for d in range(5)] for b in range(3)]
    assert torch.allclose(represent(hidden, MASK, "mean"), torch.tensor(means))
    assert torch.equal(represent(hidden, MASK, "first"), hidden[:, 0])
    tokens = torch.stack([hidden[b, t] for b in range(3) for t in range(4) if MASK[b, t]])
    assert torch.equal(represent(hidden, MASK, "tokens"), tokens)


def test_padding_does_not_change_a_representation() -> None:
    hidden = output(1).hidden
    other = torch.where(MASK.bool().unsqueeze(-1), hidden, 1e6)
    for kind in ("mean", "first", "tokens"):
        assert torch.equal(represent(hidden, MASK, kind), represent(other, MASK, kind))


@pytest.mark.parametrize("listed", [c for n in range(3) for c in itertools.combinations((KLD, CROSS), n)])
def test_the_sum_is_that_of_the_formula(listed: tuple) -> None:
    student, teacher = output(1), output(2)
    total, terms = Objective("classification", listed)(student, LABELS, MASK, teacher)
    a = KLD.weight if KLD in listed else 0.0
    expected = (1 - a) * functional.cross_entropy(student.logits, LABELS)
    if KLD in listed:
        expected = expected + a * kld_loss(student.logits, teacher.logits, 2.0)
    if CROSS in listed:
        rows = [represent(o.hidden, MASK, "mean") for o in (student, teacher)]
        expected = expected + 1.7 * cross_correlation_loss(*rows, 0.01)
    assert float(total) == pytest.approx(float(expected), rel=1e-6)
    assert set(terms) == {"task", *(loss.name for loss in listed)}


def test_stored_rows_of_the_teacher_count_like_its_hidden_states() -> None:
    student, teacher = output(1), output(2)
    stored = NetworkOutput(teacher.logits, rows=represent(teacher.hidden, MASK, "mean"))
    objective = Objective("classification", (KLD, CROSS))
    assert torch.equal(objective(student, LABELS, MASK, stored)[0], objective(student, LABELS, MASK, teacher)[0])


def test_a_batch_of_one_row_leaves_the_correlation_out() -> None:
    one = NetworkOutput(output(1).logits[:1], hidden=output(1).hidden[:1])
    total, terms = Objective("classification", (CROSS,))(one, LABELS[:1], MASK[:1], one)
    assert set(terms) == {"task"}
    assert torch.isfinite(total)


def test_regression_uses_squared_errors_throughout() -> None:
    student, teacher = output(1, classes=1), output(2, classes=1)
    labels = torch.tensor([0.5, 2.0, 4.0])
    total, _ = Objective("regression", (KLD,))(student, labels, MASK, teacher)
    s, t = student.logits[:, 0].numpy(), teacher.logits[:, 0].numpy()
    expected = 0.7 * np.mean((s - labels.numpy()) ** 2) + 0.3 * np.mean((s - t) ** 2)
    assert float(total) == pytest.approx(float(expected), rel=1e-5)
    assert float(task_loss(student.logits, labels, "regression")) == pytest.approx(np.mean((s - labels.numpy()) ** 2))


@pytest.mark.parametrize(
    ("losses", "teacher", "hidden", "live"),
    [
        ((), False, False, False),
        ((KLD,), True, False, False),
        ((CROSS,), True, True, False),
        ((CROSS.model_copy(update={"representation": "tokens"}), KLD), True, True, True),
    ],
)
def test_what_an_objective_needs(losses: tuple, teacher: bool, hidden: bool, live: bool) -> None:
    objective = Objective("classification", losses)
    assert (objective.needs_teacher, objective.needs_hidden, objective.needs_live_teacher) == (teacher, hidden, live)


def test_tagging_is_the_mean_over_labelled_tokens() -> None:
    generator = torch.Generator().manual_seed(3)
    logits, labels = (
        torch.randn(2, 4, 3, generator=generator),
        torch.tensor([[-100, 0, 2, -100], [-100, 1, -100, -100]]),
    )
    rows = [-torch.log_softmax(logits[b, t], 0)[labels[b, t]] for b in range(2) for t in range(4) if labels[b, t] >= 0]
    assert torch.allclose(task_loss(logits, labels, "tagging"), torch.stack(rows).mean())
    assert task_loss(logits, torch.full((2, 4), -100), "tagging") == 0, "a batch without a label teaches nothing"


def test_soft_labels_of_tagging_leave_out_what_is_not_labelled() -> None:
    generator = torch.Generator().manual_seed(4)
    student, teacher = (torch.randn(2, 3, 3, generator=generator) for _ in range(2))
    labels = torch.tensor([[-100, 0, 2], [1, -100, -100]])
    mask = torch.ones(2, 3, dtype=torch.int64)
    spoilt = teacher.clone()
    spoilt[labels == -100] += 100 * torch.randn(3, 3, generator=generator)
    losses = [
        Objective("tagging", (KLD,))(NetworkOutput(student), labels, mask, NetworkOutput(said))[0]
        for said in (teacher, spoilt)
    ]
    assert torch.equal(losses[0], losses[1])
    expected = kld_loss(student[labels != -100], teacher[labels != -100], KLD.temperature)
    assert torch.allclose(losses[0], 0.7 * task_loss(student, labels, "tagging") + 0.3 * expected)


def test_ranking_learns_the_relevance() -> None:
    assert task_loss(torch.tensor([[1.0], [4.0]]), torch.tensor([0.0, 2.0]), "ranking") == (1 + 4) / 2
