"""The quantization-aware phase: which steps are in it, and that a network rounds from its first step on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import PreTrainedModel

from sdp.pruning.quantization_phase import QuantizationPhase, float_steps
from sdp.recipe.pruning import PruneSection
from support.tiny_models import tiny_model


@pytest.mark.parametrize(
    ("share", "steps", "before"),
    [(0, 10, 10), (0.3, 10, 7), (0.01, 10, 9), (1, 10, 0), (0.5, 1, 0), (0.25, 3000, 2250)],
)
def test_the_last_share_of_the_steps_is_in_the_phase(share: float, steps: int, before: int) -> None:
    assert float_steps(PruneSection(quantization_aware=share), steps) == before


@given(st.floats(0.001, 1), st.integers(1, 10_000))
def test_a_phase_has_a_step_and_about_its_share(share: float, steps: int) -> None:
    rounded = steps - float_steps(PruneSection(quantization_aware=share), steps)
    assert 1 <= rounded <= steps
    assert abs(rounded - share * steps) <= 1


def rounds(model: PreTrainedModel) -> bool:
    """Whether the logits are others than those of the class's own layers."""
    ids = torch.arange(5, 25)[None]
    with torch.no_grad():
        return not model(input_ids=ids).logits.equal(tiny_model("bert")(input_ids=ids).logits)


def test_every_network_given_rounds_from_the_first_step_of_the_phase_on() -> None:
    models = (tiny_model("bert"), tiny_model("bert"))
    phase = QuantizationPhase(models, first=3)
    for step in (1, 2, 3):
        phase.before_forward(step)
        assert not any(map(rounds, models))
        assert phase.note == ""
    for step in (4, 4, 5):
        phase.before_forward(step)
        assert all(map(rounds, models))
        assert phase.note == "int8"


@pytest.mark.parametrize(("step", "expected"), [(2, False), (3, False), (4, True), (9, True)])
def test_a_checkpoint_of_the_phase_is_evaluated_as_in_it(step: int, expected: bool) -> None:
    """The border belongs to the steps before: its evaluation came before the phase in an unbroken run, too."""
    model = tiny_model("bert")
    QuantizationPhase((model,), first=3).load(Path(f"checkpoint-{step}"))
    assert rounds(model) is expected
