"""Statistics of a paired benchmark: percentiles, ratios with confidence intervals, and the A/A check."""

from __future__ import annotations

import math
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sdp_onnx.bench.interval import LEVEL, TAIL, Interval

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


@dataclass(frozen=True)
class Start:
    """The results of one start of the three processes in one case.

    Attributes:
        rounds: number of rounds.
        speedup: median over rounds of baseline time / candidate time.
        speedup_error: standard error of its logarithm, from the rounds.
        same_file: the ratio of the two baseline processes.
        p50_ms, p99_ms: percentiles of the candidate's times.
    """

    rounds: int
    speedup: float
    speedup_error: float
    same_file: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Tails:
    """Probabilities that the true value lies below and above an interval; 2.5 % each give a 95 % interval."""

    below: float = TAIL
    above: float = TAIL


def speedup_interval(starts: Sequence[Start], tails: Tails = Tails()) -> Interval:
    """Compute the speed-up over S starts: the mean of their logarithms, with a t interval.

    If a process's time carries a log-normal factor of variance v, rounds included, then the logarithm of a speed-up,
    which has two baseline processes in it and one candidate, has variance 1.5 v, and that of the A/A ratio 2 v. Both
    are estimated together: 0.75 of the squared A/A logarithms and the squared deviations from the mean have 2 S - 1
    degrees of freedom. The interval is never narrower than the standard errors of the rounds.
    """
    logs = [math.log(start.speedup) for start in starts]
    control = sum(math.log(start.same_file) ** 2 for start in starts)
    freedom = 2 * len(starts) - 1
    variance = (_squares(logs) + 0.75 * control) / freedom / len(starts)
    rounds = sum(start.speedup_error**2 for start in starts) / len(starts) ** 2
    return _t_interval(statistics.fmean(logs), math.sqrt(max(variance, rounds)), freedom, tails)


def spread_interval(values: Sequence[float], controls: Sequence[float], tails: Tails = Tails()) -> Interval:
    """Compute a time or a number of bytes over S starts: the geometric mean, with a t interval from their spread.

    Args:
        values: one positive value for each start.
        controls: the A/A ratio of each start. For a single start it is the only estimate of the spread: half of the
            squared logarithm estimates the variance, with one degree of freedom.
        tails: tails of the interval.
    """
    logs = [math.log(value) for value in values]
    if len(logs) > 1:
        freedom, variance = len(logs) - 1, _squares(logs) / (len(logs) - 1) / len(logs)
    else:
        freedom, variance = 1, math.log(controls[0]) ** 2 / 2
    return _t_interval(statistics.fmean(logs), math.sqrt(variance), freedom, tails)


def largest_deviation(ratios: Sequence[float]) -> float:
    """Return the largest factor, 1 or more, between two processes of the same file."""
    return max(math.exp(abs(math.log(ratio))) for ratio in ratios)


def _squares(values: Sequence[float]) -> float:
    mean = statistics.fmean(values)
    return sum((value - mean) ** 2 for value in values)


def _t_interval(mean: float, error: float, freedom: int, tails: Tails) -> Interval:
    from scipy.stats import t

    below, above = (float(t.isf(tail, freedom)) * error for tail in (tails.below, tails.above))
    return Interval(math.exp(mean), _exp(mean - below), _exp(mean + above))


def _exp(logarithm: float) -> float:
    """Return exp without overflow: JSON has no infinity, and an interval that wide is useless."""
    return math.exp(min(max(logarithm, -700.0), 700.0))
