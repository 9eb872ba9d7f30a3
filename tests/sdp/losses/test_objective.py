"""How losses are put together, for every combination, and what each of them reads."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional

from sdp.errors import ModelError
from sdp.losses.alignment import align_cosine_loss, align_frobenius_loss
from sdp.losses.cosine import cosine_loss
from sdp.losses.cross_correlation import cross_correlation_loss
from sdp.losses.hidden import hidden_loss, squared_error_loss
from sdp.losses.kld import kld_loss
from sdp.losses.network_output import NetworkOutput, RowsKey
from sdp.losses.objective import Objective
from sdp.losses.representation import represent
from sdp.losses.task import task_loss
from sdp.losses.terms import TERMS
from sdp.recipe.losses import (
    LOSSES,
    AlignCosineLoss,
    AlignFrobeniusLoss,
    CosineLoss,
    CrossCorrelationLoss,
    HiddenLoss,
    KldLoss,
    NoLoss,
    SquaredErrorLoss,
)

MASK = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]])
LABELS = torch.tensor([0, 2, 1])
KLD = KldLoss(name="kld", weight=0.3, temperature=2.0)
CROSS = CrossCorrelationLoss(name="cross-correlation", weight=1.7, off_diagonal=0.01)
COSINE = CosineLoss(name="cosine", weight=0.6, representation="pooled")
HIDDEN = HiddenLoss(name="hidden", weight=0.2, layers=(0, -1))
SQUARED = SquaredErrorLoss(name="squared-error", weight=3.0, layers=(1, 2))
ALIGN_COSINE = AlignCosineLoss(name="align-cosine", weight=2.5)
ALIGN_FROBENIUS = AlignFrobeniusLoss(name="align-frobenius", weight=0.9)
SETTINGS = {loss.name: loss for loss in (KLD, CROSS, COSINE, HIDDEN, SQUARED, ALIGN_COSINE, ALIGN_FROBENIUS)}


def output(seed: int, classes: int = 3) -> NetworkOutput:
    """All that a network of two layers may say about a batch of three rows."""
    generator = torch.Generator().manual_seed(seed)
    return NetworkOutput(
        torch.randn(3, classes, generator=generator),
        hidden=tuple(torch.randn(3, 3, 4, 5, generator=generator)),
        pooled=torch.randn(3, 5, generator=generator),
        weights={"a": torch.randn(4, 3, generator=generator), "b": torch.randn(2, 4, generator=generator)},
    )


def real(output: NetworkOutput, layer: int) -> torch.Tensor:
    """A layer's hidden states of the real tokens."""
    return represent(output.hidden[layer], MASK, "tokens")


# The unweighted value of each loss, from the functions that tests of their own compare with naive loops.
VALUES: dict[str, Callable[[NetworkOutput, NetworkOutput], torch.Tensor]] = {
    "kld": lambda s, t: kld_loss(s.logits, t.logits, 2.0),
    "cross-correlation": lambda s, t: cross_correlation_loss(
        represent(s.hidden[2], MASK, "mean"), represent(t.hidden[2], MASK, "mean"), 0.01
    ),
    "cosine": lambda s, t: cosine_loss(s.pooled, t.pooled),
    "hidden": lambda s, t: hidden_loss(real(s, 0), real(t, 0)) + hidden_loss(real(s, 2), real(t, 2)),
    "squared-error": lambda s, t: (
        (squared_error_loss(real(s, 1), real(t, 1)) + squared_error_loss(real(s, 2), real(t, 2))) / 2
    ),
    "align-cosine": lambda s, t: align_cosine_loss(s.weights, t.weights),
    "align-frobenius": lambda s, t: align_frobenius_loss(s.weights, t.weights),
}


@pytest.mark.parametrize("listed", [c for n in range(8) for c in itertools.combinations(VALUES, n)])
def test_the_sum_is_that_of_the_formula_for_every_combination(listed: tuple) -> None:
    student, teacher = output(1), output(2)
    losses = [SETTINGS[name] for name in listed]
    total, terms = Objective("classification", losses, 2)(student, LABELS, MASK, teacher)
    share = 1 - KLD.weight if "kld" in listed else 1.0
    expected = share * float(functional.cross_entropy(student.logits, LABELS))
    for name in listed:
        value = float(VALUES[name](student, teacher))
        assert float(terms[name]) == pytest.approx(value, rel=1e-5)
        expected += SETTINGS[name].weight * value
    assert float(total) == pytest.approx(expected, rel=1e-5)
    assert set(terms) == {"task", *listed}


@pytest.mark.parametrize("listed", [("kld",), ("cross-correlation", "squared-error"), ("kld", "hidden")])
def test_without_labels_the_rest_of_the_sum_stays(listed: tuple[str, ...]) -> None:
    student, teacher = output(1), output(2)
    losses = [SETTINGS[name] for name in listed]
    total, terms = Objective("classification", losses, 2, labels=False)(student, LABELS, MASK, teacher)
    expected = sum(SETTINGS[name].weight * float(VALUES[name](student, teacher)) for name in listed)
    assert float(total) == pytest.approx(expected, rel=1e-5)
    # The log shows what the network does with the labels that it does not see.
    assert float(terms["task"]) == pytest.approx(float(functional.cross_entropy(student.logits, LABELS)))
    other = Objective("classification", losses, 2, labels=False)(student, (LABELS + 1) % 3, MASK, teacher)[0]
    assert torch.equal(total, other)


def test_every_loss_of_the_table_is_computed() -> None:
    assert TERMS.keys() | {"none"} == LOSSES.keys()
    assert TERMS.keys() == SETTINGS.keys()
    objective = Objective("classification", (NoLoss(name="none"),), 2)
    assert not objective.needs_teacher
    assert set(objective(output(1), LABELS, MASK, None)[1]) == {"task"}


def test_a_teacher_that_is_missing_is_reported() -> None:
    with pytest.raises(ValueError, match="need a teacher"):
        Objective("classification", (CROSS,), 2)(output(1), LABELS, MASK, None)


def test_stored_rows_of_the_teacher_count_like_its_hidden_states() -> None:
    student, teacher = output(1), output(2)
    stored = NetworkOutput(teacher.logits, stored={RowsKey("mean", 2): represent(teacher.hidden[-1], MASK, "mean")})
    objective = Objective("classification", (KLD, CROSS), 2)
    assert torch.equal(objective(student, LABELS, MASK, stored)[0], objective(student, LABELS, MASK, teacher)[0])


def test_a_batch_of_one_row_leaves_the_correlation_out() -> None:
    one = NetworkOutput(output(1).logits[:1], hidden=tuple(layer[:1] for layer in output(1).hidden))
    total, terms = Objective("classification", (CROSS,), 2)(one, LABELS[:1], MASK[:1], one)
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


def tags(seed: int) -> NetworkOutput:
    return NetworkOutput(torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(seed)))


def test_tagging_compares_labelled_tokens_alone() -> None:
    labels = torch.tensor([[-100, 4, -100, -100], [-100, 0, -100, -100], [-100, 1, 2, -100]])
    student, teacher = tags(1), tags(2)
    total, terms = Objective("tagging", (KLD,), 2)(student, labels, MASK, teacher)
    kept = labels != -100
    cross_entropy = functional.cross_entropy(student.logits[kept], labels[kept])
    soft = kld_loss(student.logits[kept], teacher.logits[kept], KLD.temperature)
    assert float(terms["kld"]) == pytest.approx(float(soft), rel=1e-5)
    assert float(total) == pytest.approx(0.7 * float(cross_entropy) + 0.3 * float(soft), rel=1e-5)


def test_weights_of_zero_and_one() -> None:
    student, teacher = output(1), output(2)
    without = CROSS.model_copy(update={"weight": 0.0})
    all_soft = KLD.model_copy(update={"weight": 1.0})
    total, terms = Objective("classification", (without, all_soft), 2)(student, LABELS, MASK, teacher)
    assert float(total) == pytest.approx(float(terms["kld"]))


def test_the_loss_of_several_layers_is_their_mean() -> None:
    student, teacher = output(1), output(2)
    each = []
    for layers in ((0,), (1,), (0, 1)):
        settings = COSINE.model_copy(update={"layers": layers, "representation": "mean"})
        each.append(float(Objective("classification", (settings,), 2)(student, LABELS, MASK, teacher)[1]["cosine"]))
    assert each[2] == pytest.approx((each[0] + each[1]) / 2, rel=1e-6)
    assert each[0] != pytest.approx(each[1], rel=1e-2)


def test_a_layer_that_is_not_there_is_reported_with_the_loss() -> None:
    with pytest.raises(ModelError, match="2 layers, and the loss hidden asks for layer 3"):
        Objective("classification", (KLD, HIDDEN.model_copy(update={"layers": (3,)})), 2)


def tokens(loss):
    return loss.model_copy(update={"representation": "tokens"})


# What is read: whether there is a teacher, whether it sees the data, what of each token it gives, and what else.
@pytest.mark.parametrize(
    ("kind", "losses", "needs"),
    [
        ("classification", (), set()),
        ("classification", (NoLoss(name="none"),), set()),
        ("classification", (KLD,), {"teacher", "teacher_forward"}),
        ("classification", (CROSS,), {"teacher", "teacher_forward", "hidden"}),
        ("classification", (COSINE,), {"teacher", "teacher_forward", "pooled"}),
        ("classification", (tokens(CROSS), KLD), {"teacher", "teacher_forward", "hidden", "tokens"}),
        ("classification", (HIDDEN,), {"teacher", "teacher_forward", "hidden", "tokens"}),
        ("classification", (SQUARED,), {"teacher", "teacher_forward", "hidden", "tokens"}),
        ("classification", (ALIGN_COSINE, ALIGN_FROBENIUS), {"teacher", "weights"}),
        ("classification", (ALIGN_COSINE, KLD), {"teacher", "teacher_forward", "weights"}),
        ("tagging", (KLD,), {"teacher", "teacher_forward", "tokens"}),
        ("tagging", (CROSS,), {"teacher", "teacher_forward", "hidden"}),
        ("tagging", (CROSS, KLD), {"teacher", "teacher_forward", "hidden", "tokens"}),
    ],
)
def test_what_an_objective_needs(kind, losses: tuple, needs: set[str]) -> None:
    objective = Objective(kind, losses, 2)
    names = ("teacher", "teacher_forward", "hidden", "pooled", "weights")
    found = {name for name in names if getattr(objective, f"needs_{name}")}
    assert found | ({"tokens"} if objective.token_outputs else set()) == needs
