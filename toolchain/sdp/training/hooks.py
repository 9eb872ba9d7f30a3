"""Hooks of a training run, called at its events: pruning and its analysis are hooks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from transformers import PreTrainedModel


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
