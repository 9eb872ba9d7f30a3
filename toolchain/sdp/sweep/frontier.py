"""The frontier of a sweep: metric, speed-up and size of every level, the gate's verdicts, and the chosen level.

Chosen is the sparsest level that passes the recipe's own gate; a level that fails may well be less sparse (too slow,
too large) than one that passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sdp.gate.check import EXIT_CODES, Outcome
from sdp.gate.measured import measured_on
from sdp.pipeline.artifacts.results import FinishedResults
from sdp.recipe.benchmark_tasks import MetricName
from sdp.recipe.gate import GateSection
from sdp.sweep.artifacts import CaseSpeedUp, DenseModel, FrontierReport, MeasuredLevel
from sdp_onnx.bench.interval import Interval, Undefined


@dataclass(frozen=True)
class Frontier:
    """The results of a sweep so far.

    Attributes:
        name: of the recipe.
        metric: name of the metric.
        gate: the recipe's thresholds.
        epochs: of pruning, for each level; None where the recipe leaves them open.
        wanted: all levels.
        dense: None before a level is finished.
        levels: the finished ones, in rising order of sparsity.
        held_out: whether the chosen level is to be measured on test.
        confirmed: the chosen level on test, once it is measured.
    """

    name: str
    metric: MetricName
    gate: GateSection
    epochs: float | None
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
            epochs=self.epochs,
            wanted=self.wanted,
            dense=self.dense,
            levels=self.levels,
            chosen=(self.confirmed or self.chosen) if self.chosen is not None else None,
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
    exported, bench = results.export, results.bench
    return MeasuredLevel(
        sparsity=sparsity,
        folder=folder,
        split=measured_on(exported),
        zeros=results.prune.sparsity,
        metric=_defined(exported.models["exported"]),
        drop=_defined(exported.drop),
        bytes=bench.candidate_bytes,
        size_ratio=bench.candidate_bytes / bench.baseline_bytes,
        cases=tuple(
            CaseSpeedUp(case=f"{case.case}, {case.threads} threads", speedup=case.speedup, quiet=case.quiet)
            for case in bench.cases
        ),
        verdict=results.gate.verdict,
        undefined=exported.drop.reason if isinstance(exported.drop, Undefined) else "",
    )


def dense_model(results: FinishedResults) -> DenseModel:
    """The dense model of any level; it is the same for all."""
    return DenseModel(metric=_defined(results.export.models["dense"]), bytes=results.bench.baseline_bytes)


def _defined(score: Interval | Undefined) -> Interval | None:
    return score if isinstance(score, Interval) else None


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
        lines.append("No level passes the gate: none is chosen.")
    if frontier.gate.default_applies:
        drop = f"gate.max_metric_drop = {frontier.gate.metric_drop:g}"
        lines.append(f"[gate] sets no threshold on the metric: the default applies, {drop}.")
    return lines


def _about_training(frontier: Frontier) -> Sequence[str]:
    if len(frontier.wanted) == 1:
        return []
    return [
        f"Each level goes on from the one before it with a whole training of its own: the last has "
        f"{len(frontier.wanted)} times the training of a plain run."
    ]
