"""Soft labels: knowledge distillation of the logits."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from sdp.distributed.collectives import mean_over_ranks


def kld_loss(student: Tensor, teacher: Tensor, temperature: float, kept: Tensor | None = None) -> Tensor:
    """Kullback-Leibler divergence of softened predictions: tau^2 * KL(softmax(y_T/tau) || softmax(y_S/tau)).

    The factor tau^2 keeps gradients of the same size for every temperature (Hinton et al., arXiv 1503.02531).

    Args:
        student: logits, [B, C], or [B, L, C] for tokens.
        teacher: logits of the same shape; gets no gradient.
        temperature: tau > 0.
        kept: bool, [B] or [B, L]: which predictions count. All of them without it.

    Returns:
        a float32 scalar, the mean over the predictions of all ranks.
    """
    student_log = functional.log_softmax(student.float() / temperature, dim=-1)
    teacher_log = functional.log_softmax(teacher.detach().float() / temperature, dim=-1)
    divergence = functional.kl_div(student_log, teacher_log, reduction="none", log_target=True).sum(dim=-1)
    return mean_over_ranks(divergence, kept) * temperature**2


def multi_label_distillation_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """The KL divergence of softened predictions where each label is a yes or no of its own.

    For each label tau^2 * KL(sigmoid(y_T/tau) || sigmoid(y_S/tau)), of two Bernoulli distributions, summed over labels.

    Args:
        student: logits, [B, C].
        teacher: logits on the same rows, [B, C]; gets no gradient.
        temperature: tau > 0.

    Returns:
        a float32 scalar, the mean over the rows of all ranks.
    """
    own, other = student.float() / temperature, teacher.detach().float() / temperature
    yes, no = (
        functional.sigmoid(sign * other) * (functional.logsigmoid(sign * other) - functional.logsigmoid(sign * own))
        for sign in (1, -1)
    )
    return mean_over_ranks((yes + no).sum(dim=-1)) * temperature**2


def regression_distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error to the teacher's scores: what stands for the KL divergence where scores are predicted.

    Args:
        student: scores, [B, 1].
        teacher: scores on the same rows, [B, 1]; gets no gradient.
    """
    return mean_over_ranks((student.float() - teacher.detach().float()).square())
