"""The result of one cell as JSON, OUT/cells/KEY.json: all that the table needs, so that no model has to be kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, JsonValue

from sdp.errors import RunError
from sdp.gate.measured import better_than_constant
from sdp.pipeline.artifacts.analysis import AnalysisReport, Look, RecoverySummary, TeacherMeasures
from sdp.pipeline.artifacts.base import NotNegative, Share, Stored
from sdp.pipeline.artifacts.comparison import Compared, EvaluateMetrics
from sdp.pipeline.artifacts.intervals import value_of
from sdp.pipeline.artifacts.pruning import PruneMetrics
from sdp.pipeline.artifacts.record import StageRecord
from sdp.pipeline.artifacts.training import FinetuneMetrics, LogRecord
from sdp.pipeline.json_file import write_json
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.stages import settings_of
from sdp.recipe.benchmark_tasks import MetricName
from sdp.study.grid import Identities, StudyCell, cell_stages
from sdp_onnx.runtimes.environment import environment_record

FORMAT: Literal[1] = 1
CELLS = "cells"
# Points kept of each curve of the pruning log.
MOST_POINTS = 60


class BothScores(Stored):
    """Scores of both models; None where they are undefined."""

    dense: float | None
    pruned: float | None


class Evaluated(Stored):
    """What evaluate found: on which split, how many predictions are the dense model's, and the scores by part."""

    split: str
    rows: NotNegative
    flips: NotNegative | None
    agreement: Share | None
    parts: dict[str, BothScores]
    better_than_constant: bool | None = None


class WeightsAtUpdate(Stored):
    """All kept weights before a mask update (see `LayerWeights`)."""

    step: NotNegative
    sparsity: Share
    snr_db: float | None
    below: float | None
    hoyer: float | None


class CellAnalysis(Stored):
    """The pruning's analysis in sum, and the weights at each mask update."""

    rows: NotNegative
    teacher: TeacherMeasures
    final: Look | None
    recovery: RecoverySummary
    weights: tuple[WeightsAtUpdate, ...]


class CellResult(Stored):
    """The result of a cell. What an earlier version may have left out has a default; what a later one added is ignored:
    a cell is hours of work."""

    model_config = ConfigDict(extra="ignore")

    format: Literal[1]
    key: str
    arm: dict[str, str] = Field(default_factory=dict)
    overrides: tuple[str, ...] = ()
    seed: int
    metric: MetricName
    dev: BothScores
    test: BothScores | None = None
    sparsity: Share
    evaluated: Evaluated
    curve: dict[str, tuple[LogRecord, ...]] = Field(default_factory=dict)
    analysis: CellAnalysis | None = None
    teacher: str | None = None
    seconds: dict[str, float] = Field(default_factory=dict)
    code: dict[str, JsonValue] = Field(default_factory=dict)
    libraries: dict[str, JsonValue] = Field(default_factory=dict)
    machine: dict[str, JsonValue] = Field(default_factory=dict)
    date: str = ""
    inputs: Identities
    settings: dict[str, JsonValue]


def cell_file(out: Path, cell: StudyCell) -> Path:
    """Where a cell's result is."""
    return out / CELLS / f"{cell.key}.json"


def write_cell(out: Path, result: CellResult) -> None:
    """Write a cell's result, whole or not at all."""
    folder = out / CELLS
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{result.key}.json", result.to_json())


def read_cell(out: Path, cell: StudyCell) -> CellResult | None:
    """A cell's result, or None where there is none, or a damaged one, or one of other settings."""
    try:
        found = CellResult.read(cell_file(out, cell))
    except RunError:
        return None
    if found is None or (found.key, found.seed, found.inputs) != (cell.key, cell.seed, cell.inputs):
        return None
    return found if _agree(found.settings, settings_of(cell.recipe, cell_stages(cell.recipe))) else None


def _agree(before: object, now: object) -> bool:
    """Whether two trees of settings are equal wherever both have a value: a default may have changed since."""
    if isinstance(before, dict) and isinstance(now, dict):
        return all(_agree(before[key], now[key]) for key in before.keys() & now.keys())
    if isinstance(before, list) and isinstance(now, list):
        return len(before) == len(now) and all(map(_agree, before, now))
    return before == now


def cell_result(
    cell: StudyCell, arm: Mapping[str, str], run: RunFolder, records: Mapping[str, StageRecord]
) -> CellResult:
    """Collect a cell's result from its run folder.

    Args:
        cell: the cell, its stages finished.
        arm: axis -> label.
        run: its run folder.
        records: stage name -> stage.json.
    """
    stages = cell_stages(cell.recipe)
    finetune, prune, evaluate = FinetuneMetrics.load(run), PruneMetrics.load(run), EvaluateMetrics.load(run)
    libraries = {name: v for record in records.values() for name, v in record["ingredients"]["libraries"].items()}
    return CellResult(
        format=FORMAT,
        key=cell.key,
        arm=dict(arm),
        overrides=cell.varied,
        seed=cell.seed,
        metric=prune.metric,
        dev=BothScores(dense=finetune.dev, pruned=prune.dev),
        test=_scores(evaluate) if evaluate.split == "test" else None,
        sparsity=prune.sparsity,
        evaluated=_evaluated(evaluate),
        curve={key: _thin([r for r in prune.log if key in r], key) for key in ("dev", "sparsity")},
        analysis=_analysis(run),
        teacher=records["finetune"]["outputs"]["model.safetensors"]["sha256"],
        seconds={name: record["seconds"] for name, record in records.items()},
        code={name: record["ingredients"]["code"] for name, record in records.items()},
        libraries=libraries,
        machine=_machine(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        inputs=cell.inputs,
        settings=settings_of(cell.recipe, stages),
    )


def _evaluated(evaluate: EvaluateMetrics) -> Evaluated:
    flips = evaluate.flips
    return Evaluated(
        split=evaluate.split,
        rows=evaluate.rows,
        flips=flips,
        agreement=1 - flips / evaluate.predictions if flips is not None else None,
        parts={part: _scores(found) for part, found in evaluate.parts.items()},
        better_than_constant=better_than_constant(evaluate),
    )


def _scores(compared: Compared) -> BothScores:
    return BothScores(**{name: value_of(compared.models[name]) for name in ("dense", "pruned")})


def _thin(records: Sequence[LogRecord], key: str) -> tuple[LogRecord, ...]:
    """At most MOST_POINTS of a curve, evenly chosen, the first and the last among them."""
    points = tuple({"step": record["step"], key: record[key]} for record in records)
    if len(points) <= MOST_POINTS:
        return points
    return tuple(points[round(i * (len(points) - 1) / (MOST_POINTS - 1))] for i in range(MOST_POINTS))


def _analysis(run: RunFolder) -> CellAnalysis | None:
    """The pruning stage's analysis in sum, where there is one, and the weights at each mask update."""
    report = AnalysisReport.find(run)
    if report is None:
        return None
    weights = tuple(
        WeightsAtUpdate(
            step=update.step,
            sparsity=update.sparsity,
            snr_db=update.weights.snr_db,
            below=update.weights.below,
            hoyer=update.weights.hoyer,
        )
        for update in report.updates
    )
    return CellAnalysis(
        rows=report.rows, teacher=report.teacher, final=report.final, recovery=report.recovery, weights=weights
    )


def _machine() -> dict[str, JsonValue]:
    machine: Mapping[str, Any] = environment_record()
    return {key: machine[key] for key in ("cpu", "allowed_cores", "gpus", "os")}
