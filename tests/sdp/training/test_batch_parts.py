"""A batch in parts has the loss and the gradients of the whole batch; so has one whose layers are checkpointed."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from sdp.losses.objective import Objective
from sdp.pruning.forward import Reader
from sdp.pruning.teacher import LiveTeacher
from sdp.recipe.pruning import PruneSection
from sdp.training.batch_parts import first_rows, read_in_parts
from support import ranks


def step(case: str, parts: int, *, checkpointing: bool = False, rows: int = len(ranks.LENGTHS)) -> dict[str, Tensor]:
    kind, losses, _ = ranks.CASES[case]
    student, teacher = ranks.tiny_model(kind, 1), ranks.tiny_model(kind, 2)
    if checkpointing:
        # Of layers in training only; the tiny models drop out nothing else in this mode.
        student.train()
        for module in student.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        student.activation_checkpointing_enable({"use_reentrant": False})
    objective = Objective(kind, PruneSection.model_validate({"losses": losses}).losses, 2)
    inputs, labels = ranks.batch(kind, range(rows))
    printed = LiveTeacher(teacher, objective).outputs(inputs, torch.tensor([]))
    output = read_in_parts(partial(Reader(student, objective), student), inputs, parts)
    loss, terms = objective(output, labels, inputs["attention_mask"], printed)
    loss.backward()
    gradients = {name: p.grad for name, p in student.named_parameters() if p.grad is not None}
    return {"loss": loss.detach(), **terms, **gradients}


@pytest.mark.parametrize("parts", [2, 3, 99])
@pytest.mark.parametrize("case", ranks.CASES)
def test_parts_are_the_whole(case: str, parts: int) -> None:
    assert_same(step(case, parts), step(case, 1))


@pytest.mark.parametrize("case", ["sequence rows", "unequal rows, and weights", "tagging"])
def test_checkpointed_layers_change_nothing(case: str) -> None:
    assert_same(step(case, 1, checkpointing=True), step(case, 1))
    assert_same(step(case, 2, checkpointing=True), step(case, 1))


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        size = float(value.abs().max())
        assert torch.allclose(found[name], value, rtol=1e-4, atol=1e-5 * size + 1e-6), name


def test_the_mean_over_parts_is_something_else() -> None:
    """Without this the first test could pass on a cross-correlation that is taken of each part by itself."""
    halves = [step("sequence rows", 1, rows=5)["loss"], step("sequence rows", 1)["loss"]]
    assert abs(float(halves[0] / halves[1]) - 1) > 1e-3


def test_dropout_is_drawn_once() -> None:
    """A part that is computed a second time must drop the same units, or its gradient is that of another network."""
    student = ranks.tiny_model("classification", 1).train()
    inputs, labels = ranks.batch("classification", range(4))
    objective = Objective("classification")
    read = partial(Reader(student, objective), student)
    weight = student.classifier.weight
    torch.manual_seed(0)
    objective(read_in_parts(read, inputs, 2), labels, inputs["attention_mask"], None)[0].backward()
    found, weight.grad = weight.grad, None
    torch.manual_seed(0)
    logits = torch.cat([read({name: t[rows] for name, t in inputs.items()}).logits for rows in (slice(2), slice(2, 4))])
    torch.nn.functional.cross_entropy(logits, labels).backward()
    torch.testing.assert_close(found, weight.grad)


def test_nothing_of_a_batch_has_no_gradient() -> None:
    student = ranks.tiny_model("classification", 1)
    inputs, labels = ranks.batch("classification", range(1))
    objective = Objective("classification")
    output = first_rows(Reader(student, objective)(student, inputs), 0)
    assert output.logits is not None
    assert output.logits.shape == (0, ranks.LABELS)
    objective(output, labels[:0], inputs["attention_mask"][:0], None)[0].backward()
    assert not any(p.grad.count_nonzero() for p in student.parameters() if p.grad is not None)
