"""From finished trials to the report of a tuning: the choice, its risk, and the reservations. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sdp.choice.risk import probability_at_most, with_rows
from sdp.gate.check import Outcome as Verdict
from sdp.pipeline.artifacts.base import present
from sdp.recipe.benchmark_tasks import MetricName
from sdp.tune.artifacts import FailedTrial, LargerSplit, TrialRow, TuneReport
from sdp.tune.candidates import DENSE_FP32, Trial
from sdp.tune.outcome import Outcome, Promise, chosen_outcome, measured_speeds, on_frontier
from sdp.tune.trials import Finished

MORE_ROWS = (2, 4, 10)
"""Multiples of the dev rows whose intervals are reported."""


@dataclass(frozen=True)
class Progress:
    """What a tuning knows.

    Attributes:
        name: of the recipe.
        metric: name of the metric.
        promise: what is asked for.
        minutes: of the budget.
        held_out: whether there is a test split for the chosen one.
        finished: trials.
        failed: trial -> why.
        confirmed: the chosen one as the recipe evaluates it, and its verdict, once it is.
        ending: why no more trials were begun; empty before the end.
    """

    name: str
    metric: MetricName
    promise: Promise
    minutes: float
    held_out: bool
    finished: Mapping[Trial, Finished]
    failed: Mapping[Trial, str]
    confirmed: Finished | None = None
    verdict: Verdict | None = None
    ending: str = ""

    @property
    def outcomes(self) -> tuple[Outcome, ...]:
        """Of the finished trials."""
        return tuple(own.outcome for own in self.finished.values())

    @property
    def chosen(self) -> Outcome:
        """The fastest that keeps the promise; the dense fp32 model at worst."""
        return chosen_outcome(self.outcomes, self.promise)


def tune_report(progress: Progress) -> TuneReport:
    """The report of a tuning so far."""
    outcomes, chosen = progress.outcomes, progress.chosen
    frontier = on_frontier(outcomes, progress.promise)
    speeds = measured_speeds(outcomes)
    rows = [_row(own, progress.promise, own.outcome in frontier) for own in progress.finished.values()]
    order = {own.trial.name: speeds[own.trial.candidate] for own in outcomes}
    confirmed = progress.confirmed
    return TuneReport(
        recipe=progress.name,
        metric=progress.metric,
        max_drop=progress.promise.max_drop,
        confidence=progress.promise.confidence,
        minutes=progress.minutes,
        dense=next((own.dense for own in progress.finished.values()), None),
        trials=tuple(sorted(rows, key=lambda row: (-order[row.folder], -row.probability))),
        failed=tuple(FailedTrial(trial=trial.name, message=message) for trial, message in progress.failed.items()),
        chosen=chosen.trial.name,
        probability=chosen.probability(progress.promise),
        larger_dev=tuple(_larger_dev(progress.promise, _neighbours(frontier, chosen))),
        confirmed=None if confirmed is None else _row(confirmed, progress.promise, frontier=True),
        verdict=progress.verdict,
        remarks=tuple(remarks(progress, frontier)),
    )


def _row(finished: Finished, promise: Promise, frontier: bool) -> TrialRow:
    outcome = finished.outcome
    own = outcome.trial.candidate
    return TrialRow(
        **finished.row.given(),
        precision=own.precision,
        pattern=own.pattern if own.sparsity else "dense",
        sparsity=own.sparsity,
        **present(layers=own.layers, layer_sparsity=own.layer_sparsity or None),
        steps=outcome.trial.steps,
        speedup=outcome.speedup,
        probability=outcome.probability(promise),
        frontier=frontier,
    )


def _neighbours(frontier: Sequence[Outcome], chosen: Outcome) -> Sequence[Outcome]:
    """The chosen outcome, and the next faster one, which is riskier."""
    place = frontier.index(chosen)
    return [chosen, *frontier[max(0, place - 1) : place]]


def _larger_dev(promise: Promise, outcomes: Sequence[Outcome]) -> Sequence[LargerSplit]:
    found = []
    for own in outcomes:
        if own.drop is None or own.drop.high <= own.drop.low:
            continue
        for times in MORE_ROWS:
            drop = with_rows(own.drop, times)
            probability = probability_at_most(drop, promise.max_drop)
            found.append(LargerSplit(trial=own.trial.name, times=times, drop=drop, probability=probability))
    return found


def remarks(progress: Progress, frontier: Sequence[Outcome]) -> list[str]:
    """The lines below the table."""
    lines = [*_about_the_choice(progress), *_about_the_frontier(progress, frontier)]
    noisy = [own.row.folder for own in progress.finished.values() if not all(case.quiet for case in own.row.cases)]
    if noisy:
        lines.append(f"The machine was noisy (the A/A check failed): speed-ups are unsure of {', '.join(noisy)}.")
    reasons = {own.row.undefined: own.row.split for own in progress.finished.values() if own.row.undefined}
    lines += [f"{progress.metric} is undefined on {split}: {reason}." for reason, split in reasons.items()]
    lines += [f"{trial.name} failed: {message}" for trial, message in progress.failed.items()]
    if progress.ending:
        lines.append(progress.ending)
    return lines


def _about_the_choice(progress: Progress) -> list[str]:
    chosen, promise = progress.chosen, progress.promise
    limit = f"lost at most {promise.max_drop:g}"
    if chosen.trial.candidate == DENSE_FP32:
        what = f"Chosen: the dense fp32 model as it is. No faster one has {limit} with a probability of at least "
        return [f"{what}{promise.confidence:g}."]
    split = progress.finished[chosen.trial].row.split
    lines = [
        f"Chosen on {split}: {chosen.trial.name}, the fastest that has {limit} with a probability of at least "
        f"{promise.confidence:g}; its own is {chosen.probability(promise):.2f}."
    ]
    if chosen.speedup.low <= 1:
        spread = f"[{chosen.speedup.low:.2f}, {chosen.speedup.high:.2f}]"
        lines.append(
            f"That it is faster than dense fp32 is not shown, {spread}: measure on a quieter machine, or raise "
            "bench.starts."
        )
    count = len(progress.finished)
    if count > 1:
        remedy = "test shows how much" if progress.held_out else "a test split would show how much"
        lines.append(
            f"It was selected among {count} on the rows that its own interval is from, which makes loss and "
            f"probability look better than they are; {remedy}."
        )
    if progress.confirmed is not None and progress.held_out:
        lines.append(_on_test(progress.confirmed, promise))
    if progress.verdict is not None:
        lines.append(f"The recipe's own gate: {progress.verdict}.")
    return lines


def _on_test(confirmed: Finished, promise: Promise) -> str:
    outcome, split = confirmed.outcome, confirmed.row.split
    if outcome.drop is None:
        return f"Measured once on {split}: undefined."
    drop = outcome.drop
    return (
        f"Measured once on {split}: lost {drop.value:.4f} [{drop.low:.4f}, {drop.high:.4f}]; the probability of at "
        f"most {promise.max_drop:g} is {outcome.probability(promise):.2f}."
    )


def _about_the_frontier(progress: Progress, frontier: Sequence[Outcome]) -> list[str]:
    place = frontier.index(progress.chosen)
    safer = frontier[place + 1] if place + 1 < len(frontier) else None
    faster = frontier[place - 1] if place else None
    lines = []
    for own, word in ((safer, "safer"), (faster, "faster")):
        if own is not None:
            speed, chance = own.speedup.value, own.probability(progress.promise)
            lines.append(f"Next {word}: {own.trial.name}, {speed:.2f} times as fast as dense fp32, P = {chance:.2f}.")
    for larger in _larger_dev(progress.promise, _neighbours(frontier, progress.chosen)):
        if larger.times == MORE_ROWS[1]:
            low, high = larger.drop.low, larger.drop.high
            lines.append(
                f"With {larger.times} times the dev rows the loss of {larger.trial} would be known to [{low:.4f}, "
                f"{high:.4f}], and the probability be {larger.probability:.2f}, if the loss stayed what it is."
            )
    return lines
