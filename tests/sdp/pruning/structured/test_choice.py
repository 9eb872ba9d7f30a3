"""Which units are kept, against every other choice."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sdp.pruning.structured.choice import choose_units, errors_of, most_important, unit_counts

IMPORTANCES = st.lists(st.integers(0, 20), min_size=1, max_size=4)


@given(st.lists(IMPORTANCES, min_size=1, max_size=3), st.integers(0, 12))
def test_no_other_choice_within_the_budget_loses_less(importances: list[list[int]], budget: int) -> None:
    """A unit costs 1: all subsets of all parts are tried."""
    parts = {str(index): torch.tensor(own, dtype=torch.float64) for index, own in enumerate(importances)}
    counts = {name: unit_counts("heads", len(own)) for name, own in parts.items()}
    costs = {name: np.array(own, dtype=float) for name, own in counts.items()}
    # Costs are rounded up to parts of their range.
    kept = choose_units(parts, counts, costs, budget + 0.01)

    assert sum(int(own.sum()) for own in kept.values()) <= budget
    flat = [value for own in importances for value in own]
    lost = sum(float(parts[name][~own].sum()) for name, own in kept.items())
    subsets = (subset for size in range(budget + 1) for subset in itertools.combinations(range(len(flat)), size))
    assert lost == min(sum(flat) - sum(flat[index] for index in subset) for subset in subsets)


@given(IMPORTANCES)
def test_errors_are_what_the_least_important_units_add_up_to(importance: list[int]) -> None:
    own = torch.tensor(importance, dtype=torch.float64)
    counts = unit_counts("heads", len(importance))
    errors = errors_of(own, counts)
    for count, error in zip(counts, errors, strict=True):
        least = min(sum(gone) for gone in itertools.combinations(importance, len(importance) - count))
        assert error == least
        assert float(own[~most_important(own, count)].sum()) == least


def test_earlier_units_win_ties() -> None:
    assert most_important(torch.tensor([1.0, 2.0, 1.0, 1.0]), 2).tolist() == [True, True, False, False]


def test_neurons_come_in_groups_and_heads_one_by_one() -> None:
    assert unit_counts("heads", 3) == (0, 1, 2, 3)
    assert unit_counts("neurons", 1536) == (*range(0, 1536, 64), 1536)
    assert unit_counts("neurons", 20) == (0, 8, 16, 20)
    assert unit_counts("neurons", 512) == (*range(0, 512, 32), 512)


def test_a_budget_below_the_lowest_cost_is_refused() -> None:
    with pytest.raises(ValueError, match="lowest cost"):
        choose_units({"a": torch.ones(2)}, {"a": (1, 2)}, {"a": np.array([2.0, 3.0])}, 1.0)
