"""Intervals of speed-ups, times and bytes over several starts of the processes, computed from logarithms.

Some random factors, such as the placement of memory, last for the life of a process. Starts are therefore the
independent units, not rounds (Kalibera and Jones, "Rigorous benchmarking in reasonable time", 2013). In every start two
processes of the same file measure the random variation: the A/A control.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from sdp_onnx.bench.interval import TAIL, Interval


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
