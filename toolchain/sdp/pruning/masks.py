"""Masks: the decision which weights are kept, as pure functions on tensors. A mask is True where a weight is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

Scope = Literal["layer", "global"]
Pattern = Literal["unstructured", "1x4"]
Masks = dict[str, Tensor]

# Inputs of a block of the pattern 1x4: what one int8 instruction multiplies at once.
BLOCK = 4


def kept_count(elements: int, sparsity: float) -> int:
    """How many of `elements` weights stay at a sparsity: at most one more or fewer than the share, never negative."""
    return elements - round(elements * sparsity)


def keep_highest(scores: Tensor, keep: int) -> Tensor:
    """Mark the `keep` highest scores. Exact: ties at the threshold are kept in order of position.

    Args:
        scores: any shape, no NaN.
        keep: how many to keep, 0 <= keep <= scores.numel().

    Returns:
        bool tensor of the same shape with `keep` True.
    """
    flat = scores.reshape(-1)
    if keep >= flat.numel():
        return torch.ones_like(scores, dtype=torch.bool)
    threshold = flat.kthvalue(flat.numel() - keep).values
    mask = flat > threshold
    missing = keep - int(mask.sum())
    if missing:
        ties = (flat == threshold).nonzero().reshape(-1)
        mask[ties[:missing]] = True
    return mask.reshape(scores.shape)


def magnitude_scores(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Score weights by |w|; pruned ones get -1, below every other, so that masks only ever shrink.

    Args:
        weights: name -> weight, any shape.
        masks: name -> current mask of the same shape.
    """
    return {name: weight.detach().abs().float().masked_fill(~masks[name], -1.0) for name, weight in weights.items()}


def select_masks(
    scores: Mapping[str, Tensor], sparsity: float, scope: Scope, pattern: Pattern = "unstructured"
) -> Masks:
    """Choose which weights are kept.

    Args:
        scores: name -> score of each weight; the highest are kept.
        sparsity: share to prune, in [0, 1).
        scope: "layer" ranks within each tensor, "global" over all of them.
        pattern: "unstructured" ranks weights; "1x4" ranks blocks of four consecutive inputs of an output by the sum of
            their scores, for tensors [out, in] with `in` a multiple of 4.

    Returns:
        name -> bool mask of the same shape. Exact: with "layer" each tensor keeps `kept_count` of its own weights (or
        blocks), with "global" all together keep `kept_count` of all.
    """
    if pattern == "1x4":
        blocks = {name: score.unflatten(-1, (-1, BLOCK)).sum(dim=-1) for name, score in scores.items()}
        chosen = select_masks(blocks, sparsity, scope)
        return {name: mask.repeat_interleave(BLOCK, dim=-1) for name, mask in chosen.items()}
    if scope == "layer":
        return {name: keep_highest(score, kept_count(score.numel(), sparsity)) for name, score in scores.items()}
    flat = torch.cat([score.reshape(-1) for score in scores.values()])
    marked = keep_highest(flat, kept_count(flat.numel(), sparsity))
    pieces = torch.split(marked, [score.numel() for score in scores.values()])
    return {name: piece.reshape(scores[name].shape) for name, piece in zip(scores, pieces, strict=True)}


def sparsity_of(masks: Mapping[str, Tensor]) -> float:
    """Share of False over all masks together."""
    elements = sum(mask.numel() for mask in masks.values())
    return 1 - sum(int(mask.sum()) for mask in masks.values()) / elements if elements else 0.0


def apply_masks(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
    """Set the pruned weights to +0.0 in place (multiplying would leave -0.0 and keep NaN)."""
    with torch.no_grad():
        for name, mask in masks.items():
            weights[name].masked_fill_(~mask, 0.0)
