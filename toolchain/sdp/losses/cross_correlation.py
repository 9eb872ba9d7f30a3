"""The cross-correlation loss between the features of a pruned network and of its unpruned self."""

from __future__ import annotations

import torch
from torch import Tensor

from sdp.distributed.collectives import sum_over_ranks

EPSILON = 1e-6


def cross_correlation_matrix(student: Tensor, teacher: Tensor) -> Tensor:
    """Correlate every student feature with every teacher feature over the rows.

    C = Z_S^T Z_T / N, with the columns of Z standardized over the N rows (mean 0, standard deviation 1). In a
    data-parallel run the N rows are those of all ranks; their numbers may differ.

    Args:
        student: features of the pruned network, [N, d], N >= 2.
        teacher: features of the unpruned network on the same rows, [N, d].

    Returns:
        C, [d, d], float32 whatever the inputs' precision.
    """
    # Under autocast the product alone would fall back to half precision, and 1 - C_ii is a small difference.
    with torch.autocast(student.device.type, enabled=False):
        student, teacher = student.float(), teacher.float()
        count = student.new_full((), float(student.shape[0]))
        count, *sums = sum_over_ranks(count, student.sum(dim=0), teacher.sum(dim=0))
        # Means first, products of what is left after: sums of raw products would cancel in float32.
        student, teacher = student - sums[0] / count, teacher - sums[1] / count
        squares = (student.square().sum(dim=0), teacher.square().sum(dim=0))
        student_square, teacher_square, product = sum_over_ranks(*squares, student.T @ teacher)
        student_scale = torch.rsqrt(student_square / count + EPSILON)
        teacher_scale = torch.rsqrt(teacher_square / count + EPSILON)
        return student_scale.unsqueeze(1) * (product / count) * teacher_scale


def cross_correlation_loss(student: Tensor, teacher: Tensor, off_diagonal: float) -> Tensor:
    """Draw the cross-correlation matrix to the identity.

    L_CC / d = [ sum_i (1 - C_ii)^2 + off_diagonal * sum_{i != j} C_ij^2 ] / d. The form follows Barlow Twins
    (arXiv 2103.03230) between a network and its pruned copy, as in self-distilled pruning (arXiv 2109.15014); the
    division by d keeps the value comparable between widths. Unrelated features give E[C_ij^2] of about 1/N, so the
    off-diagonal sum has a floor of about d^2/N: use many rows.

    Args:
        student: features of the pruned network, [N, d], N >= 2.
        teacher: features of the unpruned network on the same rows, [N, d]; gets no gradient.
        off_diagonal: weight of the off-diagonal terms (lambda).

    Returns:
        a float32 scalar.
    """
    matrix = cross_correlation_matrix(student, teacher.detach())
    diagonal = torch.diagonal(matrix)
    on = (1 - diagonal).square().sum()
    off = matrix.square().sum() - diagonal.square().sum()
    return (on + off_diagonal * off) / matrix.shape[0]
