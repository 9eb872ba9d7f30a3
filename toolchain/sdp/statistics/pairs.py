"""Pairing of what was measured of two models: scores of the same seeds, predictions of the same rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

A = TypeVar("A")
B = TypeVar("B")


def pair_by_key(first: Mapping[int, A], second: Mapping[int, B]) -> list[tuple[A, B]]:
    """The values of the keys (seeds) that both have, in the order of the keys."""
    return [(first[key], second[key]) for key in sorted(first.keys() & second.keys())]


def matching_order(first: Sequence[str], second: Sequence[str]) -> NDArray[np.int64] | None:
    """Place of each row of the first in the second, [N].

    Args:
        first: of each row what identifies it, such as a hash.
        second: the same of the other rows.

    Returns:
        the places; rows that occur more than once are taken in turn. None where they are not the same rows.
    """
    if sorted(first) != sorted(second):
        return None
    order = np.empty(len(first), dtype=np.int64)
    order[np.argsort(np.array(first), kind="stable")] = np.argsort(np.array(second), kind="stable")
    return order
