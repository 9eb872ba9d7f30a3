"""Divide rows into train, dev and test.

A unit, the rows with equal texts (in a ranking: the rows of one list), is never divided. Each class is divided
separately, so that the splits have equal shares of it. The choice of units depends on the seed and the texts alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from sdp.data.rows import SPLITS, SplitName

SHARES: dict[SplitName, float] = {"dev": 0.1, "test": 0.2}
"""Share of the rows; the rest is for training."""


def assign(keys: Sequence[bytes], strata: Sequence[object], wanted: Sequence[SplitName], seed: int) -> NDArray[np.int8]:
    """Return the index in SPLITS of each row's split, [N].

    Args:
        keys: key of each row's unit: equal for rows that stay together, [N].
        strata: class of each row, [N]; a unit has the class of its first row.
        wanted: the splits to make besides train.
        seed: seed of the division.
    """
    rows_of: dict[bytes, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        rows_of[key].append(row)
    units: dict[object, list[bytes]] = defaultdict(list)
    for key, rows in rows_of.items():
        units[strata[rows[0]]].append(key)
    sides = np.zeros(len(keys), dtype=np.int8)
    for own in units.values():
        shuffled = sorted(own, key=lambda key: blake2b(key, digest_size=16, salt=seed.to_bytes(8)).digest())
        start = 0
        for split, count in _counts(len(own), wanted).items():
            for key in shuffled[start : start + count]:
                sides[rows_of[key]] = SPLITS.index(split)
            start += count
    return sides


def _counts(units: int, wanted: Sequence[SplitName]) -> dict[SplitName, int]:
    """Return the units of a class for each wanted split: its share, at least one, as long as train keeps one."""
    counts: dict[SplitName, int] = {}
    left = units - 1
    # Test first: if units are too few for both, the final score is worth more than the choice.
    for split in sorted(wanted, reverse=True):
        counts[split] = min(left, max(1, round(units * SHARES[split])))
        left -= counts[split]
    return counts
