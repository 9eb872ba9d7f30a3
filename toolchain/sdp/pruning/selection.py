"""Exact selection of the highest scores, out of one tensor or many, in a few passes and without a copy of all."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Scores drawn to guess where the threshold lies: n^(2/3) of n, which balances sorting them against ranking what is left
# between the bounds, but no more than this. Few scores are ranked directly.
SAMPLE = 1 << 17
_DIRECT = 1 << 14

# Width of the first guess, in standard errors of the sample's rank: 4 fails once in 16,000 draws, and is then widened.
_ERRORS = 4.0


def keep_highest_of(scores: Sequence[Tensor], keep: int) -> list[Tensor]:
    """Mark the `keep` highest scores of several tensors together, as if they were one after the other.

    Exact: ties at the threshold are kept in order of position.

    A sorted random sample gives a lower and an upper bound of the threshold. Scores above the upper bound are kept;
    only those between the two, a percent or so, are ranked. If counting shows that the threshold is not between the
    bounds, they are widened, so that the result is exact whatever the sample.

    Args:
        scores: tensors of any shape; may hold -inf and +inf.
        keep: how many to keep of all, 0 <= keep <= their number.

    Returns:
        a bool tensor for each, of its shape; `keep` True in all.

    Raises:
        ValueError: the scores hold so many NaN that `keep` others are not there; fewer NaN are not kept.
    """
    elements = sum(score.numel() for score in scores)
    if keep >= elements or keep <= 0:
        return [torch.full_like(score, keep > 0, dtype=torch.bool) for score in scores]
    flat = [score.reshape(-1) for score in scores]
    sample = _sorted_sample(flat, elements) if elements > _DIRECT else None
    errors = _ERRORS
    while True:
        low, high = _bounds(sample, keep / elements, errors) if sample is not None else (-math.inf, math.inf)
        chosen = _keep_between(flat, keep, low, high)
        if chosen is not None:
            return [mask.reshape(score.shape) for mask, score in zip(chosen, scores, strict=True)]
        if (low, high) == (-math.inf, math.inf):
            raise ValueError("scores hold NaN")
        errors *= 4


def _sorted_sample(flat: Sequence[Tensor], elements: int) -> Tensor:
    """Some of the scores in rising order, from each tensor its share, drawn by a generator of its own."""
    size = min(SAMPLE, round(elements ** (2 / 3)))
    generator = torch.Generator().manual_seed(0)
    drawn = []
    for score in flat:
        count = math.ceil(size * score.numel() / elements)
        drawn.append(score[torch.randint(max(1, score.numel()), (count,), generator=generator).to(score.device)])
    return torch.cat(drawn).sort().values


def _bounds(sample: Tensor, share: float, errors: float) -> tuple[float, float]:
    """Where the threshold that keeps a share of the scores most likely lies; infinite beyond the sample's ends."""
    size = sample.numel()
    middle = size * (1 - share)
    margin = errors * math.sqrt(size * share * (1 - share)) + errors
    low, high = math.floor(middle - margin), math.ceil(middle + margin)
    return (
        float(sample[low]) if low >= 0 else -math.inf,
        float(sample[high]) if high < size else math.inf,
    )


def _keep_between(flat: Sequence[Tensor], keep: int, low: float, high: float) -> list[Tensor] | None:
    """Keep what lies above `high`, and the best between the bounds; None if the threshold is not between them."""
    masks = [score > high for score in flat]
    missing = keep - sum(int(mask.count_nonzero()) for mask in masks)
    if missing < 0:
        return None
    positions = [((score >= low) ^ mask).nonzero().reshape(-1) for score, mask in zip(flat, masks, strict=True)]
    counts = [found.numel() for found in positions]
    if sum(counts) < missing:
        return None
    if low == high:
        best = torch.arange(sum(counts), device=flat[0].device) < missing
    else:
        best = _rank(torch.cat([score[found] for score, found in zip(flat, positions, strict=True)]), missing)
    for mask, found, good in zip(masks, positions, best.split(counts), strict=True):
        mask[found[good]] = True
    return masks


def _rank(values: Tensor, keep: int) -> Tensor:
    """Mark the `keep` highest of a few values [n]; earlier positions win ties."""
    if keep >= values.numel() or keep == 0:
        return torch.full_like(values, keep > 0, dtype=torch.bool)
    threshold = values.kthvalue(values.numel() - keep).values
    mask = values > threshold
    missing = keep - int(mask.count_nonzero())
    if missing:
        mask[(values == threshold).nonzero().reshape(-1)[:missing]] = True
    return mask
