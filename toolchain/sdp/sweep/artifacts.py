"""The JSON file of a sweep's folder, frontier.json, as a frozen, typed model."""

from __future__ import annotations

from typing import ClassVar

from sdp.choice.measured import DenseModel, MeasuredModel
from sdp.gate.check import Outcome
from sdp.pipeline.artifacts.base import Share, Stored, StoredFile
from sdp.recipe.benchmark_tasks import MetricName


class Weakest(Stored):
    """The threshold of the gate that a level is least likely to meet, as a sentence, and the probability."""

    sentence: str
    probability: Share


class MeasuredLevel(MeasuredModel):
    """A level as it was measured.

    Attributes:
        sparsity: as asked for.
        verdict: the gate's.
        weakest: what stands between the level and a passed gate; None where nothing is checked.
    """

    sparsity: float
    verdict: Outcome
    weakest: Weakest | None


class FrontierReport(StoredFile):
    """The levels of a sweep, and the one that is chosen.

    Attributes:
        recipe: its name.
        metric: name of the metric.
        gate: the recipe's thresholds.
        wanted: all levels.
        dense: None before a level is finished.
        levels: the finished ones, in rising order of sparsity.
        chosen: the chosen level, measured on test where it has been; None before all levels are measured.
        nearest: where none is chosen, the level that is most likely to pass.
        verdict: of the chosen level; None before everything is measured.
        exit_code: of the verdict.
        remarks: lines below the table.
    """

    FILE: ClassVar[str] = "frontier.json"

    recipe: str
    metric: MetricName
    gate: dict[str, float]
    wanted: tuple[float, ...]
    dense: DenseModel | None
    levels: tuple[MeasuredLevel, ...]
    chosen: MeasuredLevel | None
    nearest: MeasuredLevel | None
    verdict: Outcome | None
    exit_code: int | None
    remarks: tuple[str, ...]
