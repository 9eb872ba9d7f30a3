"""The training objective of pruning: the recipe's losses, with the teacher that they compare the student to."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from transformers import PreTrainedModel

from sdp.losses.network_output import NetworkOutput
from sdp.losses.objective import Objective
from sdp.pruning.forward import Reader
from sdp.pruning.teacher import Teacher


class Distillation:
    """A `TrainingObjective` out of losses, student and teacher.

    Args:
        student: the network in training.
        objective: the recipe's losses.
        teacher: the unpruned network; None where no loss needs it.
        dropout: apply the student's dropout.
    """

    def __init__(
        self, student: PreTrainedModel, objective: Objective, teacher: Teacher | None = None, *, dropout: bool = True
    ) -> None:
        self._student = student
        self._dropout = dropout
        self._read = Reader(student, objective)
        self._objective = objective
        self._teacher = teacher

    def forward(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> NetworkOutput:
        """Run the student, and read what the losses need."""
        if not self._dropout:
            _switch_dropout_off(self._student)
        return self._read(model, inputs)

    def loss(
        self, output: NetworkOutput, inputs: Mapping[str, Tensor], labels: Tensor, index: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The losses of a batch, with the teacher's output on the same rows."""
        teacher = self._teacher.outputs(inputs, index) if self._teacher is not None else None
        return self._objective(output, labels, inputs["attention_mask"], teacher)


def _switch_dropout_off(model: nn.Module) -> None:
    """Set every module to evaluation, as Trainer sets it to training before each step."""
    for module in model.modules():
        # Layers keep only their inputs for the backward pass if they are in training.
        module.training = bool(getattr(module, "gradient_checkpointing", False))
