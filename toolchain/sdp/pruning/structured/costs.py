"""What the units of each part cost: weights, or measured time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sdp.errors import RecipeError
from sdp.models.units import Part
from sdp.pipeline.artifacts.unit_times import UnitTimes
from sdp.pruning.structured.choice import unit_counts


@dataclass(frozen=True)
class UnitCosts:
    """Costs by number of units, and how much they may be in the end.

    Attributes:
        counts: name of a part -> how many units it may keep, rising from 0 to all.
        costs: name of a part -> the cost of each of these counts.
        target: what the costs of all parts may add up to in the end.
    """

    counts: Mapping[str, tuple[int, ...]]
    costs: Mapping[str, NDArray[np.float64]]
    target: float

    @property
    def dense(self) -> float:
        """The cost of all units."""
        return sum(float(own[-1]) for own in self.costs.values())

    def budget(self, share: float) -> float:
        """Return what the costs may add up to on the way to the target.

        Args:
            share: of the way, from 0 to 1.
        """
        return self.dense - share * (self.dense - self.target)


def weight_costs(parts: Sequence[Part], weights: Mapping[str, Tensor], sparsity: float) -> UnitCosts:
    """Count weights, such that a share of all linear weights of the encoder is removed.

    Args:
        parts: of the model.
        weights: as from `prunable_weights`.
        sparsity: the share.

    Raises:
        RecipeError: weights without units are more than what may be left.
    """
    counts = {part.name: unit_counts(part.kind, part.units) for part in parts}
    each = {part.name: part.weights_of_a_unit(weights) for part in parts}
    costs = {name: np.array(own, dtype=np.float64) * each[name] for name, own in counts.items()}
    everything = sum(weight.numel() for weight in weights.values())
    others = everything - sum(float(own[-1]) for own in costs.values())
    target = (1 - sparsity) * everything - others
    if target < 0:
        most = np.floor(100 * (1 - others / everything)) / 100
        what = f"{sparsity:g} cannot be reached: only neurons can be removed from this kind of model"
        raise RecipeError(what, where="prune.sparsity", hint=f"Set at most {most:g}.")
    return UnitCosts(counts, costs, target)


def time_costs(times: UnitTimes, target_speedup: float) -> UnitCosts:
    """Return times as costs, such that the file is expected to be so many times as fast as the dense one.

    Raises:
        RecipeError: without any unit it is slower, or with all units faster.
    """
    where = f"prune.target_speedup = {target_speedup:g}"
    budget = times.dense / target_speedup - times.rest
    costs: Mapping[str, NDArray[np.float64]] = {name: np.array(part.ms) for name, part in times.parts.items()}
    lowest = sum(float(own[0]) for own in costs.values())
    if budget < lowest:
        fastest = times.dense / (times.rest + lowest)
        what = f"cannot be reached: without heads and neurons the file is {fastest:.2f} times as fast as the dense one"
        hint = f"Set at most {np.floor(10 * fastest) / 10:g}."
        raise RecipeError(f"{what} here ({times.case}, {times.threads} threads)", where=where, hint=hint)
    if times.whole <= times.dense / target_speedup:
        alone = times.dense / times.whole
        what = (
            f"needs nothing removed: with all heads and neurons the file is {alone:.2f} times as fast as the dense one"
        )
        raise RecipeError(what, where=where, hint=f"Set more than {np.ceil(10 * alone) / 10:g}.")
    return UnitCosts({name: part.counts for name, part in times.parts.items()}, costs, budget)
