"""Soft labels: knowledge distillation of the logits."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from sdp.distributed.collectives import mean_over_ranks

# Finite: an infinity minus another is no number.
_NEVER = -1e9


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


def answer_distillation_loss(student: Tensor, teacher: Tensor, temperature: float, attention_mask: Tensor) -> Tensor:
    """The KL divergence of the softened distributions of an answer's start, and of its end, over the tokens of a row.

    Args:
        student: logits, [B, L, 2].
        teacher: logits on the same rows, [B, L, 2]; gets no gradient.
        temperature: tau > 0.
        attention_mask: [B, L]; tokens that pad have no share.

    Returns:
        a float32 scalar, tau^2 times the mean of both, over the rows of all ranks.
    """
    real = attention_mask.bool()[:, None]
    own, other = (
        functional.log_softmax((logits.float() / temperature).transpose(1, 2).masked_fill(~real, _NEVER), dim=-1)
        for logits in (student, teacher.detach())
    )
    divergence = functional.kl_div(own, other, reduction="none", log_target=True).masked_fill(~real, 0.0).sum(dim=-1)
    return mean_over_ranks(divergence.mean(dim=1)) * temperature**2


def regression_distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error to the teacher's scores: what stands for the KL divergence where scores are predicted.

    Args:
        student: scores, [B, 1].
        teacher: scores on the same rows, [B, 1]; gets no gradient.
    """
    return mean_over_ranks((student.float() - teacher.detach().float()).square())
