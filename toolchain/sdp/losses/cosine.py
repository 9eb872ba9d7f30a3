"""Cosine distance between the representations of a pruned network and of its unpruned self."""

from __future__ import annotations

import torch
from torch import Tensor

from sdp.distributed.collectives import mean_over_ranks


def row_cosines(student: Tensor, teacher: Tensor) -> Tensor:
    """Cosine of the angle between the rows of two matrices, in float32 also under autocast.

    A row of zeros has no direction: its cosine is 0, and its gradient is finite.

    Args:
        student: [N, d].
        teacher: [N, d].

    Returns:
        [N].
    """
    with torch.autocast(student.device.type, enabled=False):
        student, teacher = student.float(), teacher.float()
        # Weights come here too, millions of them at every step: these two write nothing of the size of their inputs.
        product: Tensor = torch.linalg.vecdot(student, teacher)
        lengths = torch.linalg.vector_norm(student, dim=-1) * torch.linalg.vector_norm(teacher, dim=-1)
        return product / torch.where(lengths > 0, lengths, 1.0)


def cosine_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Turn every row of the pruned network in the direction of the unpruned one: mean_b (1 - cos(z_S,b , z_T,b)).

    Args:
        student: features of the pruned network, [N, d].
        teacher: features of the unpruned network on the same rows, [N, d]; gets no gradient.

    Returns:
        a float32 scalar in [0, 2]; the mean over the rows of all ranks.
    """
    return mean_over_ranks(1 - row_cosines(student, teacher.detach()))
