"""The order of training rows: random, but rows of like length share a batch, so that little is padding."""

from __future__ import annotations

import math
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


def endless_order(lengths: Sequence[int], batch_size: int, seed: int, start: int, count: int) -> list[int]:
    """Cut a part out of an endless order of rows, which is one `length_grouped_order` of all of them after another.

    Args:
        lengths: tokens of each row, [N].
        batch_size: rows in a batch.
        seed: another seed, another order.
        start: where the part begins.
        count: how long it is.
    """
    part: list[int] = []
    while len(part) < count:
        turn, place = divmod(start + len(part), len(lengths))
        order = length_grouped_order(lengths, batch_size, seed + turn)
        part += order[place : place + count - len(part)]
    return part


class LengthGroupedSampler(Sampler[int]):
    """Gives `length_grouped_order`, another one each epoch; a resumed run gets the order it would have had.

    With rows without labels, an epoch is a pass over the labelled ones, and batches of the others come between.

    Args:
        lengths: tokens of each row, [N].
        batch_size: rows in a batch.
        seed: of the recipe.
        labeled: rows with a label, which stand first; all without it.
        unlabeled_share: share of the batches that are of rows without one.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        seed: int,
        labeled: int | None = None,
        unlabeled_share: float = 0.0,
    ) -> None:
        labeled = len(lengths) if labeled is None else labeled
        self._lengths, self._unlabeled = lengths[:labeled], lengths[labeled:]
        self._batch_size = batch_size
        self._seed = seed
        self._epoch = 0
        own = math.ceil(labeled / batch_size)
        self._more = round(own * unlabeled_share / (1 - unlabeled_share)) * batch_size if self._unlabeled else 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader at the start of each epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths) + self._more

    def __iter__(self) -> Iterator[int]:
        # Epochs of neighbouring seeds must not share orders.
        seed = self._seed * 1_000_003 + self._epoch
        order = length_grouped_order(self._lengths, self._batch_size, seed)
        if not self._more:
            return iter(order)
        start = self._epoch * self._more
        more = endless_order(self._unlabeled, self._batch_size, self._seed * 1_000_003, start, self._more)
        size = self._batch_size
        whole = len(order) // size * size
        rows = order[:whole] + [row + len(self._lengths) for row in more]
        places = torch.randperm(len(rows) // size, generator=torch.Generator().manual_seed(seed)).tolist()
        return iter([row for place in places for row in rows[place * size : (place + 1) * size]] + order[whole:])
