"""What a trial will take on this machine, from what earlier ones took. Pure functions."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from sdp.tune.candidates import Trial
from sdp.tune.outcome import Outcome

MARGIN = 1.15
"""Times vary from trial to trial; a trial is begun where this many times the expected time is left."""
FIRST_GUESS = 40.0
"""Seconds of measuring, and of pruning without training, before any trial has shown them."""


@dataclass(frozen=True)
class Costs:
    """Seconds on this machine.

    Attributes:
        measuring: evaluation, export and benchmark.
        one_shot: pruning without training.
        step: an optimizer step of pruning.
    """

    measuring: float
    one_shot: float
    step: float

    def of(self, trial: Trial, done: int = 0) -> float:
        """Seconds to allow for a trial.

        Args:
            trial: the trial.
            done: steps that an interrupted attempt has taken.
        """
        own = self.step * (trial.steps - done) if trial.steps else self.one_shot if trial.candidate.sparsity else 0.0
        return MARGIN * (own + self.measuring)


def costs(finished: Sequence[Outcome], first_step: float) -> Costs:
    """Costs from what finished trials took: medians.

    Args:
        finished: trials.
        first_step: seconds of a step before any trial was trained.
    """
    known = [(own.trial, own.spent.pruning) for own in finished if own.spent.pruning is not None]
    steps = [seconds / trial.steps for trial, seconds in known if trial.steps]
    one_shots = [seconds for trial, seconds in known if not trial.steps and trial.candidate.sparsity]
    return Costs(
        measuring=statistics.median([own.spent.measuring for own in finished] or [FIRST_GUESS]),
        one_shot=statistics.median(one_shots or [FIRST_GUESS]),
        step=statistics.median(steps or [first_step]),
    )


# A training step is a forward and a backward pass, which takes twice as long; in pruning the teacher may run too.
_FORWARD_PASSES = 4.0


def first_step_seconds(
    finetune: tuple[float, int] | None, finetune_batch: int, prune_batch: int, row_seconds: float | None
) -> float:
    """Seconds of a step of pruning before any is measured.

    Args:
        finetune: seconds and steps of the fine-tuning; None where it trained nothing, or was interrupted.
        finetune_batch: rows in a step of it.
        prune_batch: rows in a step of pruning.
        row_seconds: seconds of a row of the evaluation; None where it is unknown.

    Returns:
        the seconds; infinite where nothing is known, so that nothing is trained.
    """
    if finetune is not None:
        seconds, steps = finetune
        return seconds / steps * prune_batch / finetune_batch * _FORWARD_PASSES / 3
    return _FORWARD_PASSES * prune_batch * row_seconds if row_seconds is not None else float("inf")
