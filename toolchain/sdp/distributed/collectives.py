"""Collectives of a data-parallel run, except those in losses; no-ops in a single process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from sdp.distributed.sums import rank_count


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


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace each gradient by its mean over the ranks."""
    ranks = rank_count()
    if ranks > 1:
        for parameter in parameters:
            if parameter.grad is not None:
                dist.all_reduce(parameter.grad)
                parameter.grad /= ranks
