"""What the pruned network minimizes: the task loss and the recipe's teacher losses, put together.

    L = (1 - a) * task + a * kld + sum over the other losses of weight * loss

with a the weight of kld, 0 where the recipe does not list it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from sdp.losses.network_output import NetworkOutput, RowsKey
from sdp.losses.representation import resolve_layers
from sdp.losses.task import task_loss
from sdp.losses.terms import TERMS, Batch, Needs
from sdp.recipe.benchmark_tasks import ProblemType
from sdp.recipe.losses import Loss


class Objective:
    """The recipe's losses as one function of student, teacher and labels.

    Args:
        problem_type: the kind of task.
        losses: as the recipe lists them.
        layers: how many layers the model has; losses name layers.

    Raises:
        ModelError: a loss names a layer that the model has not.
    """

    def __init__(self, problem_type: ProblemType, losses: Sequence[Loss] = (), layers: int = 0) -> None:
        self._problem_type = problem_type
        self._losses = [(_resolved(loss, layers), TERMS[loss.name]) for loss in losses if loss.name in TERMS]
        self._needs: list[Needs] = [term.needs(settings) for settings, term in self._losses]
        self._task_share = 1 - sum(settings.weight for settings, term in self._losses if term.shares)

    @property
    def rows(self) -> tuple[RowsKey, ...]:
        """The rows of features that losses compare, each once."""
        return tuple(dict.fromkeys(key for needs in self._needs for key in needs.rows))

    @property
    def needs_teacher(self) -> bool:
        """Whether any loss looks at the teacher."""
        return bool(self._losses)

    @property
    def needs_teacher_forward(self) -> bool:
        """Whether any loss looks at what the teacher says about a batch, and not at its weights alone."""
        return any(needs.logits or needs.rows or needs.hidden for needs in self._needs)

    @property
    def needs_live_teacher(self) -> bool:
        """Whether the teacher must run beside the student: what it says of every token is too much to be stored."""
        tokens = any(key.kind == "tokens" for key in self.rows)
        tagged = any(needs.logits for needs in self._needs) and not self.one_prediction_a_row
        return tokens or tagged or any(needs.hidden for needs in self._needs)

    @property
    def one_prediction_a_row(self) -> bool:
        """Whether the logits of a row are those of one prediction; a tagger has one for every token."""
        return self._problem_type != "tagging"

    @property
    def needs_hidden(self) -> bool:
        """Whether any loss looks at hidden states."""
        return any(needs.hidden for needs in self._needs) or any(key.kind != "pooled" for key in self.rows)

    @property
    def needs_pooled(self) -> bool:
        """Whether any loss looks at what the classifier reads."""
        return RowsKey("pooled") in self.rows

    @property
    def needs_weights(self) -> bool:
        """Whether any loss looks at weights."""
        return any(needs.weights for needs in self._needs)

    def __call__(
        self, student: NetworkOutput, labels: Tensor, attention_mask: Tensor, teacher: NetworkOutput | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of a batch.

        Args:
            student: the pruned network's output.
            labels: [B], or [B, L] for tagging.
            attention_mask: [B, L].
            teacher: the unpruned network's output on the same batch; None where no loss needs it.

        Returns:
            the scalar loss, and the unweighted value of every term by name.

        Raises:
            ValueError: a loss needs the teacher, and there is none, or a network was not asked for what a loss reads.
        """
        if student.logits is None:
            raise ValueError("the task loss needs the student's logits")
        task = task_loss(student.logits, labels, self._problem_type)
        terms = {"task": task.detach()}
        if not self._losses:
            return task, terms
        if teacher is None:
            raise ValueError("the losses need a teacher, and there is none")
        total = self._task_share * task
        batch = Batch(student, teacher, labels, attention_mask, self._problem_type)
        for settings, term in self._losses:
            value = term.value(settings, batch)
            if value is not None:
                terms[settings.name] = value.detach()
                total = total + settings.weight * value
        return total, terms


def _resolved(loss: Any, count: int) -> Any:
    """The settings of a loss with its layers, where it has any, as indices of hidden states."""
    if not hasattr(loss, "layers"):
        return loss
    return loss.model_copy(update={"layers": resolve_layers(loss.layers, count, loss.name)})
