"""What a sweep found: metric, speed-up and size of every level, the gate's verdicts, and which level is chosen.

Chosen is the sparsest level that passes the recipe's own gate; a level that fails may well be less sparse (too slow,
too large) than one that passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from sdp.gate.check import EXIT_CODES, Outcome
from sdp.gate.measured import measured_on
from sdp.recipe.gate import GateSection
from sdp_onnx.bench.interval import Interval, Undefined, interval_from_json


@dataclass(frozen=True)
class SpeedUp:
    """One case of the benchmark: the exported file against the dense one; `quiet` says that the A/A check held."""

    case: str
    speedup: Interval
    quiet: bool


@dataclass(frozen=True)
class Point:
    """A level as it was measured.

    Attributes:
        sparsity: as asked for.
        folder: its run folder, in the sweep's.
        split: what the metric is of, in words.
        zeros: share of zeros in the encoder's linear weights.
        metric: of the exported file.
        drop: against the dense model, on the same rows.
        bytes: of the exported file.
        size_ratio: its share of the dense file's.
        cases: speed-ups, in the order of the benchmark.
        verdict: the gate's.
        undefined: why metric or drop is undefined, in words; empty where they are not.
    """

    sparsity: float
    folder: str
    split: str
    zeros: float
    metric: Interval | Undefined
    drop: Interval | Undefined
    bytes: int
    size_ratio: float
    cases: tuple[SpeedUp, ...]
    verdict: Outcome
    undefined: str = ""


@dataclass(frozen=True)
class Dense:
    """What all levels come from: its metric on the rows that levels are judged on, and the bytes of its ONNX file."""

    metric: Interval | Undefined
    bytes: int


@dataclass(frozen=True)
class Frontier:
    """What a sweep found so far.

    Attributes:
        name: of the recipe.
        metric: name of the metric.
        gate: the recipe's thresholds.
        epochs: of pruning, for each level.
        wanted: all levels.
        dense: None before a level is finished.
        points: finished levels, in rising order of sparsity.
        held_out: whether the chosen level is to be measured on test.
        confirmed: the chosen level on test, once it is measured.
    """

    name: str
    metric: str
    gate: GateSection
    epochs: float
    wanted: tuple[float, ...]
    dense: Dense | None
    points: tuple[Point, ...]
    held_out: bool
    confirmed: Point | None = None

    @property
    def finished(self) -> bool:
        """Whether every level is measured."""
        return len(self.points) == len(self.wanted)

    @property
    def chosen(self) -> Point | None:
        """The sparsest level that passes; None where none does, and before all are measured."""
        passing = [point for point in self.points if point.verdict == "pass"]
        return passing[-1] if passing and self.finished else None

    @property
    def verdict(self) -> Outcome | None:
        """The chosen level's, on test where it is to be measured there; without one inconclusive if any level is, else
        fail. None before everything is measured."""
        if not self.finished or (self.chosen and self.held_out and self.confirmed is None):
            return None
        if self.chosen is not None:
            return self.confirmed.verdict if self.confirmed is not None else "pass"
        return "inconclusive" if any(point.verdict == "inconclusive" for point in self.points) else "fail"

    def to_json(self) -> dict[str, Any]:
        """The frontier with all its numbers."""
        verdict = self.verdict
        return {
            "recipe": self.name,
            "metric": self.metric,
            "gate": self.gate.thresholds,
            "epochs": self.epochs,
            "wanted": list(self.wanted),
            "dense": _json(self.dense) if self.dense is not None else None,
            "levels": [_json(point) for point in self.points],
            "chosen": _json(self.confirmed or self.chosen) if self.chosen is not None else None,
            "verdict": verdict,
            "exit_code": EXIT_CODES[verdict] if verdict is not None else None,
            "remarks": remarks(self),
        }


def _json(record: Any) -> Any:
    """A dataclass as JSON types; an undefined value has null for its numbers, and `Point.undefined` the reason."""
    if isinstance(record, Undefined):
        return dict.fromkeys(("value", "low", "high"))
    if is_dataclass(record):
        return {field.name: _json(getattr(record, field.name)) for field in fields(record)}
    return [_json(value) for value in record] if isinstance(record, tuple) else record


def read_point(sparsity: float, folder: str, results: Mapping[str, Any]) -> Point:
    """A level's numbers from its run's results.

    Args:
        sparsity: as asked for.
        folder: name of the run folder.
        results: stage -> what it wrote, of a finished run.
    """
    exported, bench = results["export"], results["bench"]
    drop = interval_from_json(exported["drop"])
    return Point(
        sparsity=sparsity,
        folder=folder,
        split=measured_on(exported),
        zeros=results["prune"]["sparsity"],
        metric=interval_from_json(exported["models"]["exported"]),
        drop=drop,
        bytes=bench["candidate_bytes"],
        size_ratio=bench["candidate_bytes"] / bench["baseline_bytes"],
        cases=tuple(
            SpeedUp(f"{case['case']}, {case['threads']} threads", Interval(**case["speedup"]), case["quiet"])
            for case in bench["cases"]
        ),
        verdict=results["gate"]["verdict"],
        undefined=drop.reason if isinstance(drop, Undefined) else "",
    )


def read_dense(results: Mapping[str, Any]) -> Dense:
    """The dense model's numbers from the results of any level."""
    return Dense(interval_from_json(results["export"]["models"]["dense"]), results["bench"]["baseline_bytes"])


def remarks(frontier: Frontier) -> list[str]:
    """What a reader must know before believing the frontier."""
    lines = [*_how_it_was_chosen(frontier), *_what_levels_are(frontier)]
    noisy = [f"{point.sparsity:g}" for point in frontier.points if not all(case.quiet for case in point.cases)]
    if noisy:
        lines.append(f"The machine was noisy at {', '.join(noisy)} (the A/A check failed): speed-ups there are unsure.")
    reasons = {point.undefined: point.split for point in frontier.points if point.undefined}
    lines += [f"{frontier.metric} is undefined on {split}: {reason}." for reason, split in reasons.items()]
    if not frontier.finished:
        lines.append(f"{len(frontier.points)} of {len(frontier.wanted)} levels are finished.")
    return lines


def _how_it_was_chosen(frontier: Frontier) -> list[str]:
    chosen, confirmed, count = frontier.chosen, frontier.confirmed, len(frontier.points)
    lines = []
    if chosen is not None and confirmed is not None:
        lines.append(
            f"Chosen on {chosen.split}, as the sparsest of {count} that passes: {chosen.sparsity:g}. Measured once on "
            f"{confirmed.split}: {confirmed.verdict}."
        )
    elif chosen is not None and not frontier.held_out:
        selected = (
            f" It was selected among {count} on the rows that its own interval is from, which makes it look better "
            "than it is; a test split would tell."
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


def _what_levels_are(frontier: Frontier) -> Sequence[str]:
    if len(frontier.wanted) == 1:
        return []
    return [
        f"Each level goes on from the one before it with prune.epochs = {frontier.epochs:g} of its own: the last has "
        f"{len(frontier.wanted)} times the training of a plain run."
    ]
