"""The objective of pruning: the task loss and the recipe's teacher losses.

    L = (1 - a) * task + a * kld + sum over the other losses of weight * loss

with a the weight of kld, 0 where the recipe does not list it. Without labels the task loss is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sdp.losses.needs import needs_of, resolve_layers
from sdp.losses.network_output import NetworkOutput, RowsKey
from sdp.losses.task import task_loss
from sdp.losses.terms import TERMS, Batch
from sdp.recipe.benchmark_tasks import ProblemType, has_token_logits
from sdp.recipe.losses import LossSettings


class Objective:
    """The recipe's losses as one function of student, teacher and labels.

    Args:
        problem_type: the kind of task.
        losses: as the recipe lists them.
        layers: how many layers the model has; losses name layers.
        labels: learn from the labels too.

    Raises:
        ModelError: a loss names a layer that the model has not.
    """

    def __init__(
        self, problem_type: ProblemType, losses: Sequence[LossSettings] = (), layers: int = 0, *, labels: bool = True
    ) -> None:
        self._problem_type = problem_type
        self._layers = layers
        self._losses = [resolve_layers(loss, layers) for loss in losses if loss.name in TERMS]
        self._needs = needs_of(self._losses, layers)
        self._task_share = 1 - sum(loss.weight for loss in self._losses if loss.shares) if labels else 0.0

    @property
    def rows(self) -> tuple[RowsKey, ...]:
        """The rows of features that losses compare, each once."""
        return self._needs.rows

    @property
    def needs_teacher(self) -> bool:
        """Whether any loss compares with the teacher."""
        return self._needs.teacher

    @property
    def needs_teacher_forward(self) -> bool:
        """Whether any loss compares with the teacher's output for a batch, and not with its weights alone."""
        return self._needs.teacher_forward

    @property
    def token_outputs(self) -> int:
        """How many outputs of each token any loss reads of the teacher."""
        return self._needs.token_outputs(self._problem_type)

    @property
    def needs_logits(self) -> bool:
        """Whether any loss reads logits of the teacher."""
        return self._needs.logits

    @property
    def one_prediction_a_row(self) -> bool:
        """Whether a row has one prediction; others have outputs for every token."""
        return not has_token_logits(self._problem_type)

    @property
    def needs_hidden(self) -> bool:
        """Whether any loss reads hidden states."""
        return any(key.kind != "pooled" for key in self.rows)

    @property
    def needs_pooled(self) -> bool:
        """Whether any loss reads what the classifier reads."""
        return RowsKey("pooled") in self.rows

    @property
    def needs_weights(self) -> bool:
        """Whether any loss reads weights."""
        return self._needs.weights

    def __call__(
        self, student: NetworkOutput, labels: Tensor, attention_mask: Tensor, teacher: NetworkOutput | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of a batch.

        Args:
            student: the pruned network's output.
            labels: [B], or [B, L] for tagging and question answering.
            attention_mask: [B, L].
            teacher: the unpruned network's output on the same batch; None where no loss needs it.

        Returns:
            the scalar loss, and the unweighted value of every term by name.

        Raises:
            ValueError: a loss needs the teacher, and there is none, or a network was not asked for what a loss reads.
        """
        if student.logits is None:
            raise ValueError("the task loss needs the student's logits")
        terms: dict[str, Tensor] = {}
        if self._problem_type == "embedding":
            # There are no labels.
            task = student.logits.new_zeros((), dtype=torch.float32)
        else:
            task = task_loss(student.logits, labels, self._problem_type)
            terms["task"] = task.detach()
        if not self._losses:
            return task, terms
        if teacher is None and self.needs_teacher:
            raise ValueError("the losses need a teacher, and there is none")
        # Also where it has no share: the log shows it. Its gradient must not be 0 * inf.
        total = self._task_share * task if self._task_share else torch.zeros_like(task)
        batch = Batch(student, teacher or NetworkOutput(), labels, attention_mask, self._problem_type, self._layers)
        for loss in self._losses:
            value = TERMS[loss.name](loss, batch)
            if value is not None:
                terms[loss.name] = value.detach()
                total = total + loss.weight * value
        return total, terms
