"""The loss of the labels, for every kind of task."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional

from sdp.data.batches import IGNORED
from sdp.distributed.collectives import mean_over_ranks
from sdp.losses.network_output import NetworkOutput
from sdp.recipe.benchmark_tasks import ProblemType


def predicts_scores(problem_type: ProblemType) -> bool:
    """Whether the network gives one number for a row, learned by squared errors: regression and pointwise ranking."""
    return problem_type in ("regression", "ranking")


def task_loss(logits: Tensor, labels: Tensor, problem_type: ProblemType) -> Tensor:
    """Cross-entropy of classes, binary cross-entropy of each of several labels, or mean squared error of scores.

    Args:
        logits: [B, C] for classification and multi-label, [B, L, C] for tagging, [B, 1] for regression and ranking.
        labels: int64 [B] or [B, L], -100 where a row or a token has none; or float, [B] or for multi-label [B, C], NaN
            where a row has none.
        problem_type: the kind of task.

    Returns:
        a float32 scalar, the mean over the labelled rows or tokens of all ranks; for multi-label over all their labels.
    """
    if problem_type == "multi-label":
        labeled = labels.isfinite()
        wanted = labels.float().masked_fill(~labeled, 0.0)
        values = functional.binary_cross_entropy_with_logits(logits.float(), wanted, reduction="none")
        return mean_over_ranks(values, labeled)
    if predicts_scores(problem_type):
        labeled = labels.isfinite()
        errors = logits.float().squeeze(-1) - labels.float().masked_fill(~labeled, 0.0)
        return mean_over_ranks(errors.square(), labeled)
    values = functional.cross_entropy(
        logits.float().flatten(0, -2), labels.flatten(), reduction="none", ignore_index=IGNORED
    )
    return mean_over_ranks(values, labels.flatten() != IGNORED)


class TaskObjective:
    """The labels alone, as a `TrainingObjective`: what fine-tuning minimizes."""

    def __init__(self, problem_type: ProblemType) -> None:
        self._problem_type = problem_type

    def forward(self, model: nn.Module, inputs: Mapping[str, Tensor]) -> NetworkOutput:
        """Run the network, and keep its logits."""
        return NetworkOutput(model(**inputs, output_hidden_states=False).logits)

    def loss(
        self, output: NetworkOutput, inputs: Mapping[str, Tensor], labels: Tensor, index: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of the labels of a batch."""
        if output.logits is None:
            raise ValueError("the task loss needs the network's logits")
        loss = task_loss(output.logits, labels, self._problem_type)
        return loss, {"task": loss.detach()}
