"""The probability that a value is at most a limit, against bootstrap draws, scipy and the gate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from sdp.choice.risk import Z, probability_at_most, weakest_check, with_rows
from sdp.data.rows import Split
from sdp.gate.check import judge_bound
from sdp.pipeline.artifacts.verdict import StoredCheck
from sdp.recipe.benchmark_tasks import MetricName
from sdp.statistics.intervals import bootstrap_interval, resampled_scores
from sdp_onnx.bench.interval import Interval, Undefined

# Half-widths of 0 aside, as intervals of measured drops are.
WIDTHS = st.floats(1e-4, 0.2)
VALUES = st.floats(-0.1, 0.5)


def test_at_the_ends_it_is_the_tail_and_in_the_middle_one_half() -> None:
    drop = Interval(0.01, -0.004, 0.03)
    assert probability_at_most(drop, drop.low) == pytest.approx(0.025)
    assert probability_at_most(drop, drop.value) == pytest.approx(0.5)
    assert probability_at_most(drop, drop.high) == pytest.approx(0.975)


def test_an_exact_value_is_at_most_the_limit_or_not() -> None:
    assert probability_at_most(Interval.exact(0.0), 0.0) == 1.0
    # 0.95 - 0.94 is a little more than 0.01 in floating point.
    assert probability_at_most(Interval.exact(0.95 - 0.94), 0.01) == 1.0
    assert probability_at_most(Interval.exact(0.02), 0.01) == 0.0


@given(VALUES, WIDTHS, VALUES)
def test_symmetric_intervals_are_normal(value: float, half: float, limit: float) -> None:
    found = probability_at_most(Interval(value, value - half, value + half), limit)
    assert found == pytest.approx(stats.norm(value, half / Z).cdf(limit), abs=1e-12)


@given(VALUES, WIDTHS, WIDTHS, VALUES, VALUES)
def test_it_rises_with_the_limit(value: float, below: float, above: float, one: float, other: float) -> None:
    drop = Interval(value, value - below, value + above)
    low, high = sorted((one, other))
    assert 0 <= probability_at_most(drop, low) <= probability_at_most(drop, high) <= 1


@given(VALUES, WIDTHS, WIDTHS, VALUES)
def test_the_gate_passes_where_the_tail_is_behind_the_limit(
    value: float, below: float, above: float, limit: float
) -> None:
    drop = Interval(value, value - below, value + above)
    outcome = judge_bound("max_metric_drop", "max", limit, drop, "drop").outcome
    expected = {"pass": (0.975, 1.0), "inconclusive": (0.025, 0.975), "fail": (0.0, 0.025)}[outcome]
    assert expected[0] - 1e-6 <= probability_at_most(drop, limit) <= expected[1] + 1e-6


def draws_of(metric: MetricName) -> tuple[float, np.ndarray]:
    """The drop between two models on 400 rows, and 4,000 bootstrap draws of it."""
    generator = np.random.default_rng(3)
    if metric in ("pearson", "spearman"):
        labels = generator.normal(size=400).astype(np.float32)
        first, second = (labels + generator.normal(scale=scale, size=400) for scale in (0.4, 0.6))
    else:
        labels = generator.integers(0, 2, 400)
        first, second = (np.where(generator.random(400) < right, labels, 1 - labels) for right in (0.9, 0.87))
    split = Split("dev", tuple(("x",) for _ in range(400)), labels, ("",) * 400)
    draws = resampled_scores(metric, split, [first, second], 4000, 0)
    all_rows = resampled_scores(metric, split, [first, second], 1, 0)
    assert all_rows.shape == (1, 2)
    return float(np.mean(draws[:, 0] - draws[:, 1])), draws[:, 0] - draws[:, 1]


@pytest.mark.parametrize(
    "metric", ["accuracy", "f1", pytest.param("matthews", marks=pytest.mark.slow), "pearson", "spearman"]
)
def test_it_is_the_share_of_bootstrap_draws(metric: MetricName) -> None:
    value, draws = draws_of(metric)
    drop = bootstrap_interval(value, draws)
    assert isinstance(drop, Interval)
    for limit in np.quantile(draws, [0.05, 0.2, 0.5, 0.8, 0.95]):
        assert probability_at_most(drop, float(limit)) == pytest.approx(np.mean(draws <= limit), abs=0.03)


def test_more_rows_narrow_the_interval_as_drawing_more_of_them_does() -> None:
    generator = np.random.default_rng(0)
    rows = generator.choice([-1, 0, 1], size=100_000, p=[0.03, 0.9, 0.07]).astype(float)

    def interval(count: int) -> Interval:
        means = rows[generator.integers(0, len(rows), (4000, count))].mean(axis=1)
        found = bootstrap_interval(float(rows.mean()), means)
        assert isinstance(found, Interval)
        return found

    expected, found = interval(800), with_rows(interval(200), 4)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.003)
    assert with_rows(Interval.exact(0.5), 10) == Interval.exact(0.5)


def test_the_weakest_check_is_the_least_likely_one() -> None:
    drop = Interval(0.01, -0.01, 0.03)
    checks = [
        StoredCheck.of(judge_bound("max_metric_drop", "max", 0.02, drop, "drop")),
        StoredCheck.of(judge_bound("min_speedup", "min", 3.0, Interval(2.9, 2.7, 3.1), "speed-up")),
    ]
    found = weakest_check(checks)
    assert found is not None
    assert found[0].name == "min_speedup"
    assert found[1] == pytest.approx(stats.norm(2.9, 0.2 / Z).sf(3.0))
    undefined = StoredCheck.of(judge_bound("min_metric", "min", 0.5, Undefined("no row"), "metric"))
    assert weakest_check([*checks, undefined]) == (undefined, 0.0)
    assert weakest_check([]) is None
