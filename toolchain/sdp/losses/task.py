"""The loss of the labels, for every kind of task."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from sdp.data.rows import IGNORED
from sdp.data.windows import ENDS, STARTS
from sdp.distributed.collectives import mean_over_ranks
from sdp.losses.network_output import NetworkOutput
from sdp.recipe.benchmark_tasks import ProblemType

# Finite, so that a row without candidates has a loss, which is not counted.
_NEVER = -1e9


def predicts_scores(problem_type: ProblemType) -> bool:
    """Whether the network gives one number for a row, learned by squared errors: regression and pointwise ranking."""
    return problem_type in ("regression", "ranking")


def task_loss(logits: Tensor, labels: Tensor, problem_type: ProblemType) -> Tensor:
    """Cross-entropy of classes, binary cross-entropy of each of several labels, or mean squared error of scores.

    Args:
        logits: [B, C] for classification and multi-label, [B, L, C] for tagging, [B, L, 2] for question answering,
            [B, 1] for regression and ranking.
        labels: int64 [B] or [B, L], -100 where a row or a token has none (for question answering as
            `data.windows.token_labels` makes them); or float, [B] or for multi-label [B, C], NaN
            where a row has none.
        problem_type: the kind of task.

    Returns:
        a float32 scalar, the mean over the labelled rows or tokens of all ranks; for multi-label over all their labels.
    """
    if problem_type == "question-answering":
        return answer_loss(logits, labels)
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


def answer_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The cross-entropy of the first and of the last token of an answer, over the tokens that can be in one.

    The mean of both (Devlin et al., arXiv 1810.04805, section 4.2).

    Args:
        logits: for the start and the end at each token, [B, L, 2].
        labels: int64 [B, L]: 0, plus 1 at the start and 2 at the end; -100 for tokens that cannot be in an answer, and
            for all of a row that has no label.

    Returns:
        a float32 scalar, the mean over the labelled rows of all ranks.
    """
    candidates = labels != IGNORED
    labeled = candidates.any(dim=1)
    scores = logits.float().transpose(1, 2).masked_fill(~candidates[:, None], _NEVER)
    ends = torch.stack([labels & STARTS, labels & ENDS], dim=1).masked_fill(~candidates[:, None], 0)
    values = functional.cross_entropy(scores.flatten(0, 1), ends.argmax(dim=-1).flatten(), reduction="none")
    return mean_over_ranks(values.view(-1, 2).mean(dim=1), labeled)


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
