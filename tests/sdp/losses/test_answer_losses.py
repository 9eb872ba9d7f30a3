"""The loss of answers against transformers' and a loop; distillation against scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import entropy
from transformers import AutoModelForQuestionAnswering

from sdp.data.rows import IGNORED
from sdp.losses.kld import answer_distillation_loss
from sdp.losses.task import answer_loss, task_loss
from sdp.models.answerer import answerer_class
from support.tiny_models import tiny_config


def batch(seed: int, rows: int = 5, length: int = 7) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits, labels and the mask of rows of unequal length; each has an answer."""
    generator = np.random.default_rng(seed)
    logits = torch.from_numpy(generator.normal(size=(rows, length, 2)).astype(np.float32) * 3)
    labels, mask = np.full((rows, length), IGNORED), np.zeros((rows, length), np.int64)
    for row in range(rows):
        real = int(generator.integers(3, length + 1))
        mask[row, :real] = 1
        labels[row, :real] = np.where(generator.random(real) < 0.3, IGNORED, 0)
        labels[row, 0] = 0
        start, end = sorted(generator.choice(np.flatnonzero(labels[row] == 0), 2).tolist())
        labels[row, start] += 1
        labels[row, end] += 2
    return logits, torch.from_numpy(labels), torch.from_numpy(mask)


def test_the_loss_against_a_loop() -> None:
    logits, labels, _ = batch(1)
    losses = []
    for scores, own in zip(logits.numpy(), labels.numpy(), strict=True):
        places = np.flatnonzero(own != IGNORED)
        for side in (0, 1):
            wanted = [(own[place] >> side) & 1 for place in places].index(1)
            losses.append(-log_softmax(scores[places, side].astype(np.float64))[wanted])
    assert float(answer_loss(logits, labels)) == pytest.approx(np.mean(losses), rel=1e-5)
    assert float(task_loss(logits, labels, "question-answering")) == float(answer_loss(logits, labels))


def test_rows_without_labels_have_no_share() -> None:
    logits, labels, _ = batch(2)
    more = torch.cat([labels, torch.full_like(labels[:1], IGNORED)])
    given = torch.cat([logits, logits[:1]]).requires_grad_()
    loss = answer_loss(given, more)
    assert float(loss.detach()) == pytest.approx(float(answer_loss(logits, labels)), rel=1e-6)
    loss.backward()
    assert given.grad is not None
    assert not given.grad[-1].any()
    assert given.grad.isfinite().all()


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "modernbert", "xlm"])
def test_the_network_and_its_loss_are_transformers_own(kind: str) -> None:
    torch.manual_seed(0)
    config = tiny_config(kind, num_labels=2)
    theirs: Any = AutoModelForQuestionAnswering.from_config(config).eval()
    ours = answerer_class(config)(config).eval()
    ours.load_state_dict(theirs.state_dict())
    assert type(ours).__name__ == type(theirs).__name__
    ids = torch.randint(5, 30, (3, 6))
    start, end = torch.tensor([0, 2, 5]), torch.tensor([1, 2, 5])
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    found = theirs(**given, start_positions=start, end_positions=end)
    with torch.no_grad():
        outputs = ours(**given, output_hidden_states=True)
    torch.testing.assert_close(outputs.logits, torch.stack([found.start_logits, found.end_logits], -1))
    assert outputs.hidden_states is not None
    labels = torch.zeros_like(ids)
    labels[range(3), start] += 1
    labels[range(3), end] += 2
    assert float(answer_loss(outputs.logits, labels)) == pytest.approx(float(found.loss.detach()), rel=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_distillation_against_scipys_relative_entropy(temperature: float) -> None:
    (student, _, mask), teacher = batch(3), batch(4)[0]
    divergences = []
    for row in range(len(mask)):
        real = mask[row].bool().numpy()
        p, q = (softmax(z[row].double().numpy()[real] / temperature, axis=0) for z in (teacher, student))
        divergences += [entropy(p[:, side], q[:, side]) for side in (0, 1)]
    expected = temperature**2 * np.mean(divergences)
    found = answer_distillation_loss(student.requires_grad_(), teacher, temperature, mask)
    assert float(found.detach()) == pytest.approx(expected, rel=1e-4)
    found.backward()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    assert not student.grad[mask == 0].any()
