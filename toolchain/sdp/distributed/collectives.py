"""Exchange between the ranks of a data-parallel run: sums with gradients, and numbers, masks and flags without."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def this_rank() -> int:
    """Return this process's rank among the training processes; rank 0 writes files."""
    return dist.get_rank() if rank_count() > 1 else 0


def rank_slice(count: int) -> slice:
    """Return this rank's slice of `count` rows: consecutive rows, and all ranks' sizes are equal up to one row."""
    ranks, rank = rank_count(), this_rank()
    return slice(count * rank // ranks, count * (rank + 1) // ranks)


def any_rank(*flags: bool) -> tuple[bool, ...]:
    """Return for each flag whether any rank has set it. All ranks wait for each other here."""
    if rank_count() == 1:
        return flags
    # One element more: an all-reduce of an empty tensor does not synchronize.
    counts = torch.tensor([*flags, False], dtype=torch.int32)
    dist.all_reduce(counts)
    return tuple(bool(count) for count in counts[:-1])


def sum_parts(tensors: Mapping[str, Tensor]) -> None:
    """Sum tensors over the ranks in place: each rank fills its part and leaves zeros elsewhere."""
    if rank_count() > 1:
        for tensor in tensors.values():
            dist.all_reduce(tensor)


def broadcast_number(number: int) -> int:
    """Rank 0's number, broadcast. No rank goes on before it has it."""
    if rank_count() == 1:
        return number
    shared = torch.tensor(number)
    dist.broadcast(shared, src=0)
    return int(shared)


def broadcast_masks(masks: Mapping[str, Tensor]) -> None:
    """Overwrite masks with rank 0's masks, so that rounding differences between ranks cannot change the network."""
    if rank_count() > 1:
        for mask in masks.values():
            dist.broadcast(mask.view(torch.uint8), src=0)


def broadcast_weights(weights: Iterable[Tensor]) -> None:
    """Overwrite weights with rank 0's, so that rounding differences between ranks cannot make networks differ."""
    if rank_count() > 1:
        for weight in weights:
            dist.broadcast(weight.detach(), src=0)


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace each gradient by its mean over the ranks."""
    ranks = rank_count()
    if ranks > 1:
        for parameter in parameters:
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)
                parameter.grad /= ranks


class _SumOverRanks(torch.autograd.Function):
    """All-reduce whose gradient is all-reduced too.

    The gradient of an input is the gradient of the sum of all ranks' losses. DistributedDataParallel divides by the
    number of ranks, so a parameter gets the gradient of the mean of the ranks' losses. For a loss that is equal on all
    ranks, this is the gradient of the loss.
    """

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return _all_reduced(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _all_reduced(gradients[0])


_sum_over_ranks: Any = _SumOverRanks.apply


def _all_reduced(tensor: Tensor) -> Tensor:
    total = tensor.detach().clone(memory_format=torch.contiguous_format)
    dist.all_reduce(total)
    return total


def rank_count() -> int:
    """Number of processes that train together, now; 1 before they met, after they parted, and without torchrun.

    `launcher.process_count` is how many torchrun started.
    """
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_ranks(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Sum each tensor over all ranks in one message; every rank calls it with the same shapes.

    Args:
        tensors: float32, any shapes.

    Returns:
        the sums, of the same shapes; the tensors themselves where there is one rank.
    """
    if rank_count() == 1:
        return tensors
    flat: Tensor = _sum_over_ranks(torch.cat([tensor.reshape(-1) for tensor in tensors]))
    pieces = torch.split(flat, [tensor.numel() for tensor in tensors])
    return tuple(piece.reshape(tensor.shape) for piece, tensor in zip(pieces, tensors, strict=True))


def mean_over_ranks(values: Tensor, kept: Tensor | None = None) -> Tensor:
    """Average values over all ranks: K ranks of B values give the mean of K * B values.

    Args:
        values: float32, any shape; its size may differ between ranks.
        kept: bool, the same shape; selects the values that count. Without it all count.

    Returns:
        a scalar; 0 where no value counts.
    """
    if kept is None:
        total, count = values.sum(), values.new_full((), float(values.numel()))
    else:
        total, count = values.masked_fill(~kept, 0.0).sum(), kept.sum().to(values.dtype)
    total, count = sum_over_ranks(total, count)
    return total / count.clamp_min(1)
