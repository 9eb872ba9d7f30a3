"""Intervals of speed-ups, times and bytes that were measured in several starts of the processes, by logarithms.

A start of a process leaves things to chance that stay for its whole life, such as where its memory lies, so the units
that repeat independently are starts, not rounds (Kalibera and Jones, "Rigorous benchmarking in reasonable time", 2013).
Two processes of the same file show in every start how far chance alone goes: the A/A control.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from sdp_onnx.bench.interval import TAIL, Interval


@dataclass(frozen=True)
class Start:
    """What one start of the three processes measured of one case.

    Attributes:
        rounds: how often each process had its turn.
        speedup: median over rounds of baseline time / candidate time.
        speedup_error: standard error of its logarithm, from the rounds.
        same_file: the same ratio of the two baseline processes.
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
    """How probable it may be that the truth lies below an interval, and above it; 2.5 % each make a 95 % interval."""

    below: float = TAIL
    above: float = TAIL


def speedup_interval(starts: Sequence[Start], tails: Tails = Tails()) -> Interval:
    """The speed-up over S starts: the mean of their logarithms, with a t interval.

    If a process's time carries a log-normal factor of variance v, rounds included, then the logarithm of a speed-up,
    which has two baseline processes in it and one candidate, has variance 1.5 v, and that of the A/A ratio 2 v. Both
    are estimated together: 0.75 of the squared A/A logarithms and the squared deviations from the mean have 2 S - 1
    degrees of freedom. The interval is never narrower than the rounds' own errors say.
    """
    logs = [math.log(start.speedup) for start in starts]
    control = sum(math.log(start.same_file) ** 2 for start in starts)
    freedom = 2 * len(starts) - 1
    variance = (_squares(logs) + 0.75 * control) / freedom / len(starts)
    rounds = sum(start.speedup_error**2 for start in starts) / len(starts) ** 2
    return _t_interval(statistics.fmean(logs), math.sqrt(max(variance, rounds)), freedom, tails)


def spread_interval(values: Sequence[float], controls: Sequence[float], tails: Tails = Tails()) -> Interval:
    """A time or a number of bytes over S starts: the geometric mean, with a t interval from the spread between them.

    Args:
        values: one positive value a start.
        controls: the A/A ratio of each start. Of a single start they are all that is known of the spread: half of the
            squared logarithm estimates the variance, with one degree of freedom.
        tails: of the interval.
    """
    logs = [math.log(value) for value in values]
    if len(logs) > 1:
        freedom, variance = len(logs) - 1, _squares(logs) / (len(logs) - 1) / len(logs)
    else:
        freedom, variance = 1, math.log(controls[0]) ** 2 / 2
    return _t_interval(statistics.fmean(logs), math.sqrt(variance), freedom, tails)


def largest_deviation(ratios: Sequence[float]) -> float:
    """The factor, 1 or more, by which two processes of the same file differed at most."""
    return max(math.exp(abs(math.log(ratio))) for ratio in ratios)


def _squares(values: Sequence[float]) -> float:
    mean = statistics.fmean(values)
    return sum((value - mean) ** 2 for value in values)


def _t_interval(mean: float, error: float, freedom: int, tails: Tails) -> Interval:
    from scipy.stats import t

    below, above = (float(t.isf(tail, freedom)) * error for tail in (tails.below, tails.above))
    return Interval(math.exp(mean), _exp(mean - below), _exp(mean + above))


def _exp(logarithm: float) -> float:
    """exp without overflow: beyond, an interval says nothing, and JSON has no infinity."""
    return math.exp(min(max(logarithm, -700.0), 700.0))
