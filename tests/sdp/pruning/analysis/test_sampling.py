"""Where a run is looked at, and on which rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdp.pruning.analysis.probe import affordable_rows, points_between, sample_rows


def test_points_lie_evenly_between_updates_and_five_times_as_many_after_the_last() -> None:
    assert points_between({10: 0.1, 20: 0.2, 30: 0.3}, 80, 1) == {15, 25, 40, 50, 60, 70, 80}
    assert points_between([12, 6], 12, 2) == {8, 10}, "a run that ends with an update"
    assert points_between([6, 12], 20, 0) == {20}
    assert points_between([], 9, 3) == {9}


@settings(max_examples=50, deadline=None)
@given(st.sets(st.integers(1, 60), max_size=12), st.integers(60, 90), st.integers(0, 6))
def test_they_are_steps_of_the_run_and_none_is_an_update(updates: set[int], total: int, between: int) -> None:
    found = points_between(updates, total, between)
    assert all(1 <= step <= total for step in found)
    assert not found & updates
    assert total in found | updates
    assert len(found) <= between * (len(updates) + 4) + 1


def test_looks_take_a_quarter_of_the_rows_that_are_learned_from_within_limits() -> None:
    assert affordable_rows(80_000, 200) == 100
    assert affordable_rows(300, 20) == 32
    assert affordable_rows(10**8, 20) == 256


def test_a_sample_is_of_different_rows_and_the_same_every_time() -> None:
    groups = np.arange(100)
    chosen = sample_rows(groups, 30)
    assert len(set(chosen.tolist())) == 30
    assert np.array_equal(chosen, np.sort(chosen))
    assert np.array_equal(chosen, sample_rows(groups, 30))
    assert {row % 2 for row in chosen.tolist()} == {0, 1}, "rows that alternate between classes are not all of one"
    assert np.array_equal(sample_rows(groups, 1000), groups)


def test_lists_stay_whole() -> None:
    groups = np.array([7, 7, 7, 2, 2, 9, 9, 9, 9, 7])
    sizes = {7: 4, 2: 2, 9: 4}
    for wanted in range(1, 11):
        chosen = sample_rows(groups, wanted)
        found = {int(name): int(np.sum(groups[chosen] == name)) for name in np.unique(groups[chosen])}
        assert found.items() <= sizes.items()
        assert len(chosen) <= max(wanted, 4)
        assert len(chosen)
    assert len(sample_rows(groups, 10)) == 10
    assert len(sample_rows(groups, 9)) == pytest.approx(8, abs=2)
