"""The outcome of a trial as decisions need it, the promise, and the choice among outcomes. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sdp.choice.risk import probability_at_most
from sdp.tune.candidates import DENSE_FP32, Candidate, Trial
from sdp_onnx.bench.interval import Interval


@dataclass(frozen=True)
class Promise:
    """What is asked for: a loss of at most `max_drop`, with at least this probability."""

    max_drop: float
    confidence: float


@dataclass(frozen=True)
class Spent:
    """Seconds that a trial took.

    Attributes:
        pruning: of the stage that prunes; None where it took up an interrupted attempt.
        measuring: of evaluation, export and benchmark.
    """

    pruning: float | None
    measuring: float


@dataclass(frozen=True)
class Outcome:
    """A finished trial.

    Attributes:
        trial: what was tried.
        drop: of the metric against the dense model, on dev; None where it is undefined.
        speedup: against the dense fp32 file.
        spent: what it took.
    """

    trial: Trial
    drop: Interval | None
    speedup: Interval
    spent: Spent

    def probability(self, promise: Promise) -> float:
        """The probability that the promise is kept; 0 for an undefined drop."""
        return probability_at_most(self.drop, promise.max_drop) if self.drop is not None else 0.0


REFERENCE = Outcome(Trial(DENSE_FP32, 0), Interval.exact(0.0), Interval.exact(1.0), Spent(0.0, 0.0))
"""The dense fp32 file: by definition it loses nothing and is as fast as itself."""


def measured_speeds(finished: Sequence[Outcome]) -> dict[Candidate, float]:
    """The speed-up of each candidate in its longest trial: which weights are left matters little, noise matters more.

    Args:
        finished: trials.
    """
    ordered = sorted(finished, key=lambda own: own.trial.steps)
    return {own.trial.candidate: own.speedup.value for own in ordered}


def chosen_outcome(finished: Sequence[Outcome], promise: Promise) -> Outcome:
    """The fastest model that keeps the promise with its confidence; of equally fast ones the safest.

    Args:
        finished: trials; the dense fp32 file, which always keeps it, need not be among them.
        promise: what is asked for.
    """
    return next(own for own in _fastest_first(finished, promise) if own.probability(promise) >= promise.confidence)


def on_frontier(finished: Sequence[Outcome], promise: Promise) -> tuple[Outcome, ...]:
    """The outcomes, with the dense fp32 file, of which no other is both at least as fast and at least as safe.

    Returns:
        in falling order of speed, and so in rising order of probability.
    """
    found: list[Outcome] = []
    for own in _fastest_first(finished, promise):
        if not found or own.probability(promise) > found[-1].probability(promise):
            found.append(own)
    return tuple(found)


def _fastest_first(finished: Sequence[Outcome], promise: Promise) -> list[Outcome]:
    """All outcomes and the dense fp32 file; of equally fast ones the safest first, then that with less training."""
    speeds = measured_speeds((*finished, REFERENCE))
    return sorted(
        (*finished, REFERENCE),
        key=lambda own: (-speeds[own.trial.candidate], -own.probability(promise), own.trial.steps),
    )
