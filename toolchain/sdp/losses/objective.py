"""What the pruned network minimizes: the task loss and the recipe's teacher losses, put together.

    L = (1 - a) * task + a * kld + sum over the other losses of weight * loss

with a the weight of kld, 0 where the recipe does not list it.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from sdp.losses.cross_correlation import cross_correlation_loss
from sdp.losses.kld import kld_loss, regression_distillation_loss
from sdp.losses.representation import Representation, represent
from sdp.recipe.losses import CrossCorrelationLoss, KldLoss, Loss
from sdp.recipe.sections import ProblemType


@dataclass(frozen=True)
class NetworkOutput:
    """What a network says about a batch.

    Attributes:
        logits: [B, C]; [B, L, C] for tagging.
        hidden: last layer's hidden states, [B, L, d]; None where nobody asked or rows are given instead.
        rows: already pooled representations, [B, d], from a cache; None where `hidden` is given.
    """

    logits: Tensor
    hidden: Tensor | None = None
    rows: Tensor | None = None


def task_loss(logits: Tensor, labels: Tensor, problem_type: ProblemType) -> Tensor:
    """What the labels say about the logits.

    Cross-entropy for classification (logits [B, C], labels [B], int64) and tagging (logits [B, L, C], labels [B, L],
    the mean over tokens whose label is not -100); mean squared error for regression and ranking (logits [B, 1], labels
    [B], float), which ranks by predicted relevance.
    """
    if problem_type in ("regression", "ranking"):
        return functional.mse_loss(logits.float().squeeze(-1), labels.float())
    flat, targets = logits.float().flatten(0, -2), labels.flatten()
    # Without a labelled token the mean would be 0 / 0.
    count = (targets != -100).sum().clamp_min(1)
    return functional.cross_entropy(flat, targets, reduction="sum") / count


@dataclass(frozen=True)
class Objective:
    """The recipe's losses as one function of student, teacher and labels."""

    problem_type: ProblemType
    losses: tuple[Loss, ...] = ()

    @property
    def cross_correlation(self) -> CrossCorrelationLoss | None:
        """Settings of the cross-correlation loss, if listed."""
        return next((loss for loss in self.losses if isinstance(loss, CrossCorrelationLoss)), None)

    @property
    def kld(self) -> KldLoss | None:
        """Settings of the soft-label loss, if listed."""
        return next((loss for loss in self.losses if isinstance(loss, KldLoss)), None)

    @property
    def needs_teacher(self) -> bool:
        """Whether any loss looks at the teacher."""
        return self.kld is not None or self.cross_correlation is not None

    @property
    def needs_hidden(self) -> bool:
        """Whether any loss looks at hidden states."""
        return self.cross_correlation is not None

    @property
    def needs_live_teacher(self) -> bool:
        """Whether the teacher must run beside the student: token rows and tokens' logits are too many to be stored."""
        if self.problem_type == "tagging":
            return True
        return self.cross_correlation is not None and self.cross_correlation.representation == "tokens"

    def __call__(
        self, student: NetworkOutput, labels: Tensor, attention_mask: Tensor, teacher: NetworkOutput | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Compute the loss of a batch.

        Args:
            student: the pruned network's output.
            labels: [B]; [B, L] for tagging, -100 where there is nothing to learn.
            attention_mask: [B, L].
            teacher: the unpruned network's output on the same batch; None where no loss needs it.

        Returns:
            the scalar loss, and the unweighted value of every term by name.
        """
        total = task_loss(student.logits, labels, self.problem_type)
        terms = {"task": total.detach()}
        if self.kld is not None and teacher is not None:
            if self.problem_type in ("regression", "ranking"):
                soft = regression_distillation_loss(student.logits, teacher.logits)
            else:
                read = labels.flatten() != -100
                said = [output.logits.flatten(0, -2)[read] for output in (student, teacher)]
                soft = kld_loss(said[0], said[1], self.kld.temperature)
            terms["kld"] = soft.detach()
            total = (1 - self.kld.weight) * total + self.kld.weight * soft
        settings = self.cross_correlation
        # A last batch of one row has no variance to standardize by.
        if settings is not None and teacher is not None and student.logits.shape[0] > 1:
            rows = [_rows(output, attention_mask, settings.representation) for output in (student, teacher)]
            alignment = cross_correlation_loss(rows[0], rows[1], settings.off_diagonal)
            terms["cross-correlation"] = alignment.detach()
            total = total + settings.weight * alignment
        return total, terms


def _rows(output: NetworkOutput, attention_mask: Tensor, kind: Representation) -> Tensor:
    if output.rows is not None:
        return output.rows
    if output.hidden is None:
        raise ValueError("the objective needs hidden states, and the network was not asked for them")
    return represent(output.hidden, attention_mask, kind)
