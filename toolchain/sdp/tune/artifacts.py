"""The JSON file of a tuning's folder, tune.json, as a frozen, typed model."""

from __future__ import annotations

from typing import ClassVar

from sdp.choice.measured import DenseModel, MeasuredModel
from sdp.gate.check import Outcome as Verdict
from sdp.pipeline.artifacts.base import Count, NotNegative, Share, Stored, StoredFile
from sdp.recipe.benchmark_tasks import MetricName
from sdp_onnx.bench.interval import Interval


class TrialRow(MeasuredModel):
    """A trial as it was measured.

    Attributes:
        precision, pattern, sparsity, layers, layer_sparsity: of the candidate; a sparsity of 0 is dense.
        steps: optimizer steps of pruning; 0: without training.
        speedup: against the dense fp32 file, the geometric mean over the cases.
        probability: that the loss is at most the promised one.
        frontier: whether no other trial is both at least as fast and at least as safe.
    """

    precision: str
    pattern: str
    sparsity: float
    layers: Count | None = None
    layer_sparsity: Share | None = None
    steps: NotNegative
    speedup: Interval
    probability: Share
    frontier: bool


class FailedTrial(Stored):
    """A trial that ended with an error."""

    trial: str
    message: str


class LargerSplit(Stored):
    """What so many times the dev rows would show of a trial, if its drop stayed what it is."""

    trial: str
    times: NotNegative
    drop: Interval
    probability: Share


class TuneReport(StoredFile):
    """The trials of a tuning, and the one that is chosen.

    Attributes:
        recipe: its name.
        metric: name of the metric.
        max_drop, confidence: the promise.
        minutes: of the budget.
        dense: the dense fp32 model; None before a trial is finished.
        trials: the finished ones, the fastest first.
        failed: the others.
        chosen: name of the chosen trial, which is its folder's; "fp32-dense" is the dense model itself.
        probability: that the chosen one keeps the promise.
        larger_dev: what more dev rows would show.
        confirmed: the chosen one measured on test; None before that, and without a test split.
        verdict: of the recipe's gate on the chosen one; None before it is judged.
        remarks: lines below the table.
    """

    FILE: ClassVar[str] = "tune.json"

    recipe: str
    metric: MetricName
    max_drop: float
    confidence: Share
    minutes: float
    dense: DenseModel | None
    trials: tuple[TrialRow, ...]
    failed: tuple[FailedTrial, ...]
    chosen: str
    probability: Share
    larger_dev: tuple[LargerSplit, ...]
    confirmed: TrialRow | None
    verdict: Verdict | None
    remarks: tuple[str, ...]
