"""Soft labels: knowledge distillation of the logits."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional


def kld_loss(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """Kullback-Leibler divergence of softened predictions: tau^2 * KL(softmax(y_T/tau) || softmax(y_S/tau)).

    The factor tau^2 keeps gradients of the same size for every temperature (Hinton et al., arXiv 1503.02531).

    Args:
        student: logits, [B, C].
        teacher: logits on the same rows, [B, C]; gets no gradient.
        temperature: tau > 0.

    Returns:
        a float32 scalar, the mean over rows.
    """
    student_log = functional.log_softmax(student.float() / temperature, dim=-1)
    teacher_log = functional.log_softmax(teacher.detach().float() / temperature, dim=-1)
    divergence = functional.kl_div(student_log, teacher_log, reduction="batchmean", log_target=True)
    return divergence * temperature**2


def regression_distillation_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared error to the teacher's scores: what stands for the KL divergence in regression tasks.

    Args:
        student: scores, [B, 1].
        teacher: scores on the same rows, [B, 1]; gets no gradient.
    """
    return functional.mse_loss(student.float(), teacher.detach().float())
