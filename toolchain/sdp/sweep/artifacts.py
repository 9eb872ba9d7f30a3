"""The JSON file of a sweep's folder, frontier.json, as a frozen, typed model."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, PlainSerializer

from sdp.gate.check import Outcome
from sdp.pipeline.artifacts.base import Count, Positive, Share, Stored, StoredFile
from sdp.recipe.benchmark_tasks import MetricName
from sdp_onnx.bench.interval import Interval

_NUMBERS = ("value", "low", "high")


def _read(content: object) -> object:
    return None if content == dict.fromkeys(_NUMBERS) else content


def _write(interval: Interval | None) -> dict[str, float | None]:
    return dict.fromkeys(_NUMBERS) if interval is None else interval.to_json()


LevelScore = Annotated[Interval | None, BeforeValidator(_read), PlainSerializer(_write)]
"""A score with its interval; None where it is undefined, for which the file has null for each number."""


class CaseSpeedUp(Stored):
    """One case of the benchmark: the exported file against the dense one; `quiet`: whether the A/A check passed."""

    case: str
    speedup: Interval
    quiet: bool


class MeasuredLevel(Stored):
    """A level as it was measured.

    Attributes:
        sparsity: as asked for.
        folder: its run folder, in the sweep's.
        split: the split that the metric is of, and what it is the mean over.
        zeros: share of zeros in the encoder's linear weights.
        metric: of the exported file.
        drop: against the dense model, on the same rows.
        bytes: of the exported file.
        size_ratio: its share of the dense file's.
        cases: speed-ups, in the order of the benchmark.
        verdict: the gate's.
        undefined: why metric or drop is undefined; empty where they are not.
    """

    sparsity: float
    folder: str
    split: str
    zeros: Share
    metric: LevelScore
    drop: LevelScore
    bytes: Count
    size_ratio: Positive
    cases: tuple[CaseSpeedUp, ...]
    verdict: Outcome
    undefined: str


class DenseModel(Stored):
    """The model before pruning: its metric on the rows that levels are judged on, and the bytes of its ONNX file."""

    metric: LevelScore
    bytes: Count


class FrontierReport(StoredFile):
    """The levels of a sweep, and the one that is chosen.

    Attributes:
        recipe: its name.
        metric: name of the metric.
        gate: the recipe's thresholds.
        epochs: of pruning, for each level; None where the recipe leaves them open.
        wanted: all levels.
        dense: None before a level is finished.
        levels: the finished ones, in rising order of sparsity.
        chosen: the chosen level, measured on test where it has been; None before all levels are measured.
        verdict: of the chosen level; None before everything is measured.
        exit_code: of the verdict.
        remarks: lines below the table.
    """

    FILE: ClassVar[str] = "frontier.json"

    recipe: str
    metric: MetricName
    gate: dict[str, float]
    epochs: float | None
    wanted: tuple[float, ...]
    dense: DenseModel | None
    levels: tuple[MeasuredLevel, ...]
    chosen: MeasuredLevel | None
    verdict: Outcome | None
    exit_code: int | None
    remarks: tuple[str, ...]
