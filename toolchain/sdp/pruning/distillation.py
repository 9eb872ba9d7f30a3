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
    """

    def __init__(self, student: PreTrainedModel, objective: Objective, teacher: Teacher | None = None) -> None:
        self._read = Reader(student, objective)
        self._objective = objective
        self._teacher = teacher

    def forward(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> NetworkOutput:
        """Run the student, and read what the losses need."""
        return self._read(model, inputs)

    def loss(
        self, output: NetworkOutput, inputs: Mapping[str, Tensor], labels: Tensor, index: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The losses of a batch, with the teacher's output on the same rows."""
        teacher = self._teacher.outputs(inputs, index) if self._teacher is not None else None
        return self._objective(output, labels, inputs["attention_mask"], teacher)
