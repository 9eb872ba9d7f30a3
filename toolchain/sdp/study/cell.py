"""The result of a cell: collected from its run folder, and read back on a later call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from pydantic import BaseModel, JsonValue

from sdp.errors import RunError
from sdp.gate.measured import better_than_constant
from sdp.pipeline.artifacts.analysis import AnalysisReport
from sdp.pipeline.artifacts.comparison import Compared, EvaluateMetrics
from sdp.pipeline.artifacts.intervals import value_of
from sdp.pipeline.artifacts.pruning import PruneMetrics
from sdp.pipeline.artifacts.training import FinetuneMetrics, LogRecord
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.stages import settings_of
from sdp.study.artifacts import (
    FORMAT,
    CellAnalysis,
    CellResult,
    CellScores,
    DevPoint,
    EvaluatedSplit,
    Machine,
    PruningCurve,
    SparsityPoint,
    UpdateWeights,
)
from sdp.study.grid import Grid, StudyCell, cell_stages
from sdp_onnx.runtimes.environment import environment_record

# Points kept of each curve of the pruning log.
MOST_POINTS = 60


class _Output(BaseModel):
    sha256: str


class _Ingredients(BaseModel):
    code: JsonValue
    libraries: dict[str, str]


class _Record(BaseModel):
    """The part of a stage.json that a result keeps."""

    seconds: float
    ingredients: _Ingredients
    outputs: dict[str, _Output]


def read_cell(out: Path, cell: StudyCell, reporter: Reporter) -> CellResult | None:
    """Read the result of a cell; None where the cell has none that this version can use.

    Args:
        out: the study's folder.
        cell: the cell.
        reporter: gets a line with the reason where a file is not used.
    """
    path = CellResult.path(out, cell.key)
    try:
        result = CellResult.read(path)
    except RunError as error:
        reporter.line(f"cell {cell.key} runs again: {path}: {error.what}")
        return None
    if result is None:
        return None
    same = (result.key, result.seed, result.inputs) == (cell.key, cell.seed, cell.inputs)
    if not same or not _agree(result.settings, settings_of(cell.recipe, cell_stages(cell.recipe))):
        reporter.line(f"cell {cell.key} runs again: {path}: of other settings, or a default has changed")
        return None
    return result


def finished_cells(out: Path, grid: Grid, reporter: Reporter) -> dict[str, CellResult]:
    """The results in a study's folder, by cell key."""
    found = ((cell.key, read_cell(out, cell, reporter)) for cell in grid.cells)
    return {key: result for key, result in found if result is not None}


def _agree(before: object, now: object) -> bool:
    """Whether two trees of settings are equal wherever both have a value: a later version may have more settings."""
    if isinstance(before, dict) and isinstance(now, dict):
        return all(_agree(before[key], now[key]) for key in before.keys() & now.keys())
    if isinstance(before, list) and isinstance(now, list):
        return len(before) == len(now) and all(map(_agree, before, now))
    return before == now


def cell_result(
    cell: StudyCell, labels: Mapping[str, str], run: RunFolder, records: Mapping[str, object]
) -> CellResult:
    """Collect a cell's result from its run folder.

    Args:
        cell: the cell, its stages finished.
        labels: axis -> label.
        run: its run folder.
        records: stage name -> stage.json.
    """
    finetune, prune, evaluate = FinetuneMetrics.load(run), PruneMetrics.load(run), EvaluateMetrics.load(run)
    stages = {name: _Record.model_validate(record) for name, record in records.items()}
    return CellResult(
        format=FORMAT,
        key=cell.key,
        arm=dict(labels),
        overrides=cell.varied,
        seed=cell.seed,
        metric=prune.metric,
        dev=CellScores(dense=finetune.dev, pruned=prune.dev),
        test=_scores(evaluate) if evaluate.split == "test" else None,
        sparsity=prune.sparsity,
        evaluated=_evaluated(evaluate),
        curve=_curve(prune.log),
        analysis=_analysis(run),
        teacher=stages["finetune"].outputs["model.safetensors"].sha256,
        seconds={name: stage.seconds for name, stage in stages.items()},
        code={name: stage.ingredients.code for name, stage in stages.items()},
        libraries={name: version for stage in stages.values() for name, version in stage.ingredients.libraries.items()},
        machine=_machine(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        inputs=cell.inputs,
        settings=settings_of(cell.recipe, cell_stages(cell.recipe)),
    )


def _evaluated(evaluate: EvaluateMetrics) -> EvaluatedSplit:
    flips = evaluate.flips
    return EvaluatedSplit(
        split=evaluate.split,
        rows=evaluate.rows,
        flips=flips,
        agreement=1 - flips / evaluate.predictions if flips is not None else None,
        parts={name: _scores(part) for name, part in evaluate.parts.items()},
        better_than_constant=better_than_constant(evaluate),
    )


def _scores(compared: Compared) -> CellScores:
    return CellScores(dense=value_of(compared.models["dense"]), pruned=value_of(compared.models["pruned"]))


def _curve(log: Sequence[LogRecord]) -> PruningCurve:
    dev, sparsity = (
        [{"step": event["step"], key: event[key]} for event in log if key in event] for key in ("dev", "sparsity")
    )
    return PruningCurve(
        dev=tuple(DevPoint.model_validate(point) for point in thinned(dev)),
        sparsity=tuple(SparsityPoint.model_validate(point) for point in thinned(sparsity)),
    )


def thinned(points: Sequence[LogRecord]) -> Sequence[LogRecord]:
    """At most MOST_POINTS of a curve, evenly chosen, the first and the last among them."""
    if len(points) <= MOST_POINTS:
        return points
    return [points[round(i * (len(points) - 1) / (MOST_POINTS - 1))] for i in range(MOST_POINTS)]


def _machine() -> Machine:
    record = environment_record()
    return Machine.model_validate({key: record[key] for key in Machine.model_fields})


def _analysis(run: RunFolder) -> CellAnalysis | None:
    report = AnalysisReport.find(run)
    if report is None:
        return None
    weights = (
        UpdateWeights(
            step=update.step,
            sparsity=update.sparsity,
            snr_db=update.weights.snr_db,
            below=update.weights.below,
            hoyer=update.weights.hoyer,
        )
        for update in report.updates
    )
    return CellAnalysis(
        rows=report.rows,
        teacher=report.teacher,
        final=report.final,
        recovery=report.recovery,
        weights=tuple(weights),
    )
