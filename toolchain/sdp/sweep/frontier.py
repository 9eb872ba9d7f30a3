"""The frontier of a sweep: metric, speed-up and size of every level, the gate's verdicts, and the chosen level.

Chosen is the sparsest level that passes the recipe's own gate; a level that fails may well be less sparse (too slow,
too large) than one that passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sdp.choice.measured import DenseModel, measured_model
from sdp.choice.risk import weakest_check
from sdp.gate.check import EXIT_CODES, Outcome
from sdp.pipeline.artifacts.results import FinishedResults
from sdp.recipe.benchmark_tasks import MetricName
from sdp.recipe.gate import GateSection
from sdp.sweep.artifacts import FrontierReport, MeasuredLevel, Weakest


@dataclass(frozen=True)
class Frontier:
    """The results of a sweep so far.

    Attributes:
        name: of the recipe.
        metric: name of the metric.
        gate: the recipe's thresholds.
        wanted: all levels.
        dense: None before a level is finished.
        levels: the finished ones, in rising order of sparsity.
        held_out: whether the chosen level is to be measured on test.
        confirmed: the chosen level on test, once it is measured.
    """

    name: str
    metric: MetricName
    gate: GateSection
    wanted: tuple[float, ...]
    dense: DenseModel | None
    levels: tuple[MeasuredLevel, ...]
    held_out: bool
    confirmed: MeasuredLevel | None = None

    @property
    def finished(self) -> bool:
        """Whether every level is measured."""
        return len(self.levels) == len(self.wanted)

    @property
    def chosen(self) -> MeasuredLevel | None:
        """The sparsest level that passes; None where none does, and before all are measured."""
        passing = [level for level in self.levels if level.verdict == "pass"]
        return passing[-1] if passing and self.finished else None

    @property
    def nearest(self) -> MeasuredLevel | None:
        """Where no level passes, the one whose weakest check is most likely met.

        Equal ones are mostly too large, by sizes that are exact: the sparsest of them is nearest.
        """
        if not self.finished or self.chosen is not None:
            return None
        known = [level for level in reversed(self.levels) if level.weakest is not None]
        return max(known, key=lambda level: level.weakest.probability if level.weakest else 0.0, default=None)

    @property
    def verdict(self) -> Outcome | None:
        """The chosen level's, on test where it is to be measured there; without one inconclusive if any level is, else
        fail. None before everything is measured."""
        if not self.finished or (self.chosen and self.held_out and self.confirmed is None):
            return None
        if self.chosen is not None:
            return self.confirmed.verdict if self.confirmed is not None else "pass"
        return "inconclusive" if any(level.verdict == "inconclusive" for level in self.levels) else "fail"

    def report(self) -> FrontierReport:
        """The frontier as it is stored."""
        verdict = self.verdict
        return FrontierReport(
            recipe=self.name,
            metric=self.metric,
            gate=self.gate.thresholds,
            wanted=self.wanted,
            dense=self.dense,
            levels=self.levels,
            chosen=(self.confirmed or self.chosen) if self.chosen is not None else None,
            nearest=self.nearest,
            verdict=verdict,
            exit_code=EXIT_CODES[verdict] if verdict is not None else None,
            remarks=tuple(remarks(self)),
        )


def measured_level(sparsity: float, folder: str, results: FinishedResults) -> MeasuredLevel:
    """A level of the frontier.

    Args:
        sparsity: as asked for.
        folder: name of the run folder.
        results: of the run.
    """
    weakest = weakest_check(results.gate.checks)
    return MeasuredLevel(
        **measured_model(folder, results.prune, results.export, results.bench).given(),
        sparsity=sparsity,
        verdict=results.gate.verdict,
        weakest=None if weakest is None else Weakest(sentence=weakest[0].sentence, probability=weakest[1]),
    )


def remarks(frontier: Frontier) -> list[str]:
    """The reservations that belong below the frontier."""
    lines = [*_about_the_choice(frontier), *_about_training(frontier)]
    noisy = [f"{level.sparsity:g}" for level in frontier.levels if not all(case.quiet for case in level.cases)]
    if noisy:
        lines.append(f"The machine was noisy at {', '.join(noisy)} (the A/A check failed): speed-ups there are unsure.")
    reasons = {level.undefined: level.split for level in frontier.levels if level.undefined}
    lines += [f"{frontier.metric} is undefined on {split}: {reason}." for reason, split in reasons.items()]
    if not frontier.finished:
        lines.append(f"{len(frontier.levels)} of {len(frontier.wanted)} levels are finished.")
    return lines


def _about_the_choice(frontier: Frontier) -> list[str]:
    chosen, confirmed, count = frontier.chosen, frontier.confirmed, len(frontier.levels)
    lines = []
    if chosen is not None and confirmed is not None:
        lines.append(
            f"Chosen on {chosen.split}, as the sparsest of {count} that passes: {chosen.sparsity:g}. Measured once on "
            f"{confirmed.split}: {confirmed.verdict}."
        )
    elif chosen is not None and not frontier.held_out:
        selected = (
            f" It was selected among {count} on the rows that its own interval is from, which makes it look better "
            "than it is; a test split would show how much."
            if count > 1
            else ""
        )
        lines.append(
            f"Chosen on {chosen.split}, as the sparsest of {count} that passes: {chosen.sparsity:g}.{selected}"
        )
    elif frontier.finished and chosen is None:
        lines.append(f"No level passes the gate{_nearest(frontier.nearest)}")
    if frontier.gate.default_applies:
        drop = f"gate.max_metric_drop = {frontier.gate.metric_drop:g}"
        lines.append(f"[gate] sets no threshold on the metric: the default applies, {drop}.")
    return lines


def _nearest(level: MeasuredLevel | None) -> str:
    if level is None or level.weakest is None:
        return ": none is chosen."
    return (
        f". Nearest is {level.sparsity:g}, in {level.folder}: {level.weakest.sentence}; the probability that it is so "
        f"is {level.weakest.probability:.2f}."
    )


def _about_training(frontier: Frontier) -> Sequence[str]:
    if len(frontier.wanted) == 1:
        return []
    return [
        f"Each level goes on from the one before it with a whole training of its own: the last has "
        f"{len(frontier.wanted)} times the training of a plain run."
    ]
