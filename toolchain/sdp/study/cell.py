"""The result of one cell as JSON, OUT/cells/KEY.json: all that the table needs, so that no model has to be kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sdp.gate.measured import better_than_constant
from sdp.pipeline.artifacts.analysis import AnalysisReport
from sdp.pipeline.artifacts.comparison import Compared, EvaluateMetrics
from sdp.pipeline.artifacts.intervals import value_of
from sdp.pipeline.artifacts.training import FinetuneMetrics, PruneMetrics
from sdp.pipeline.json_file import read_json, write_json
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.stages import settings_of
from sdp.study.grid import Cell, cell_stages
from sdp_onnx.runtimes.environment import environment_record

FORMAT = 1
CELLS = "cells"
# Points kept of each curve of the pruning log.
MOST_POINTS = 60
ANALYSIS_KEYS = ("rows", "teacher", "final", "recovery")
_NEEDED = {"key", "seed", "settings", "inputs", "metric", "dev", "sparsity", "evaluated"}


def cell_file(out: Path, cell: Cell) -> Path:
    """Where a cell's result is."""
    return out / CELLS / f"{cell.key}.json"


def write_cell(out: Path, content: Mapping[str, Any]) -> None:
    """Write a cell's result, whole or not at all."""
    folder = out / CELLS
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{content['key']}.json", content)


def read_cell(out: Path, cell: Cell) -> dict[str, Any] | None:
    """A cell's result, or None where there is none, or a damaged one, or one of other settings."""
    content = read_json(cell_file(out, cell))
    if content is None or content.get("format") != FORMAT or not content.keys() >= _NEEDED:
        return None
    same = (content["key"], content["seed"], content["inputs"]) == (cell.key, cell.seed, cell.inputs)
    return content if same and _agree(content["settings"], settings_of(cell.recipe, cell_stages(cell.recipe))) else None


def _agree(before: object, now: object) -> bool:
    """Whether two trees of settings say the same wherever both say something: a default may have changed since."""
    if isinstance(before, dict) and isinstance(now, dict):
        return all(_agree(before[key], now[key]) for key in before.keys() & now.keys())
    if isinstance(before, list) and isinstance(now, list):
        return len(before) == len(now) and all(map(_agree, before, now))
    return before == now


def cell_content(cell: Cell, arm: Mapping[str, str], run: RunFolder, records: Mapping[str, Any]) -> dict[str, Any]:
    """Collect a cell's result from its run folder.

    Args:
        cell: the cell, its stages finished.
        arm: axis -> label.
        run: its run folder.
        records: stage name -> stage.json.
    """
    stages = cell_stages(cell.recipe)
    finetune, prune, evaluate = FinetuneMetrics.load(run), PruneMetrics.load(run), EvaluateMetrics.load(run)
    flips = evaluate.flips
    on_test = evaluate.split == "test"
    libraries = {name: v for record in records.values() for name, v in record["ingredients"]["libraries"].items()}
    return {
        "format": FORMAT,
        "key": cell.key,
        "arm": dict(arm),
        "overrides": list(cell.varied),
        "seed": cell.seed,
        "metric": prune.metric,
        "dev": {"dense": finetune.dev, "pruned": prune.dev},
        "test": _values(evaluate) if on_test else None,
        "sparsity": prune.sparsity,
        "evaluated": {
            "split": evaluate.split,
            "rows": evaluate.rows,
            "flips": flips,
            "agreement": 1 - flips / evaluate.predictions if flips is not None else None,
            "parts": {part: _values(found) for part, found in evaluate.parts.items()},
            "better_than_constant": better_than_constant(evaluate),
        },
        "curve": {key: _thin([r for r in prune.log if key in r], key) for key in ("dev", "sparsity")},
        "analysis": _analysis(run),
        "teacher": records["finetune"]["outputs"]["model.safetensors"]["sha256"],
        "seconds": {name: record["seconds"] for name, record in records.items()},
        "code": {name: record["ingredients"]["code"] for name, record in records.items()},
        "libraries": libraries,
        "machine": _machine(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": cell.inputs,
        "settings": settings_of(cell.recipe, stages),
    }


def _values(compared: Compared) -> dict[str, float | None]:
    """Both models' scores; None where they are undefined."""
    return {name: value_of(compared.models[name]) for name in ("dense", "pruned")}


def _thin(records: Sequence[Mapping[str, Any]], key: str) -> list[dict[str, Any]]:
    """At most MOST_POINTS of a curve, evenly chosen, the first and the last among them."""
    points = [{"step": record["step"], key: record[key]} for record in records]
    if len(points) <= MOST_POINTS:
        return points
    return [points[round(i * (len(points) - 1) / (MOST_POINTS - 1))] for i in range(MOST_POINTS)]


def _analysis(run: RunFolder) -> dict[str, Any] | None:
    """What the pruning stage's analysis says in sum, where there is one, and of the weights at each mask update."""
    report = AnalysisReport.find(run)
    if report is None:
        return None
    content = report.to_json()
    weights = [
        {"step": update["step"], "sparsity": update["sparsity"], **_numbers(update["weights"])}
        for update in content["updates"]
    ]
    return {**{key: content[key] for key in ANALYSIS_KEYS}, "weights": weights}


def _numbers(content: Mapping[str, Any]) -> dict[str, Any]:
    """The values that are no tables: those of all weights together."""
    return {key: value for key, value in content.items() if not isinstance(value, Mapping)}


def _machine() -> dict[str, Any]:
    record = environment_record()
    return {key: record[key] for key in ("cpu", "allowed_cores", "gpus", "os")}
