"""The order of training rows: random, but rows of like length share a batch, so that little is padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

# A pool of so many batches is sorted by length: large enough to save padding, small enough to stay random.
POOL_BATCHES = 20


def length_grouped_order(lengths: Sequence[int], batch_size: int, seed: int) -> list[int]:
    """Order rows at random, such that each run of `batch_size` has rows of like length.

    All rows are shuffled, cut into pools of 20 batches, sorted by length within a pool, cut into batches, and the
    batches shuffled. A last, smaller batch comes last, where the data loader expects it.

    Args:
        lengths: tokens of each row, [N].
        batch_size: rows in a batch.
        seed: another seed, another order.

    Returns:
        a permutation of range(N).
    """
    generator = torch.Generator().manual_seed(seed)
    shuffled = torch.randperm(len(lengths), generator=generator).tolist()
    pool = POOL_BATCHES * batch_size
    ordered: list[int] = []
    for start in range(0, len(shuffled), pool):
        ordered += sorted(shuffled[start : start + pool], key=lambda row: -lengths[row])
    whole = len(ordered) // batch_size * batch_size
    batches = [ordered[start : start + batch_size] for start in range(0, whole, batch_size)]
    places = torch.randperm(len(batches), generator=generator).tolist()
    return [row for place in places for row in batches[place]] + ordered[whole:]


class LengthGroupedSampler(Sampler[int]):
    """Gives `length_grouped_order`, another one each epoch; a resumed run gets the order it would have had."""

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int) -> None:
        self._lengths = lengths
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader at the start of each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        # Epochs of neighbouring seeds must not share orders.
        return iter(length_grouped_order(self._lengths, self._batch_size, self._seed * 1_000_003 + self._epoch))
