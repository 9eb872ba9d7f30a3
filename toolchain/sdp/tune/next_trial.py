"""Which trial comes next, given the finished ones, what trials take, and the time that is left. Pure functions.

First come a few trials without training, `opening`: dense int8, which loses hardly anything; then of each family the
candidates with the fewest and with the most zeros, because a family's speed is a line between the two; where one fails,
the next takes its place. After that, of
all trials that fit into the time, the one with the largest expected gain per second (Snoek et al., arXiv 1206.2944):
the probability that it keeps the promise times the logarithm of how much faster it is than the choice so far. A
candidate is trained to the end only after a quarter of the training (successive halving), so the gain of the shorter
trial is also that of the longer one behind it, over the seconds of both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sdp.tune.candidates import DENSE_INT8, Candidate, Trial
from sdp.tune.costs import Costs
from sdp.tune.expectation import Expectation, expectation
from sdp.tune.outcome import Outcome, Promise, chosen_outcome, measured_speeds
from sdp.tune.speed import Speeds, expected_speedup, family_limit

LEAST_GAIN = 1.02
"""A candidate that is not this many times as fast as the choice is not worth a trial."""
LEAST_CHANCE = 0.02
"""Nor is one whose probability to keep the promise is smaller."""


@dataclass(frozen=True)
class Situation:
    """Everything that the decision rests on.

    Attributes:
        promise: what is asked for.
        candidates: the pruned ones, family by family in rising order of sparsity.
        ladder: the steps that a candidate may be pruned in, in rising order from 0.
        finished: trials.
        failed: trials that ended with an error; their candidates are out.
        begun: interrupted trials -> steps that they have taken.
        costs: of trials on this machine.
        seconds_left: of the budget.
    """

    promise: Promise
    candidates: tuple[Candidate, ...]
    ladder: tuple[int, ...]
    finished: tuple[Outcome, ...]
    costs: Costs
    seconds_left: float
    failed: frozenset[Trial] = frozenset()
    begun: Mapping[Trial, int] = field(default_factory=dict)

    def seconds(self, trial: Trial) -> float:
        """Seconds to allow for a trial."""
        return self.costs.of(trial, self.begun.get(trial, 0))


def next_trial(situation: Situation) -> Trial | None:
    """The trial to begin; None where none is worth it, or none fits into the time."""
    chosen = chosen_outcome(situation.finished, situation.promise)
    speeds = measured_speeds((*situation.finished, chosen))
    fastest = speeds[chosen.trial.candidate]
    out = {trial.candidate for trial in situation.failed}
    for trial in opening([candidate for candidate in situation.candidates if candidate not in out]):
        limit = family_limit(trial.candidate, speeds)
        waits = trial.candidate not in speeds and trial.candidate not in out and limit > LEAST_GAIN * fastest
        if waits and situation.seconds(trial) <= situation.seconds_left:
            return trial
    expected = expectation(situation.finished, max(situation.ladder[1:2] or (1,)))
    hopes = [
        hope
        for candidate in situation.candidates
        if candidate not in out
        for hope in _hopes(candidate, situation, expected, speeds, fastest)
    ]
    best = max(hopes, key=lambda hope: hope.gain_per_second, default=None)
    return None if best is None else best.trial


def opening(candidates: Sequence[Candidate]) -> tuple[Trial, ...]:
    """The trials without training that come first, in order.

    Of the first family the fewest zeros come first: that may be the answer of a short budget. Of others the most zeros:
    they show whether the family can be faster at all. Of fewer layers only the speed is of interest, and the dense
    model is its other end; with zeros in them, what others show of layers and of zeros gives it.

    Args:
        candidates: family by family in rising order of sparsity.
    """
    families = list(dict.fromkeys(candidate.family for candidate in candidates))
    found = [DENSE_INT8]
    for place, family in enumerate(families):
        members = [candidate for candidate in candidates if candidate.family == family]
        if members[0].needs_training:
            found += [] if members[0].layer_sparsity else members[-1:]
            continue
        ends = (members[0], members[-1])
        found += ends if place == 0 else reversed(ends)
    return tuple(Trial(candidate, 0) for candidate in dict.fromkeys(found))


@dataclass(frozen=True)
class _Hope:
    trial: Trial
    gain_per_second: float


def _hopes(
    candidate: Candidate, situation: Situation, expected: Expectation, speeds: Speeds, fastest: float
) -> Iterator[_Hope]:
    """The ways up the ladder of a candidate that fit into the time, each by its first trial."""
    speed = expected_speedup(candidate, speeds)
    if speed is None or speed < LEAST_GAIN * fastest:
        return
    taken = [own.trial.steps for own in situation.finished if own.trial.candidate == candidate]
    least = max([*taken, 0 if candidate.needs_training else -1])
    above = [steps for steps in situation.ladder if steps > least]
    # Training a quarter of the steps needs no trial without training before it.
    starts = [0, 1] if above[:1] == [0] and len(above) > 1 else [0]
    for start in starts if above else ():
        seconds = 0.0
        for steps in above[start:]:
            trial = Trial(candidate, steps)
            seconds += situation.seconds(trial)
            chance = expected.probability(trial, situation.promise)
            if seconds <= situation.seconds_left and chance >= LEAST_CHANCE:
                yield _Hope(Trial(candidate, above[start]), chance * math.log(speed / fastest) / seconds)
