"""The risk that a model is worse than it was measured to be, from estimates with their intervals. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable

from scipy import stats

from sdp.gate.check import at_least
from sdp.pipeline.artifacts.verdict import StoredCheck
from sdp_onnx.bench.interval import TAIL, Interval

# Standard errors from the middle of an interval to its ends.
Z = float(stats.norm.isf(TAIL))


def probability_at_most(measured: Interval, limit: float) -> float:
    """The probability that a true value is at most a limit.

    Normal on either side of the measured value, with the standard error of that side: its part of the interval, / 1.96.
    So it is 2.5 % at the low end, 50 % at the value and 97.5 % at the high end: for the bootstrap interval of a drop,
    which is paired by rows and exists for every metric, these are the shares of draws below (Efron and Tibshirani 1993,
    chapter 13).

    Args:
        measured: the value with its interval; an exact one is at most the limit or not.
        limit: the limit.
    """
    error = (measured.high - measured.value if limit >= measured.value else measured.value - measured.low) / Z
    if error <= 0:
        return 1.0 if at_least(limit, measured.value) else 0.0
    return float(stats.norm.cdf((limit - measured.value) / error))


def with_rows(measured: Interval, times: float) -> Interval:
    """The interval that so many times the rows would give around the same value: narrower by sqrt(times).

    Args:
        measured: an interval over rows that were drawn independently.
        times: rows, as a multiple of those that it is from.
    """
    scale = math.sqrt(times)
    low, high = measured.value - measured.low, measured.high - measured.value
    return Interval(measured.value, measured.value - low / scale, measured.value + high / scale)


def weakest_check(checks: Iterable[StoredCheck]) -> tuple[StoredCheck, float] | None:
    """The check of a gate that is least likely to be met, and the probability; None where nothing is checked.

    An undefined value meets nothing.
    """
    found = [(check, _probability_met(check)) for check in checks]
    return min(found, key=lambda own: own[1], default=None)


def _probability_met(check: StoredCheck) -> float:
    if check.value is None or check.low is None or check.high is None or check.threshold is None:
        return 0.0
    if check.bound == "max":
        return probability_at_most(Interval(check.value, check.low, check.high), check.threshold)
    return probability_at_most(Interval(-check.value, -check.high, -check.low), -check.threshold)
