"""A model as it was measured: what the rows of a sweep and of a tuning have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

from sdp.gate.measured import measured_on
from sdp.pipeline.artifacts.base import Count, Positive, Share, Stored
from sdp.pipeline.artifacts.comparison import ExportMetrics
from sdp.pipeline.artifacts.latency import BenchLatency
from sdp.pipeline.artifacts.pruning import PruneMetrics
from sdp_onnx.bench.interval import Interval, Undefined

_NUMBERS = ("value", "low", "high")


def _read(content: object) -> object:
    return None if content == dict.fromkeys(_NUMBERS) else content


def _write(interval: Interval | None) -> dict[str, float | None]:
    return dict.fromkeys(_NUMBERS) if interval is None else interval.to_json()


ModelScore = Annotated[Interval | None, BeforeValidator(_read), PlainSerializer(_write)]
"""A score with its interval; None where it is undefined, for which the file has null for each number."""


class CaseSpeedUp(Stored):
    """One case of the benchmark: the exported file against the dense one; `quiet`: whether the A/A check passed."""

    case: str
    speedup: Interval
    quiet: bool


class MeasuredModel(Stored):
    """An exported model as it was measured.

    Attributes:
        folder: its run folder, in that of the sweep or tuning.
        split: the split that the metric is of, and what it is the mean over.
        zeros: share of zeros in the encoder's linear weights.
        metric: of the exported file.
        drop: against the dense model, on the same rows.
        bytes: of the exported file.
        size_ratio: its share of the dense file's.
        cases: speed-ups, in the order of the benchmark.
        undefined: why metric or drop is undefined; empty where they are not.
    """

    folder: str
    split: str
    zeros: Share
    metric: ModelScore
    drop: ModelScore
    bytes: Count
    size_ratio: Positive
    cases: tuple[CaseSpeedUp, ...]
    undefined: str


class DenseModel(Stored):
    """The model before pruning: its metric on the rows that others are judged on, and the bytes of its ONNX file."""

    metric: ModelScore
    bytes: Count


def measured_model(folder: str, prune: PruneMetrics, exported: ExportMetrics, bench: BenchLatency) -> MeasuredModel:
    """A model's row.

    Args:
        folder: name of its run folder.
        prune, exported, bench: results of the run.
    """
    return MeasuredModel(
        folder=folder,
        split=measured_on(exported),
        zeros=prune.sparsity,
        metric=_defined(exported.models["exported"]),
        drop=_defined(exported.drop),
        bytes=bench.candidate_bytes,
        size_ratio=bench.candidate_bytes / bench.baseline_bytes,
        cases=tuple(
            CaseSpeedUp(case=f"{case.case}, {case.threads} threads", speedup=case.speedup, quiet=case.quiet)
            for case in bench.cases
        ),
        undefined=exported.drop.reason if isinstance(exported.drop, Undefined) else "",
    )


def dense_model(exported: ExportMetrics, bench: BenchLatency) -> DenseModel:
    """The dense model of any of the runs; it is the same for all."""
    return DenseModel(metric=_defined(exported.models["dense"]), bytes=bench.baseline_bytes)


def _defined(score: Interval | Undefined) -> Interval | None:
    return score if isinstance(score, Interval) else None
