"""Aligned weight regularizers: the units of the pruned network stay close to those of the unpruned one.

Both compare weights, not activations: they need no forward pass of the teacher and are the same on every rank.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from sdp.losses.cosine import row_cosines


def align_cosine_loss(student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> Tensor:
    """Mean over layers and output units of 1 - cos(w_i, v_i), the incoming weights of unit i (arXiv 2204.01385).

    A unit that is pruned altogether has no direction and counts as 1.

    Args:
        student: layer name -> weights after masking, [out, in].
        teacher: layer name -> the unpruned network's weights, [out, in]; gets no gradient.

    Returns:
        a float32 scalar in [0, 2].
    """
    cosines = [row_cosines(student[name], weight.detach()) for name, weight in teacher.items()]
    return 1 - torch.cat(cosines).mean()


def align_frobenius_loss(student: Mapping[str, Tensor], teacher: Mapping[str, Tensor]) -> Tensor:
    """Mean over layers of |W_S - W_T|^2 / |W_T|^2, Frobenius norms (arXiv 2204.01385).

    Args:
        student: layer name -> weights after masking, [out, in].
        teacher: layer name -> the unpruned network's weights, [out, in]; gets no gradient.

    Returns:
        a float32 scalar.
    """
    ratios = []
    for name, weight in teacher.items():
        target = weight.detach().float()
        distance = functional.mse_loss(student[name].float(), target, reduction="sum")
        ratios.append(distance / torch.linalg.vector_norm(target).square())
    return torch.stack(ratios).mean()
