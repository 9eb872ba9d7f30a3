"""The rise of sparsity against its closed form."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.pruning.schedule import mask_updates, sparsity_at


def test_closed_forms() -> None:
    assert sparsity_at(0.5, 0.8, "cubic") == 0.8 * (1 - 0.125)
    assert sparsity_at(0.5, 0.8, "uniform") == 0.4
    assert sparsity_at(-1, 0.8, "cubic") == 0
    assert sparsity_at(2, 0.8, "uniform") == 0.8


def test_a_rise_from_where_another_ended() -> None:
    # Zhu and Gupta's formula: s_f + (s_i - s_f) * (1 - p)^3.
    assert sparsity_at(0.5, 0.9, "cubic", 0.5) == pytest.approx(0.9 + (0.5 - 0.9) * 0.5**3)
    assert sparsity_at(0.25, 0.9, "uniform", 0.5) == pytest.approx(0.6)
    assert (sparsity_at(0, 0.9, "cubic", 0.7), sparsity_at(1, 0.9, "cubic", 0.7)) == (0.7, 0.9)


def test_uniform_steps_of_the_papers_example() -> None:
    """100 -> 90 -> ... -> 10 % remaining: nine equal steps to 0.9."""
    plan = mask_updates(900, 1.0, 9, 0.9, "uniform")
    assert list(plan) == [100 * k for k in range(1, 10)]
    assert [round(s, 6) for s in plan.values()] == [round(0.1 * k, 6) for k in range(1, 10)]


@given(
    st.integers(1, 5000),
    st.floats(0.01, 1),
    st.integers(1, 200),
    st.floats(0, 0.999),
    st.sampled_from(["cubic", "uniform"]),
    st.floats(0, 1),
)
def test_a_plan_rises_to_the_final_sparsity_within_the_run(
    steps: int, ramp: float, updates: int, final: float, schedule: str, share: float
) -> None:
    initial = final * share
    plan = mask_updates(steps, ramp, updates, final, schedule, initial)
    assert list(plan) == sorted(plan)
    assert min(plan) >= 1
    assert max(plan) <= steps
    assert len(plan) <= updates
    values = list(plan.values())
    assert all(before <= after + 1e-15 for before, after in pairwise([initial, *values]))
    assert values[-1] == final
