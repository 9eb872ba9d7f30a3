"""Hooks of a training run, called at its events: pruning and its analysis are hooks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn
from transformers import PreTrainedModel

from sdp.losses.network_output import NetworkOutput


class Hook:
    """A part of a training run; it overrides the events that it needs.

    Order of events in an optimizer step: `before_forward` (before each of the accumulated batches), forward and
    backward, `after_backward`, clipping, the optimizer's step, `after_optimizer_step`, `changes_weights`, `after_step`,
    and `save` if a checkpoint is due. Several hooks are called in the order in which a run lists them.

    Attributes:
        note: a word for the progress line.
    """

    note: str = ""

    def before_forward(self, step: int) -> None:
        """Called before each forward pass of optimizer step `step` (from 1 on)."""

    def after_backward(self, step: int) -> None:
        """Called once a step, with the whole batch's gradients, reduced over all processes, in `.grad`."""

    def after_optimizer_step(self) -> None:
        """Called after the optimizer has changed the weights."""

    def changes_weights(self, step: int) -> bool:
        """Whether `after_step` will change weights after this step; they are checked to be finite before."""
        return False

    def after_step(self, step: int) -> Mapping[str, object] | None:
        """Called at the end of a step, before a checkpoint.

        Returns:
            what is added to the log, or None.
        """
        return None

    def parameters_replaced(self, model: PreTrainedModel) -> None:
        """Called when sharding has put other parameters, of the same names and values, into the model."""

    def save(self, folder: Path) -> None:
        """Write into a checkpoint what `load` needs; called on the process that writes."""

    def load(self, folder: Path) -> None:
        """Go on from a checkpoint, whose weights are in the model already."""


class TrainingObjective(Protocol):
    """A forward pass, and the loss of what it gives.

    They are separate, because a batch may run in parts, and its loss is computed on all rows together.
    """

    def forward(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> NetworkOutput:
        """Run the network, or what wraps it for a device or for several, on some rows, each input [B, L]."""

    def loss(
        self, output: NetworkOutput, inputs: Mapping[str, Tensor], labels: Tensor, index: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of a batch.

        Args:
            output: of all of its rows.
            inputs: each [B, L].
            labels: [B], or [B, L] for tagging.
            index: the numbers of the rows in the training split, [B].

        Returns:
            a scalar, the mean over rows, and the unweighted value of every term by name, without gradient.
        """
