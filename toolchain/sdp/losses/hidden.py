"""Distances between the hidden states of both networks, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sdp.distributed.collectives import mean_over_ranks, sum_over_ranks


def hidden_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], attention_mask: Tensor) -> Tensor:
    """Bring the hidden states of the real tokens close to the teacher's: sum over layers of |h_S - h_T|^2 / |h_T|^2.

    The division makes layers of different scale count alike (SquareHead, arXiv 2310.06927).

    Args:
        student: hidden states of the pruned network, one [B, L, d] a layer.
        teacher: hidden states of the unpruned network at the same layers; gets no gradient.
        attention_mask: [B, L], 1 for real tokens, 0 for padding.

    Returns:
        a float32 scalar; both squares are taken over the tokens of all ranks.
    """
    real = attention_mask.unsqueeze(-1).float()
    squares: list[Tensor] = []
    with torch.autocast(attention_mask.device.type, enabled=False):
        for ours, theirs in zip(student, teacher, strict=True):
            target = theirs.detach().float() * real
            squares += [(ours.float() * real - target).square().sum(), target.square().sum()]
        distances, sizes = sum_over_ranks(torch.stack(squares[::2]), torch.stack(squares[1::2]))
        return (distances / sizes).sum()


def squared_error_loss(student: Sequence[Tensor], teacher: Sequence[Tensor], attention_mask: Tensor) -> Tensor:
    """Bring the hidden states of the real tokens close to the teacher's: mean of (h_S - h_T)^2.

    Args:
        student: hidden states of the pruned network, one [B, L, d] a layer.
        teacher: hidden states of the unpruned network at the same layers; gets no gradient.
        attention_mask: [B, L], 1 for real tokens, 0 for padding.

    Returns:
        a float32 scalar, the mean over the real tokens of all ranks, over features, and over layers.
    """
    real = attention_mask.bool()
    errors = [
        mean_over_ranks((ours[real].float() - theirs[real].detach().float()).square().mean(dim=-1))
        for ours, theirs in zip(student, teacher, strict=True)
    ]
    return torch.stack(errors).mean()
