"""What running a tuning would do, as it is printed. Nothing is run or written here."""

from __future__ import annotations

from dataclasses import dataclass

from sdp.data.identity import count_rows
from sdp.tune.candidates import DENSE_FP32
from sdp.tune.next_trial import opening
from sdp.tune.setup import Tune
from sdp.tune.trials import finished_trials


@dataclass(frozen=True)
class TunePlan:
    """The plan of a tuning; `dataclasses.asdict` gives its JSON form.

    Attributes:
        folder: the tuning's folder.
        minutes: of the budget.
        max_drop, confidence: the promise.
        candidates: names of all.
        opening: names of the trials that come first.
        steps: what a candidate may be trained for; None where the data is not here yet.
        done: names of trials that are up to date.
        test_at_the_end: whether the chosen one is measured on test.
    """

    folder: str
    minutes: float
    max_drop: float
    confidence: float
    candidates: tuple[str, ...]
    opening: tuple[str, ...]
    steps: tuple[int, ...] | None
    done: tuple[str, ...]
    test_at_the_end: bool

    def lines(self) -> list[str]:
        """The plan as a person reads it."""
        steps = "steps not known yet" if self.steps is None else f"{', '.join(f'{s:,}' for s in self.steps)} steps"
        lines = [
            f"candidates: {', '.join(self.candidates)}",
            f"first, without training: {', '.join(self.opening)}",
            f"then, as time allows, what gains most per second: {steps}",
            f"{len(self.done)} trials are done in {self.folder}; the budget is {self.minutes:g} minutes",
            f"chosen: the fastest that loses at most {self.max_drop:g} with a probability of at least "
            f"{self.confidence:g}",
        ]
        if self.test_at_the_end:
            lines.append("Trials are judged on dev; the chosen one is then measured on test.")
        return lines


def plan_tune(tune: Tune) -> TunePlan:
    """Find what a tuning may try, and what of it is done."""
    rows = count_rows(tune.recipe)["train"]
    steps = None if rows is None else tune.ladder(rows)
    first = opening(tune.candidates)
    dense = [trial.candidate for trial in first if not trial.candidate.sparsity]
    return TunePlan(
        folder=str(tune.out),
        minutes=tune.minutes,
        max_drop=tune.promise.max_drop,
        confidence=tune.promise.confidence,
        candidates=tuple(own.name for own in (DENSE_FP32, *dense, *tune.candidates)),
        opening=tuple(trial.name for trial in first),
        steps=steps,
        done=tuple(trial.name for trial, _ in finished_trials(tune, steps or (0,))),
        test_at_the_end=tune.held_out,
    )
