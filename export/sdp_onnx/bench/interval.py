"""Values with intervals: scores, drops, speed-ups, times and bytes are reported as these.

An interval has a confidence level of `LEVEL`, a tail of `TAIL` on either side. A function that computes another one
(joint low ends, a share of a tail for each of several looks) documents it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

LEVEL = 0.95
"""Confidence level of every reported interval."""
TAIL = 0.025
"""Probability that the true value lies below an interval with this level; the same above it."""
SAME = 1e-12
"""Values that differ by less are equal: the difference is rounding."""


@dataclass(frozen=True)
class Interval:
    """An estimated value and the ends of its interval; `dataclasses.asdict` gives its JSON form."""

    value: float
    low: float
    high: float

    @classmethod
    def exact(cls, value: float) -> Self:
        """Return an exact value: both ends equal it."""
        return cls(value, value, value)

    def contains(self, value: float) -> bool:
        """Whether a value lies between the ends, or on one."""
        return self.low <= value <= self.high

    def to_json(self) -> dict[str, Any]:
        """Return the three numbers by name."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Undefined:
    """The interval of an undefined value, such as F1 of rows without a positive label.

    Attributes:
        reason: the reason, a phrase that completes "undefined, because ...".
    """

    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the keys of an interval with null, and the reason under "undefined"."""
        return {"value": None, "low": None, "high": None, "undefined": self.reason}
