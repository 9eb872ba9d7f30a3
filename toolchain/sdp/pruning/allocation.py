"""Sparsity by matrix: the levels that each may have, and which of them lose least within a budget. Pure numpy.

A dynamic programme over (matrix, budget used), as in SPDY (arXiv 2201.13096) and ZipLM (arXiv 2302.04089). What is
minimized is the plain sum of the matrices' errors; SPDY searches for a factor for each matrix besides, by evaluating
the network many times.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

KEPT_BY_LEVEL = 0.8
"""Each level keeps this share of the weights of the level before it: steps are finest where zeros save most."""
LEVELS = 21
RESOLUTION = 100_000
"""Units in which costs are counted, between the lowest and the highest total."""

# Costs that are whole units must not take one more for a rounding error.
_ROUNDING = 1e-9


def sparsity_levels(most: float) -> tuple[float, ...]:
    """Return the sparsities that a matrix may have: 1 - 0.8^k for k = 0, 1, ... 20.

    Args:
        most: the largest one; it is a level where 1 - 0.8^20 = 0.988 is above it.
    """
    levels = tuple(1 - KEPT_BY_LEVEL**level for level in range(LEVELS))
    below = tuple(level for level in levels if level < most)
    return below if len(below) == LEVELS else (*below, most)


def lowest_cost(costs: Sequence[NDArray[np.float64]]) -> float:
    """Return the smallest total that any choice of levels has."""
    return sum(float(own.min()) for own in costs)


def allocate(
    costs: Sequence[NDArray[np.float64]],
    errors: Sequence[NDArray[np.float64]],
    budget: float,
    resolution: int = RESOLUTION,
) -> list[int]:
    """Choose a level for each matrix such that the costs fit a budget and the sum of the errors is smallest.

    Costs above a matrix's lowest one are rounded up to units of 1 / `resolution` of the range of the total, whatever
    the budget: the choice always fits, a larger budget never has a larger error, and no choice that costs less than
    the budget by one unit for each matrix is better. Where costs are whole units it is exact.

    Args:
        costs: of each matrix by level, [levels], not negative.
        errors: the same for errors.
        budget: most that the costs of the chosen levels add up to.
        resolution: number of units.

    Returns:
        the level of each matrix.

    Raises:
        ValueError: no choice fits.
    """
    lowest = lowest_cost(costs)
    # A budget that was summed in another order may differ by rounding.
    if budget < lowest - _ROUNDING * abs(lowest):
        raise ValueError(f"the lowest cost is {lowest:g}, and the budget {budget:g}")
    span = sum(float(own.max()) for own in costs) - lowest
    # The unit of a range that is next to nothing rounds to 0: then all costs count as the same.
    unit = span / resolution or 1.0
    units = [np.ceil((own - own.min()) / unit - _ROUNDING).astype(np.int64).clip(0) for own in costs]
    most = sum(int(own.max()) for own in units)
    room = int(np.floor(min(float(most), max(0.0, budget - lowest) / unit + _ROUNDING)))
    return _cheapest_errors(units, errors, room)


def _cheapest_errors(units: Sequence[NDArray[np.int64]], errors: Sequence[NDArray[np.float64]], room: int) -> list[int]:
    """Choose levels whose units add up to `room` at most, with the smallest sum of errors."""
    best = np.zeros(room + 1)
    chosen: list[NDArray[np.int16]] = []
    for own, error in zip(units, errors, strict=True):
        reached = np.full(room + 1, np.inf)
        choice = np.zeros(room + 1, dtype=np.int16)
        for level, (cost, lost) in enumerate(zip(own.tolist(), error.tolist(), strict=True)):
            if cost > room:
                continue
            with_it = best[: room + 1 - cost] + lost
            better = with_it < reached[cost:]
            reached[cost:][better] = with_it[better]
            choice[cost:][better] = level
        best = reached
        chosen.append(choice)
    levels = []
    for own, choice in zip(reversed(units), reversed(chosen), strict=True):
        levels.append(int(choice[room]))
        room -= int(own[levels[-1]])
    return levels[::-1]
