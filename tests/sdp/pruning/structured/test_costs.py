"""What units cost, and what cannot be reached."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sdp.errors import RecipeError
from sdp.models.layers import prunable_weights
from sdp.models.removal import remove_units
from sdp.models.units import Part, find_parts
from sdp.pipeline.artifacts.unit_times import PartTimes, UnitTimes
from sdp.pruning.structured.costs import time_costs, weight_costs
from sdp.pruning.structured.unit_times import part_times
from support.tiny_models import tiny_model


def part(kind: str, units: int, layer: int = 0) -> Part:
    return Part(f"layer.{layer}", kind, {}, "output", torch.arange(units).view(units, 1))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["bert", "distilbert", "modernbert"])
def test_a_cost_is_the_number_of_weights_that_are_left(kind: str) -> None:
    model = tiny_model(kind)
    parts = find_parts(model)
    costs = weight_costs(parts, prunable_weights(model), 0.5)
    everything = sum(weight.numel() for weight in prunable_weights(model).values())
    assert (costs.dense, costs.target) == (everything, everything / 2)
    assert [costs.budget(share) for share in (0, 0.5, 1)] == [everything, 0.75 * everything, everything / 2]
    kept = {own.name: costs.counts[own.name][1] for own in parts}
    remove_units(model, parts, {own.name: torch.arange(own.units) < kept[own.name] for own in parts})
    left = sum(weight.numel() for weight in prunable_weights(model).values())
    assert left == sum(own[1] for own in costs.costs.values())


def test_weights_without_units_stay() -> None:
    model = tiny_model("mpnet")
    parts = find_parts(model)
    weight_costs(parts, prunable_weights(model), 0.3)
    with pytest.raises(RecipeError, match="only neurons can be removed"):
        weight_costs(parts, prunable_weights(model), 0.9)


def times(dense: float) -> UnitTimes:
    parts = {"a.heads": PartTimes(counts=(0, 1, 2), ms=(0.5, 1.0, 2.0))}
    return UnitTimes(case="1 x 8", threads=2, dense=dense, rest=2.0, parts=parts)


def test_a_speed_is_a_budget_of_time() -> None:
    costs = time_costs(times(4.0), 1.25)
    assert costs.target == pytest.approx(4 / 1.25 - 2)
    assert costs.counts == {"a.heads": (0, 1, 2)}
    np.testing.assert_array_equal(costs.costs["a.heads"], [0.5, 1.0, 2.0])


def test_speeds_beyond_what_units_give_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"without heads and neurons the file is 1\.60 times") as refused:
        time_costs(times(4.0), 2.0)
    assert refused.value.hint == "Set at most 1.6."
    with pytest.raises(RecipeError, match=r"with all heads and neurons the file is 2\.00 times") as refused:
        time_costs(times(8.0), 1.9)
    assert refused.value.hint == "Set more than 2."


HEADS, NEURONS, BOTH = ("heads",), ("neurons",), ("heads", "neurons")


def test_a_part_takes_its_share_of_what_smaller_networks_take_less() -> None:
    parts = [part("neurons", 16), part("neurons", 16, 1)]
    rest, found = part_times(parts, 10.0, {(NEURONS, 0.0): 4.0, (NEURONS, 0.5): 3.5})
    # Half of the neurons took less time than none: that is noise.
    assert found["layer.1.neurons"].counts == (0, 8, 16)
    assert found["layer.1.neurons"].ms == (0.0, 0.0, 3.0)
    assert rest == 4.0


def test_times_of_both_kinds_add_up_to_those_of_networks_with_fewer_of_both() -> None:
    def network(heads: float, neurons: float) -> float:
        return 2 + 4 * heads + 6 * neurons + 3 * heads * neurons

    parts = [part("heads", 4), part("neurons", 32), part("heads", 4, 1), part("neurons", 32, 1)]
    fewer = {(HEADS, share): network(share, 1) for share in (0.0, 0.25, 0.5)}
    fewer |= {(NEURONS, share): network(1, share) for share in (0.0, 0.25, 0.5)}
    fewer |= {(BOTH, share): network(share, share) for share in (0.0, 0.25, 0.5)}
    rest, found = part_times(parts, network(1, 1), fewer)
    assert rest == 2
    assert found["layer.0.heads"] == found["layer.1.heads"]
    for share in (0.0, 0.25, 0.5, 1.0):
        counts = {"heads": round(4 * share), "neurons": round(32 * share)}
        spent = sum(found[own.name].ms[found[own.name].counts.index(counts[own.kind])] for own in parts)
        assert rest + spent == pytest.approx(network(share, share))
    # Heads save 7 of these 16 ms alone.
    assert sum(found[own.name].ms[-1] for own in parts if own.kind == "heads") == pytest.approx(13 * 7 / 16)
