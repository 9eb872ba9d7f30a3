"""Distances between the hidden states of both networks."""

from __future__ import annotations

import torch
from torch import Tensor

from sdp.distributed.collectives import mean_over_ranks, sum_over_ranks


def hidden_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Bring hidden states close to the teacher's, measured by their size: |h_S - h_T|^2 / |h_T|^2.

    The division makes layers of different scale count alike (SquareHead, arXiv 2310.06927).

    Args:
        student: hidden states of one layer of the pruned network at the real tokens, [N, d].
        teacher: those of the unpruned network; gets no gradient.

    Returns:
        a float32 scalar; both squares are taken over the tokens of all ranks.
    """
    with torch.autocast(student.device.type, enabled=False):
        ours, target = student.float(), teacher.detach().float()
        distance, size = sum_over_ranks((ours - target).square().sum(), target.square().sum())
        return distance / size


def squared_error_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Bring hidden states close to the teacher's: mean of (h_S - h_T)^2 over tokens and features.

    Args:
        student: hidden states of one layer of the pruned network at the real tokens, [N, d].
        teacher: those of the unpruned network; gets no gradient.

    Returns:
        a float32 scalar, the mean over the tokens of all ranks.
    """
    return mean_over_ranks((student.float() - teacher.detach().float()).square().mean(dim=-1))
