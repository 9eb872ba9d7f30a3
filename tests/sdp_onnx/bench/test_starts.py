"""Intervals over starts, against scipy's t interval and by simulation of processes that differ by chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sdp_onnx.bench.statistics import Start, Tails, largest_deviation, speedup_interval, spread_interval


def start(speedup: float, same_file: float, error: float = 0.0) -> Start:
    return Start(10, speedup, error, same_file, 1.0, 2.0)


def test_times_against_scipys_t_interval() -> None:
    values = [10.0, 11.0, 10.4, 9.8]
    logs = np.log(values)
    low, high = stats.t.interval(0.95, 3, loc=logs.mean(), scale=stats.sem(logs))
    result = spread_interval(values, [1.0] * 4)
    assert (result.value, result.low, result.high) == pytest.approx(
        (stats.gmean(values), math.exp(low), math.exp(high))
    )
    wider = spread_interval(values, [1.0] * 4, Tails(below=0.001, above=0.025))
    assert wider.low < result.low
    assert wider.high == result.high


def test_a_single_start_has_the_spread_of_its_control() -> None:
    result = spread_interval([10.0], [1.02])
    assert result.high / 10 == pytest.approx(math.exp(math.log(1.02) / math.sqrt(2) * stats.t.isf(0.025, 1)))
    assert 10 / result.low == pytest.approx(result.high / 10)


def test_an_interval_is_never_narrower_than_the_rounds_say() -> None:
    result = speedup_interval([start(3.0, 1.0, error=0.03)] * 4)
    assert math.log(result.high / 3) == pytest.approx(stats.t.isf(0.025, 7) * 0.03 / 2)
    assert speedup_interval([start(3.0, 1.0)] * 4).low == pytest.approx(3)


@pytest.mark.parametrize(("count", "noise"), [(1, 0.0), (3, 0.0), (3, 0.05), (9, 0.02)])
def test_speedups_cover_the_truth_as_often_as_they_say(count: int, noise: float) -> None:
    """Every process has a factor of its own for life, and every median of rounds an error."""
    rng = np.random.default_rng(5)
    trials, missed = 1500, [0, 0]
    for _ in range(trials):
        # [start, process]
        logs = rng.normal(0, 0.03, (count, 3)) + rng.normal(0, noise, (count, 3))
        starts = [start(2 * math.exp((a + b) / 2 - c), math.exp(a - b)) for a, b, c in logs]
        found = speedup_interval(starts)
        missed[0] += found.low > 2
        missed[1] += found.high < 2
    # 2.5 % each; four standard errors of the simulation are 1.6 %.
    assert all(0.009 < share / trials < 0.041 for share in missed)


def test_the_largest_deviation_in_either_direction() -> None:
    assert largest_deviation([1.02, 0.9, 1.05]) == pytest.approx(1 / 0.9)
    assert largest_deviation([1.0]) == 1


def test_two_starts_that_are_worlds_apart_still_give_numbers() -> None:
    result = spread_interval([1e-3, 1e9], [1.0, 1.0])
    assert math.isfinite(result.high)
    assert result.low > 0
