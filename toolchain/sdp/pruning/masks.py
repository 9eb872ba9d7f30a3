"""Masks: the decision which weights are kept, as pure functions on tensors, and their file.

A mask is True where a weight is kept. The file holds a uint8 tensor for each weight, 1 where it is kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sdp.errors import ModelError

Scope = Literal["layer", "global"]
Pattern = Literal["unstructured", "1x4", "2:4"]
Masks = dict[str, Tensor]

FILE_NAME = "masks.safetensors"

# Consecutive inputs of a block of the pattern 1x4 (what one int8 instruction multiplies at once), or of a group of 2:4.
BLOCK = 4
# How many of a group 2:4 are kept.
KEPT_OF_GROUP = 2


def kept_count(elements: int, sparsity: float) -> int:
    """How many of `elements` weights stay at a sparsity: at most one more or fewer than the share, never negative."""
    return elements - round(elements * sparsity)


def select_masks(
    scores: Mapping[str, Tensor],
    sparsity: float,
    scope: Scope,
    pattern: Pattern = "unstructured",
    max_layer_sparsity: float = 1.0,
) -> Masks:
    """Choose which weights are kept.

    Args:
        scores: name -> score of each weight; the highest are kept.
        sparsity: share to prune, in [0, 1); at most 0.5 with "2:4".
        scope: "layer" ranks within each tensor, "global" over all of them.
        pattern: "unstructured" ranks weights; "1x4" ranks blocks of four consecutive inputs of an output by the sum of
            their scores; "2:4" ranks the two lowest of every four consecutive inputs, and keeps the others, so that at
            0.5 exactly two of every four are kept. The last two are for tensors [out, in] with `in` a multiple of 4.
        max_layer_sparsity: with "global", largest share of any one tensor to prune, at least `sparsity`.

    Returns:
        name -> bool mask of the same shape. Exact: with "layer" each tensor keeps `kept_count` of its own weights (or
        blocks), with "global" all together keep `kept_count` of all. Ties are kept in order of position.
    """
    if pattern == "1x4":
        blocks = {name: score.unflatten(-1, (-1, BLOCK)).sum(dim=-1) for name, score in scores.items()}
        chosen = select_masks(blocks, sparsity, scope, max_layer_sparsity=max_layer_sparsity)
        return {name: mask.repeat_interleave(BLOCK, dim=-1) for name, mask in chosen.items()}
    if pattern == "2:4":
        scores = {name: score.masked_fill(best_of_groups(score), math.inf) for name, score in scores.items()}
    if scope == "layer":
        return {
            name: keep_highest_of([score], kept_count(score.numel(), sparsity))[0] for name, score in scores.items()
        }
    if max_layer_sparsity < 1:
        scores = {name: _with_a_floor(score, max_layer_sparsity) for name, score in scores.items()}
    elements = sum(score.numel() for score in scores.values())
    return dict(zip(scores, keep_highest_of(list(scores.values()), kept_count(elements, sparsity)), strict=True))


def _with_a_floor(scores: Tensor, max_sparsity: float) -> Tensor:
    """Give the best scores of a tensor the highest rank of all, as many as a limit on its sparsity leaves."""
    best = keep_highest_of([scores], scores.numel() - math.floor(scores.numel() * max_sparsity))[0]
    # What is pruned already stays so.
    return scores.masked_fill(best & (scores > -math.inf), math.inf)


def best_of_groups(scores: Tensor) -> Tensor:
    """Mark the two highest of every four consecutive scores of a row; earlier positions win ties.

    Args:
        scores: [out, in], `in` a multiple of 4.

    Returns:
        bool [out, in], exactly two of four True.
    """
    parts = scores.unflatten(-1, (-1, BLOCK)).unbind(-1)
    marked = []
    for position, own in enumerate(parts):
        better = torch.zeros_like(own, dtype=torch.uint8)
        for other, score in enumerate(parts):
            if other != position:
                better += score >= own if other < position else score > own
        marked.append(better < KEPT_OF_GROUP)
    return torch.stack(marked, dim=-1).flatten(-2)


def sparsity_of(masks: Mapping[str, Tensor]) -> float:
    """Share of False over all masks together."""
    elements = sum(mask.numel() for mask in masks.values())
    return 1 - sum(int(mask.count_nonzero()) for mask in masks.values()) / elements if elements else 0.0


def apply_masks(weights: Mapping[str, Tensor], masks: Mapping[str, Tensor]) -> None:
    """Set the pruned weights to +0.0 in place (multiplying would leave -0.0 and keep NaN)."""
    for name, mask in masks.items():
        clear_pruned(weights[name], mask_bits(mask, weights[name].dtype))


def mask_bits(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """An integer for each element of a mask: all bits set where it is True, none where False; for `clear_pruned`.

    Args:
        mask: bool, any shape.
        dtype: of the tensors that are to be masked; the integers are as wide.
    """
    integer = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]
    return mask.to(integer).neg_()


def clear_pruned(tensor: Tensor, bits: Tensor) -> None:
    """Set elements to +0.0 in place, whatever they hold, where `mask_bits` are not set.

    It takes as long as a multiplication, and `masked_fill_` five times longer: it is done to weights and gradients in
    every step.
    """
    tensor.detach().view(bits.dtype).bitwise_and_(bits)


def save_masks(masks: Masks, folder: Path) -> Path:
    """Write masks.safetensors into a folder."""
    path = folder / FILE_NAME
    save_file({name: mask.to("cpu", torch.uint8).contiguous() for name, mask in masks.items()}, path)
    return path


def load_masks(folder: Path) -> Masks:
    """Read masks.safetensors from a folder, as bool tensors.

    Raises:
        ModelError: the file is missing or damaged, or holds something else than masks.
    """
    path = folder / FILE_NAME
    try:
        stored = load_file(path)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ModelError(f"the masks cannot be read: {error}", where=str(path), hint="Prune again.") from None
    for name, mask in stored.items():
        if mask.dtype != torch.uint8 or bool((mask > 1).any()):
            raise ModelError("a mask holds other values than 0 and 1", where=f"{path}: {name}", hint="Prune again.")
    return {name: mask.bool() for name, mask in stored.items()}


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
