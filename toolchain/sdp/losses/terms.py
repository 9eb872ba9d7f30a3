"""How each loss of the table in `recipe.losses` is computed: a literal registry by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sdp.data.rows import IGNORED
from sdp.distributed.collectives import rank_count
from sdp.losses.alignment import align_cosine_loss, align_frobenius_loss
from sdp.losses.cosine import cosine_loss
from sdp.losses.cross_correlation import cross_correlation_loss
from sdp.losses.hidden import hidden_loss, squared_error_loss
from sdp.losses.kld import (
    answer_distillation_loss,
    kld_loss,
    multi_label_distillation_loss,
    regression_distillation_loss,
)
from sdp.losses.needs import row_keys
from sdp.losses.network_output import NetworkOutput
from sdp.losses.representation import rows_of
from sdp.losses.task import predicts_scores
from sdp.recipe.benchmark_tasks import ProblemType
from sdp.recipe.losses import (
    AlignCosineLoss,
    AlignFrobeniusLoss,
    CosineLoss,
    CrossCorrelationLoss,
    HiddenLoss,
    KldLoss,
    RowsLoss,
    SquaredErrorLoss,
)


@dataclass(frozen=True)
class Batch:
    """The inputs of a loss.

    Attributes:
        student: the pruned network's output.
        teacher: the unpruned network's output on the same rows.
        labels: [B], [B, C] for multi-label, [B, L] for tagging and question answering.
        attention_mask: [B, L].
        problem_type: the kind of task.
        layers: how many layers the model has.
    """

    student: NetworkOutput
    teacher: NetworkOutput
    labels: Tensor
    attention_mask: Tensor
    problem_type: ProblemType
    layers: int


# Settings and batch -> the unweighted loss, a scalar, or None where the batch does not allow it.
LossFunction = Callable[[Any, Batch], Tensor | None]


def _row_pairs(settings: RowsLoss, batch: Batch) -> list[tuple[Tensor, Tensor]]:
    return [
        (rows_of(batch.student, batch.attention_mask, key), rows_of(batch.teacher, batch.attention_mask, key))
        for key in row_keys(settings, batch.layers)
    ]


def _kld(settings: KldLoss, batch: Batch) -> Tensor:
    student, teacher = batch.student.logits, batch.teacher.logits
    if student is None or teacher is None:
        raise ValueError("soft labels need the logits of both networks")
    if predicts_scores(batch.problem_type):
        return regression_distillation_loss(student, teacher)
    if batch.problem_type == "multi-label":
        return multi_label_distillation_loss(student, teacher, settings.temperature)
    if batch.problem_type == "question-answering":
        return answer_distillation_loss(student, teacher, settings.temperature, batch.attention_mask)
    # A tagger's tokens count where a word begins; of whole rows those without a label do, too.
    kept = batch.labels != IGNORED if batch.problem_type == "tagging" else None
    return kld_loss(student, teacher, settings.temperature, kept)


def _cosine(settings: CosineLoss, batch: Batch) -> Tensor:
    return torch.stack([cosine_loss(*pair) for pair in _row_pairs(settings, batch)]).mean()


def _cross_correlation(settings: CrossCorrelationLoss, batch: Batch) -> Tensor | None:
    pairs = _row_pairs(settings, batch)
    # A last batch of one row has no variance to standardize by. Beside other ranks it has, and they wait for it.
    if rank_count() == 1 and pairs[0][0].shape[0] < 2:
        return None
    return torch.stack([cross_correlation_loss(*pair, settings.off_diagonal) for pair in pairs]).mean()


def _hidden(settings: HiddenLoss, batch: Batch) -> Tensor:
    return torch.stack([hidden_loss(*pair) for pair in _row_pairs(settings, batch)]).sum()


def _squared_error(settings: SquaredErrorLoss, batch: Batch) -> Tensor:
    return torch.stack([squared_error_loss(*pair) for pair in _row_pairs(settings, batch)]).mean()


def _align_cosine(settings: AlignCosineLoss, batch: Batch) -> Tensor:
    return align_cosine_loss(batch.student.weights, batch.teacher.weights)


def _align_frobenius(settings: AlignFrobeniusLoss, batch: Batch) -> Tensor:
    return align_frobenius_loss(batch.student.weights, batch.teacher.weights)


# All but "none", which adds nothing to the loss of the labels.
TERMS: dict[str, LossFunction] = {
    "kld": _kld,
    "cosine": _cosine,
    "cross-correlation": _cross_correlation,
    "hidden": _hidden,
    "squared-error": _squared_error,
    "align-cosine": _align_cosine,
    "align-frobenius": _align_frobenius,
}
