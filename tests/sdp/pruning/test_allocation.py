"""Sparsity by matrix: the dynamic programme against every choice there is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from sdp.pruning.allocation import LEVELS, allocate, lowest_cost, sparsity_levels

Tables = tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]


@st.composite
def tables(draw: st.DrawFn, whole: bool = False) -> Tables:
    """Costs and errors of one to four matrices with one to four levels each, in any order."""
    number = st.integers(0, 12).map(float) if whole else st.floats(0, 10)
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    rows = [[draw(st.lists(kind, min_size=n, max_size=n)) for n in sizes] for kind in (number, st.floats(0, 5))]
    costs, errors = ([np.array(row) for row in table] for table in rows)
    return costs, errors


def total(table: list[NDArray[np.float64]], levels: list[int]) -> float:
    return sum(float(row[level]) for row, level in zip(table, levels, strict=True))


def best_of_all(costs: list[NDArray[np.float64]], errors: list[NDArray[np.float64]], budget: float) -> float:
    """The smallest error of all choices within a budget."""
    choices = map(list, itertools.product(*(range(row.size) for row in costs)))
    return min((total(errors, choice) for choice in choices if total(costs, choice) <= budget), default=np.inf)


@given(tables(), st.floats(0, 1), st.sampled_from([7, 50, 1000]))
@settings(deadline=None)
def test_it_fits_and_is_as_good_as_its_units_allow(found: Tables, share: float, resolution: int) -> None:
    costs, errors = found
    lowest, highest = lowest_cost(costs), sum(float(row.max()) for row in costs)
    budget = lowest + share * (highest - lowest)
    levels = allocate(costs, errors, budget, resolution)
    assert total(costs, levels) <= budget + 1e-6
    error = total(errors, levels)
    assert error >= best_of_all(costs, errors, budget + 1e-6) - 1e-9
    rounded = len(costs) * (highest - lowest) / resolution
    # A level whose cost is its matrix's lowest is never rounded: something fits in any case.
    assert error <= best_of_all(costs, errors, max(budget - rounded - 1e-6, lowest)) + 1e-9


@given(tables(whole=True), st.integers(0, 48))
@settings(deadline=None)
def test_whole_units_are_exact(found: Tables, budget: int) -> None:
    costs, errors = found
    span = round(sum(float(row.max() - row.min()) for row in costs))
    if budget < lowest_cost(costs):
        with pytest.raises(ValueError, match="lowest cost"):
            allocate(costs, errors, budget)
        return
    levels = allocate(costs, errors, budget, max(1, span))
    assert total(costs, levels) <= budget
    assert total(errors, levels) == pytest.approx(best_of_all(costs, errors, budget), abs=1e-9)


@given(tables(), st.lists(st.floats(0, 1.2), min_size=2, max_size=5))
@example(([np.array([0.0, 5e-324])], [np.array([1.0, 0.0])]), [0.0, 1.0])
@settings(deadline=None)
def test_a_larger_budget_never_has_a_larger_error(found: Tables, shares: list[float]) -> None:
    costs, errors = found
    lowest, highest = lowest_cost(costs), sum(float(row.max()) for row in costs)
    budgets = sorted(lowest + share * (highest - lowest) for share in shares)
    lost = [total(errors, allocate(costs, errors, budget, 30)) for budget in budgets]
    assert all(after <= before + 1e-9 for before, after in itertools.pairwise(lost))


def test_a_budget_for_everything_has_no_error_and_the_lowest_has_the_cheapest_levels() -> None:
    costs = [np.array([5.0, 3.0, 1.0])] * 3
    errors = [np.array([0.0, 0.2, 1.0])] * 3
    assert allocate(costs, errors, 15.001) == [0, 0, 0]
    assert allocate(costs, errors, 3.0) == [2, 2, 2]
    with pytest.raises(ValueError, match="lowest cost is 3"):
        allocate(costs, errors, 2.9)


def test_a_budget_far_above_costs_next_to_nothing() -> None:
    assert allocate([np.array([0.0, 1e-320])], [np.array([1.0, 0.0])], 1e300) == [1]


def test_what_is_worth_its_cost_is_kept() -> None:
    costs = [np.array([10.0, 1.0])] * 2
    assert allocate(costs, [np.array([0.0, 0.9]), np.array([0.0, 0.1])], 11.0) == [0, 1]


def test_costs_that_do_not_depend_on_the_level_ask_for_no_zeros() -> None:
    assert allocate([np.full(4, 2.0)] * 2, [np.array([0.0, 0.1, 0.2, 0.3])] * 2, 4.0) == [0, 0]


def test_levels_keep_four_fifths_each_and_end_at_the_cap() -> None:
    levels = sparsity_levels(1.0)
    assert len(levels) == LEVELS
    assert levels[0] == 0.0
    assert all((1 - after) / (1 - before) == pytest.approx(0.8) for before, after in itertools.pairwise(levels))
    assert sparsity_levels(0.5) == (*levels[:4], 0.5)
    assert sparsity_levels(levels[7]) == levels[:8]
