"""Statistics of a paired benchmark: percentiles, ratios with confidence intervals, and the A/A check."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdp_onnx.bench.interval import LEVEL, Interval

_RESAMPLES = 4000
_ERROR_RESAMPLES = 1000
_SEED = 0

# An A/A ratio this close to 1 is quiet, however narrow its interval.
_QUIET_DEVIATION = 0.05


@dataclass(frozen=True)
class Latency:
    """Times of all runs of one file in one case.

    Attributes:
        p50_ms, p90_ms, p99_ms: percentiles of the time of one batch, in milliseconds.
        rows_per_second: rows of all runs divided by their time.
        runs: number of timed runs.
    """

    p50_ms: float
    p90_ms: float
    p99_ms: float
    rows_per_second: float
    runs: int


def latency(seconds: Sequence[float], batch_size: int) -> Latency:
    """Summarize the seconds of each run of batches of `batch_size` rows."""
    p50, p90, p99 = (float(value) * 1000 for value in np.percentile(seconds, [50, 90, 99]))
    return Latency(p50, p90, p99, batch_size * len(seconds) / math.fsum(seconds), len(seconds))


def paired_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Interval:
    """Compute the ratio of two times measured in the same rounds, [rounds] each, at least two.

    Its value is the median over rounds of numerator / denominator; its interval is a percentile bootstrap over
    rounds, which are the independent units here. Medians of ratios and of their logarithms differ only for even
    numbers of rounds; the logarithm gives the ratio and its inverse the same relative width. The seed is fixed, so that
    the same times give the same interval.
    """
    from scipy.stats import bootstrap

    logarithms = np.log(np.asarray(numerators, dtype=np.float64) / np.asarray(denominators, dtype=np.float64))
    with warnings.catch_warnings():
        # If all rounds are equal, the interval is one point.
        warnings.simplefilter("ignore")
        interval = bootstrap(
            (logarithms,),
            _median,
            confidence_level=LEVEL,
            n_resamples=_RESAMPLES,
            method="percentile",
            rng=np.random.default_rng(_SEED),
        ).confidence_interval
    low, estimate, high = interval.low, np.median(logarithms), interval.high
    return Interval(math.exp(estimate), math.exp(low), math.exp(high))


def median_error(values: Sequence[float]) -> float:
    """Estimate the standard error of a median by the bootstrap; 0 where all values are equal. The seed is fixed."""
    drawn = np.random.default_rng(_SEED).choice(np.asarray(values, dtype=np.float64), (_ERROR_RESAMPLES, len(values)))
    return float(np.median(drawn, axis=1).std(ddof=1))


def is_quiet(same_file: Interval) -> bool:
    """Whether the machine was quiet by the A/A ratio: its interval includes 1, or it is within 5 % of 1."""
    return same_file.contains(1.0) or abs(same_file.value - 1.0) < _QUIET_DEVIATION


def _median(values: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    return np.asarray(np.median(values, axis=axis))
