"""Which units are kept: those that lose least within a budget. Pure functions.

The error of a part with k units is the sum of the importances of all others, of which the least important go first: in
a quadratic model of the loss without products of different masks (arXiv 2204.09656) no k units lose less. How many each
part keeps is chosen by a dynamic programme over all parts, as in ZipLM (arXiv 2302.04089) and SPDY (arXiv 2201.13096).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdp.pipeline.artifacts.kept_units import UnitKind
from sdp.pruning.allocation import allocate

NEURON_STEP = 64
"""Neurons come and go in groups of this many: products of such widths are fast on every device."""
_FEWEST_STEPS = 16
_SMALLEST_STEP = 8


def unit_step(kind: UnitKind, units: int) -> int:
    """Return how many units come and go together: one head; 64 neurons, fewer where a layer has less than 1,024."""
    if kind == "heads":
        return 1
    step = NEURON_STEP
    while step > _SMALLEST_STEP and units < _FEWEST_STEPS * step:
        step //= 2
    return step


def unit_counts(kind: UnitKind, units: int) -> tuple[int, ...]:
    """Return how many units a part may keep, rising from 0 to all."""
    return (*range(0, units, unit_step(kind, units)), units)


def errors_of(importance: Tensor, counts: Sequence[int]) -> NDArray[np.float64]:
    """Return the error of a part that keeps its most important units, for each count.

    Args:
        importance: [units].
        counts: of units, each 0 to `units`.
    """
    rising = importance.double().sort().values.numpy()
    lost = np.concatenate(([0.0], np.cumsum(rising)))
    return np.asarray(lost[len(rising) - np.asarray(counts)], np.float64)


def most_important(importance: Tensor, count: int) -> Tensor:
    """Mark the `count` most important units, bool [units]; earlier ones win ties."""
    kept = torch.zeros(len(importance), dtype=torch.bool)
    kept[importance.sort(descending=True, stable=True).indices[:count]] = True
    return kept


def choose_units(
    importances: Mapping[str, Tensor],
    counts: Mapping[str, Sequence[int]],
    costs: Mapping[str, NDArray[np.float64]],
    budget: float,
) -> dict[str, Tensor]:
    """Choose the units of all parts that cost no more than a budget, and lose least.

    Args:
        importances: name of a part -> importance of its units, [units].
        counts: name of a part -> how many units it may keep.
        costs: name of a part -> the cost of each of these counts.
        budget: most that the costs add up to.

    Returns:
        name of a part -> which units are kept, bool [units].

    Raises:
        ValueError: the lowest costs are above the budget.
    """
    names = list(importances)
    errors = [errors_of(importances[name], counts[name]) for name in names]
    chosen = allocate([costs[name] for name in names], errors, budget)
    return {
        name: most_important(importances[name], counts[name][level]) for name, level in zip(names, chosen, strict=True)
    }
