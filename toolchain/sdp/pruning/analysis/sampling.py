"""When a run is looked at besides its mask updates, and on which rows: pure arithmetic."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

# The recovery phase is long against the gap between two updates.
AT_THE_END = 5
FEWEST_ROWS, MOST_ROWS = 32, 256
# A row that is looked at costs about a third of one that is learned from (no backward pass): a quarter as many take a
# twelfth of the time.
LEARNED_FOR_ONE_SEEN = 4


def points_between(updates: Collection[int], total_steps: int, between: int) -> set[int]:
    """Optimizer steps at which the student is looked at besides the mask updates.

    Between two updates `between` of them, evenly spaced; after the last update five times as many, and always the last
    step of the run. Fewer where there are fewer steps.

    Args:
        updates: steps with a mask update.
        total_steps: steps of the run.
        between: points between two updates.
    """
    order = sorted(updates)
    spans = [(start, end, between) for start, end in pairwise(order)]
    if order:
        # One more, because the last step of the run is not one between.
        spans.append((order[-1], total_steps, max(0, AT_THE_END * between - 1)))
    inner = {round(start + (end - start) * k / (count + 1)) for start, end, count in spans for k in range(1, count + 1)}
    return (inner | {total_steps}) - set(order)


def affordable_rows(trained: int, looks: int) -> int:
    """The number of rows to measure each time without slowing down training much.

    Args:
        trained: rows that are learned from in the whole run, each as often as it comes.
        looks: how often the student is looked at.

    Returns:
        a quarter of what is learned from for all looks together, but 32 to 256 for each.
    """
    return min(MOST_ROWS, max(FEWEST_ROWS, trained // (LEARNED_FOR_ONE_SEEN * max(1, looks))))


def sample_rows(groups: NDArray[np.int64], wanted: int) -> NDArray[np.int64]:
    """Choose random rows, the same for every seed of the run, so that runs are comparable.

    Args:
        groups: the list that each row belongs to, [N]; the rows of a list stay together.
        wanted: how many rows: as many whole lists as fit, but at least one.

    Returns:
        numbers of rows, ascending.
    """
    names, members, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.random.default_rng(0).permutation(len(names))
    fitting = int(np.searchsorted(np.cumsum(sizes[order]), wanted, side="right"))
    return np.flatnonzero(np.isin(members, order[: max(1, fitting)]))
