"""The student without dropout: in training it computes what it computes in use, also with checkpointed layers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedModel

from sdp.losses.objective import Objective
from sdp.pruning.distillation import Distillation
from sdp.training.run import _checkpoint_layers

INPUTS = {
    "input_ids": torch.tensor([[2, 7, 9, 3], [2, 8, 3, 0]]),
    "attention_mask": torch.tensor([[1] * 4, [1, 1, 1, 0]]),
}


@pytest.fixture
def student(toy_model: Path) -> PreTrainedModel:
    """A student that drops half of everything."""
    config = AutoConfig.from_pretrained(toy_model, hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5)
    return AutoModelForSequenceClassification.from_pretrained(toy_model, config=config)


def trained(student: PreTrainedModel, *, dropout: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits in training, and the gradient of a weight."""
    student.train()
    student.zero_grad()
    logits = Distillation(student, Objective("classification", (), 2), dropout=dropout).forward(student, INPUTS).logits
    logits.square().sum().backward()
    return logits.detach(), student.bert.encoder.layer[0].output.dense.weight.grad.clone()


def test_dropout_is_applied_unless_it_is_off(student: PreTrainedModel) -> None:
    with torch.no_grad():
        expected = student.eval()(**INPUTS).logits
    logits, _ = trained(student, dropout=False)
    assert torch.equal(logits, trained(student, dropout=False)[0])
    assert torch.allclose(logits, expected, atol=1e-6)
    assert not torch.allclose(trained(student, dropout=True)[0], expected, atol=1e-3)


def test_layers_are_still_checkpointed(student: PreTrainedModel) -> None:
    logits, gradient = trained(student, dropout=False)
    _checkpoint_layers(student)
    calls = []
    student.bert.encoder.layer[0].intermediate.register_forward_hook(lambda *_: calls.append(1))
    again, other = trained(student, dropout=False)
    assert len(calls) == 2, "once forward, and once more for the backward pass"
    assert torch.equal(again, logits)
    assert torch.allclose(other, gradient, rtol=1e-5)
