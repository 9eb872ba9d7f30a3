"""One threshold against one measured value with its interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Outcome = Literal["pass", "fail", "inconclusive"]
EXIT_CODES: dict[Outcome, int] = {"pass": 0, "fail": 1, "inconclusive": 3}


@dataclass(frozen=True)
class Cell:
    """What of the benchmark a check is about: a case (None: all of them together) with a number of threads."""

    case: str | None
    threads: int

    def words(self) -> str:
        """The cell as a person reads it."""
        return f"{self.case}, {self.threads} threads"


@dataclass(frozen=True)
class Check:
    """One threshold and what was measured against it.

    Attributes:
        name: the key in [gate].
        outcome: pass, fail or inconclusive.
        threshold: from the recipe.
        value: measured.
        low, high: interval of the value, with 2.5 % or less on either side; both equal to it where it is exact.
        subject: what was measured, in words.
        bound: whether the value must be at least ("min") or at most ("max") the threshold.
        cell: what of the benchmark more measurements would be of; None where they would not help.
    """

    name: str
    outcome: Outcome
    threshold: float
    value: float
    low: float
    high: float
    subject: str
    bound: Literal["min", "max"]
    cell: Cell | None = None

    def sentence(self) -> str:
        """The check in words."""
        limit = "at least" if self.bound == "min" else "at most"
        spread = f" [{self.low:.4g}, {self.high:.4g}]" if self.low != self.high else ""
        return f"{self.subject} is {self.value:.4g}{spread}, must be {limit} {self.threshold:g}"


def judge_bound(
    name: str,
    bound: Literal["min", "max"],
    threshold: float,
    estimate: dict[str, float],
    subject: str,
    cell: Cell | None = None,
) -> Check:
    """Judge one value.

    Args:
        name: the key in [gate].
        bound: "min" or "max".
        threshold: the recipe's.
        estimate: "value", "low" and "high".
        subject: what was measured, in words.
        cell: what of the benchmark it is.
    """
    low, high = estimate["low"], estimate["high"]
    if bound == "min":
        outcome: Outcome = "pass" if low >= threshold else "fail" if high < threshold else "inconclusive"
    else:
        outcome = "pass" if high <= threshold else "fail" if low > threshold else "inconclusive"
    return Check(name, outcome, threshold, estimate["value"], low, high, subject, bound, cell)
