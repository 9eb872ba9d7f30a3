"""What the ranks of a data-parallel run exchange outside of losses; nothing for a single process."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.distributed as dist
from torch import Tensor

from sdp.distributed.sums import rank_count


def this_rank() -> int:
    """The number of this process among those that train together; 0 writes."""
    return dist.get_rank() if rank_count() > 1 else 0


def share(count: int) -> slice:
    """This rank's part of `count` rows: consecutive ones, and no two ranks' parts differ by more than one row."""
    ranks, rank = rank_count(), this_rank()
    return slice(count * rank // ranks, count * (rank + 1) // ranks)


def any_rank(*flags: bool) -> tuple[bool, ...]:
    """For each flag whether it is set on any rank. No rank goes on before all have come here."""
    if rank_count() == 1:
        return flags
    # One more, because nobody waits for a sum of nothing.
    counts = torch.tensor([*flags, False], dtype=torch.int32)
    dist.all_reduce(counts)
    return tuple(bool(count) for count in counts[:-1])


def sum_parts(tensors: Mapping[str, Tensor]) -> None:
    """Add up tensors over the ranks in place: each fills in its part of zeros, and all have the whole afterwards."""
    if rank_count() > 1:
        for tensor in tensors.values():
            dist.all_reduce(tensor)


def from_first_rank(number: int) -> int:
    """Rank 0's number, broadcast. No rank goes on before it has it."""
    if rank_count() == 1:
        return number
    shared = torch.tensor(number)
    dist.broadcast(shared, src=0)
    return int(shared)


def as_on_first_rank(masks: Mapping[str, Tensor]) -> None:
    """Overwrite masks with those of rank 0: a last bit that differs must not make networks that differ."""
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
