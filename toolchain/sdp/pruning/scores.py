"""Scores of weights as pure functions on tensors, apart from those that need a memory (`criteria`)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def magnitude_scores(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Score weights by |w|; pruned ones get -inf, below every other, so that masks only ever shrink.

    Args:
        weights: name -> weight, any shape.
        masks: name -> current mask of the same shape.
    """
    return {
        name: weight.detach().abs().float().masked_fill_(~masks[name], -math.inf) for name, weight in weights.items()
    }


def lamp_scores(weight: Tensor) -> Tensor:
    """Layer-adaptive magnitude: w^2 / sum of v^2 over all v of the tensor with v^2 >= w^2 (LAMP, arXiv 2010.07611).

    The share of a weight in the norm of what would remain if all smaller ones were pruned first. Sums are float64.

    Args:
        weight: any shape.

    Returns:
        float32 of the same shape, in [0, 1]; 0 where the weight is 0.
    """
    squares, order = weight.detach().reshape(-1).double().square().sort(descending=True)
    sums = squares.cumsum(0)
    # Equal squares share the sum that holds all of them: the one at the last of them.
    last = torch.ones_like(squares, dtype=torch.bool)
    last[:-1] = squares[:-1] != squares[1:]
    ends = last.nonzero().reshape(-1)
    group = last.cumsum(0) - last.long()
    scores = torch.where(squares > 0, squares / sums[ends[group]], 0.0)
    return torch.empty_like(scores).scatter_(0, order, scores).reshape(weight.shape).float()


def lookahead_scores(weight: Tensor, inputs: Tensor | None = None, outputs: Tensor | None = None) -> Tensor:
    """Distortion of a weight and its neighbours: w_ij^2 * |before_j|^2 * |after_i|^2 (arXiv 2002.04809).

    Args:
        weight: w [out, in].
        inputs: the weight before it, whose row j makes input j, [in, any]; a factor 1 without it.
        outputs: the weight after it, whose column i reads output i, [any, out]; a factor 1 without it.

    Returns:
        float32 [out, in].
    """
    scores = weight.detach().float().square()
    if inputs is not None:
        scores = scores * inputs.detach().float().square().sum(dim=1)
    if outputs is not None:
        scores = scores * outputs.detach().float().square().sum(dim=0).unsqueeze(1)
    return scores
