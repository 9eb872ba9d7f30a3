"""Check one measured value with its interval against one threshold.

A value closer to a threshold than `TOLERANCE` is equal to it, because 0.95 - 0.9 is 0.04999999999999993 in floating
point. An undefined value is never compared: its check is inconclusive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from sdp_onnx.bench.interval import Interval, Undefined

Outcome = Literal["pass", "fail", "inconclusive"]
TOLERANCE = 1e-9
"""Relative to the larger of two numbers; near 0 a thousandth of it, absolutely."""
EXIT_CODES: dict[Outcome, int] = {"pass": 0, "fail": 1, "inconclusive": 3}


@dataclass(frozen=True)
class BenchCell:
    """The benchmark cell of a check: a case (None for all cases together) with a number of threads."""

    case: str | None
    threads: int

    def words(self) -> str:
        """Return the cell as text."""
        return f"{self.case}, {self.threads} threads"


@dataclass(frozen=True)
class Check:
    """One threshold with the measured value.

    Attributes:
        name: the key in [gate].
        outcome: pass, fail or inconclusive.
        threshold: the recipe's threshold; None where the check has none.
        value: the measured value; None where it is undefined.
        low, high: interval of the value, with 2.5 % or less on either side; both equal to an exact value; None where it
            is undefined.
        subject: description of the measured value.
        bound: whether the value must be at least ("min") or at most ("max") the threshold.
        cell: the benchmark cell to measure again; None where more measurements would not help.
        reason: the reason why there is nothing to compare; empty otherwise.
    """

    name: str
    outcome: Outcome
    threshold: float | None
    value: float | None
    low: float | None
    high: float | None
    subject: str
    bound: Literal["min", "max"]
    cell: BenchCell | None = None
    reason: str = ""

    def sentence(self) -> str:
        """Return the check as a sentence."""
        if self.value is None or self.low is None or self.high is None or self.threshold is None:
            return f"{self.subject}: {self.reason}"
        limit = "at least" if self.bound == "min" else "at most"
        value, low, high = (_beside(self.threshold, number) for number in (self.value, self.low, self.high))
        spread = f" [{low}, {high}]" if low != high else ""
        return f"{self.subject} is {value}{spread}, must be {limit} {self.threshold:g}"


def at_least(value: float, threshold: float) -> bool:
    """Whether a value is at least a threshold, up to rounding."""
    return value >= threshold or math.isclose(value, threshold, rel_tol=TOLERANCE, abs_tol=TOLERANCE / 1000)


def _beside(threshold: float, value: float) -> str:
    """Format a value with four digits, or as many as distinguish it from a different threshold."""
    same = at_least(value, threshold) and at_least(threshold, value)
    shown = threshold if same else value
    for digits in (4, 6, 9):
        if same or float(f"{shown:.{digits}g}") != threshold:
            return f"{shown:.{digits}g}"
    return repr(shown)


def judge_bound(
    name: str,
    bound: Literal["min", "max"],
    threshold: float,
    measured: Interval | Undefined,
    subject: str,
    cell: BenchCell | None = None,
) -> Check:
    """Judge one value.

    Args:
        name: the key in [gate].
        bound: "min" or "max".
        threshold: the recipe's threshold.
        measured: the value with its interval.
        subject: description of the measured value.
        cell: its benchmark cell.
    """
    if isinstance(measured, Undefined):
        reason = f"undefined, because {measured.reason}; nothing to compare with {threshold:g}"
        return Check(name, "inconclusive", threshold, None, None, None, subject, bound, reason=reason)
    low, high = measured.low, measured.high
    if bound == "min":
        passes, fails = at_least(low, threshold), not at_least(high, threshold)
    else:
        passes, fails = at_least(threshold, high), not at_least(threshold, low)
    outcome: Outcome = "pass" if passes else "fail" if fails else "inconclusive"
    return Check(name, outcome, threshold, measured.value, low, high, subject, bound, cell)
