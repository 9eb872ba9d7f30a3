"""The quantization-aware last phase of pruning: the network trains in the arithmetic of its exported file."""

from __future__ import annotations

from pathlib import Path

from transformers import PreTrainedModel

from sdp.models.int8_network import compute_in_int8
from sdp.recipe.pruning import PruneSection
from sdp.training.checkpoints import checkpoint_step
from sdp.training.hooks import Hook


def float_steps(settings: PruneSection, steps: int) -> int:
    """The optimizer steps of a run before its quantization-aware phase, which has a step where a share is asked for."""
    share = settings.quantization_aware
    return steps if share == 0 else steps - max(1, round(steps * share))


class QuantizationPhase(Hook):
    """A hook that lets networks compute in int8 in the last steps of a run, and stay so at its end.

    What is measured in between, the dev metric and the analysis, is measured of the network as it then computes. The
    phase needs no state: the number of a step, and so of a checkpoint, decides.

    Args:
        models: the network in training, and any copy of it that is evaluated.
        first: steps before the phase, from `float_steps`.
    """

    def __init__(self, models: tuple[PreTrainedModel, ...], first: int) -> None:
        self._models = models
        self._first = first
        self._on = False

    def before_forward(self, step: int) -> None:
        """Begin the phase before its first step."""
        self._switch(step)

    def load(self, folder: Path) -> None:
        """Begin the phase where a checkpoint was written in it: evaluation may come before the next step."""
        self._switch(checkpoint_step(folder))

    def _switch(self, step: int) -> None:
        if self._on or step <= self._first:
            return
        self._on = True
        self.note = "int8"
        for model in self._models:
            compute_in_int8(model, True)
