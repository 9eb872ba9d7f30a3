from __future__ import annotations

import math

import numpy as np
import pytest

from sdp_onnx.bench.interval import Interval
from sdp_onnx.bench.statistics import is_quiet, latency, median_error, paired_ratio


def test_latency_against_closed_forms() -> None:
    result = latency([0.001 * value for value in range(1, 102)], batch_size=4)
    assert result.p50_ms == pytest.approx(51)
    assert result.p90_ms == pytest.approx(91)
    assert result.p99_ms == pytest.approx(100)
    assert result.rows_per_second == pytest.approx(4 * 101 / (0.001 * 101 * 102 / 2))
    assert result.runs == 101


def test_a_constant_ratio_has_an_interval_of_one_point() -> None:
    times = [1.0, 2.0, 4.0, 3.0]
    result = paired_ratio([3 * time for time in times], times)
    assert (result.value, result.low, result.high) == pytest.approx((3, 3, 3))


def test_drift_that_hits_both_files_cancels() -> None:
    drift = np.exp(np.linspace(0, 2, 20))
    rng = np.random.default_rng(0)
    result = paired_ratio(2 * drift * np.exp(rng.normal(0, 0.01, 20)), drift * np.exp(rng.normal(0, 0.01, 20)))
    assert 1.97 < result.low < 2.0 < result.high < 2.03


def test_the_estimate_is_the_median_and_the_inverse_is_the_inverse() -> None:
    numerators, denominators = [2.0, 8.0, 3.0], [1.0, 1.0, 1.0]
    forward, backward = paired_ratio(numerators, denominators), paired_ratio(denominators, numerators)
    assert forward.value == pytest.approx(3)
    assert backward.value == pytest.approx(1 / 3)
    assert backward.low == pytest.approx(1 / forward.high)
    assert paired_ratio(numerators, denominators) == forward


def test_the_interval_covers_the_truth_about_as_often_as_it_claims() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(100):
        result = paired_ratio(np.exp(rng.normal(math.log(2), 0.1, 15)), np.ones(15))
        hits += result.low <= 2 <= result.high
    assert hits >= 88


def test_the_error_of_a_median_against_its_asymptotic_form() -> None:
    """sqrt(pi / 2) sigma / sqrt(n) for normal values."""
    values = np.random.default_rng(0).normal(0, 2, 400)
    assert median_error(values.tolist()) == pytest.approx(math.sqrt(math.pi / 2) * 2 / 20, rel=0.25)
    assert median_error([0.5] * 7) == 0


@pytest.mark.parametrize(
    ("same_file", "quiet"),
    [
        (Interval(1.2, 0.9, 1.5), True),
        (Interval(1.03, 1.02, 1.04), True),
        (Interval(0.97, 0.96, 0.98), True),
        (Interval(1.2, 1.1, 1.3), False),
        (Interval(0.9, 0.85, 0.95), False),
    ],
)
def test_quiet(same_file: Interval, quiet: bool) -> None:
    assert is_quiet(same_file) is quiet
