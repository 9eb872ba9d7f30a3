"""Time networks with fewer and fewer heads and neurons as export will store them: what a unit costs on this machine.

Nothing here enters the fingerprint of a pruning (`pipeline.fingerprint.NEUTRAL`): the times are stored, and another
measurement, on this machine or another, is no reason to prune again.
"""

from __future__ import annotations

import copy
import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedModel

from sdp.data.batches import Collator, TokenizedSplit
from sdp.models.removal import remove_units
from sdp.models.units import Part
from sdp.pipeline.artifacts.kept_units import UnitKind
from sdp.pipeline.artifacts.unit_times import PartTimes, UnitTimes
from sdp.pipeline.progress import Reporter
from sdp.pruning.measured_times import first_case
from sdp.pruning.structured.choice import unit_counts, unit_step
from sdp.pruning.teacher_cache import rows_identity
from sdp.recipe.sections import Recipe
from sdp_onnx.bench.fastest_runs import fastest_runs
from sdp_onnx.export.encode import encode_model
from sdp_onnx.export.torch_export import export_torch
from sdp_onnx.runtimes.environment import environment_record

# Shares of the units whose time is measured; between them it is interpolated.
_SHARES = (0.0, 0.25, 0.5, 1.0)


def times_key(recipe: Recipe, model: PreTrainedModel, rows: TokenizedSplit) -> str:
    """Identify a measurement: the shapes of a network, how it is stored and run, its texts, and the machine.

    Args:
        recipe: with [export] and [bench].
        model: the network; its weights do not count.
        rows: texts of the measurement.
    """
    settings = recipe.bench
    measured = {
        "shapes": {name: tuple(weight.shape) for name, weight in model.state_dict().items()},
        "export": (recipe.export.precision, recipe.export.opset),
        "bench": (settings.provider, settings.thread_counts[0], settings.batch_sizes[0], settings.sequence_lengths[0]),
        "texts": (recipe.seed, rows_identity(rows)),
        "machine": environment_record(),
    }
    return hashlib.sha256(json.dumps(measured, sort_keys=True).encode()).hexdigest()[:16]


def measure_unit_times(
    recipe: Recipe,
    model: PreTrainedModel,
    parts: Sequence[Part],
    rows: TokenizedSplit,
    collator: Collator,
    inputs: Sequence[str],
    reporter: Reporter,
) -> UnitTimes:
    """Measure with the first case and number of threads of [bench].

    Files with fewer heads in all layers, and files with fewer neurons in all layers, run in turns with the whole one. A
    part's time is its share of what they take less than the whole.

    Args:
        recipe: with [export] and [bench].
        model: the dense network, on the CPU.
        parts: of it.
        rows: texts of the measurement.
        collator: pads a batch.
        inputs: the tokenizer's outputs.
        reporter: shows progress.
    """
    threads = recipe.bench.thread_counts[0]
    points = _points(parts)
    with tempfile.TemporaryDirectory() as temporary, reporter.task("smaller networks", len(points) + 1) as task:
        folder = Path(temporary)
        dense = _export(recipe, model, inputs, folder / "dense.onnx")
        stored_dense = recipe.export.precision == "fp32"
        files = [dense, dense if stored_dense else _as_stored(recipe, model, inputs, folder / "whole.onnx")]
        case = first_case(recipe, model, rows, collator, files[1])
        for done, (kind, count) in enumerate(points, start=1):
            smaller = _with_fewer(model, parts, kind, count)
            files.append(_as_stored(recipe, smaller, inputs, folder / f"{kind}-{count}.onnx"))
            task.update(done)
        reporter.line(f"  timing heads and neurons: {case.name}, {threads} threads")
        seconds = fastest_runs(
            files, case, threads=threads, seconds=recipe.bench.seconds, provider=recipe.bench.provider
        )
    before, whole, *fewer = (1000 * own for own in seconds)
    by_part = part_times(parts, whole, dict(zip(points, fewer, strict=True)))
    rest = max(0.0, whole - sum(own.ms[-1] for own in by_part.values()))
    return UnitTimes(case=case.name, threads=threads, dense=before, rest=rest, parts=by_part)


def _points(parts: Sequence[Part]) -> list[tuple[UnitKind, int]]:
    """The measured numbers of units of each kind, without that of the whole network, in its largest part."""
    points: list[tuple[UnitKind, int]] = []
    for kind in dict.fromkeys(part.kind for part in parts):
        units = max(part.units for part in parts if part.kind == kind)
        step = unit_step(kind, units)
        counts = {min(units, round(share * units / step) * step) for share in _SHARES} - {units}
        points += [(kind, count) for count in sorted(counts)]
    return points


def _with_fewer(model: PreTrainedModel, parts: Sequence[Part], kind: UnitKind, count: int) -> PreTrainedModel:
    smaller = copy.deepcopy(model)
    own = [part for part in parts if part.kind == kind]
    remove_units(smaller, own, {part.name: torch.arange(part.units) < count for part in own})
    return smaller


def _as_stored(recipe: Recipe, model: PreTrainedModel, inputs: Sequence[str], path: Path) -> Path:
    """Write a network in the precision in which the recipe exports it: in int8 by the operator library."""
    if recipe.export.precision == "fp16":
        model = copy.deepcopy(model).half()
    if recipe.export.precision != "int8":
        return _export(recipe, model, inputs, path)
    with tempfile.TemporaryDirectory() as temporary:
        dense = _export(recipe, model, inputs, Path(temporary) / path.name)
        threshold = recipe.export.external_data_mb * 10**6
        encode_model(dense, path, encoding="kernel", precision="int8", metadata={}, external_data_threshold=threshold)
    return path


def _export(recipe: Recipe, model: PreTrainedModel, inputs: Sequence[str], path: Path) -> Path:
    threshold = recipe.export.external_data_mb * 10**6
    export_torch(model, path, input_names=inputs, opset=recipe.export.opset, external_data_threshold=threshold)
    return path


def part_times(
    parts: Sequence[Part], whole: float, fewer: Mapping[tuple[UnitKind, int], float]
) -> dict[str, PartTimes]:
    """Return the time of each part by its number of units.

    Args:
        parts: of the network.
        whole: ms of the whole network.
        fewer: ms of the networks with fewer units of a kind in all parts.
    """
    times = {}
    for part in parts:
        alike = sum(own.kind == part.kind for own in parts)
        known = {count: ms for (kind, count), ms in fewer.items() if kind == part.kind}
        units = max(own.units for own in parts if own.kind == part.kind)
        measured = [*sorted(known), units]
        # More units never take less time: what is measured otherwise is noise.
        total = np.maximum.accumulate([*(known[count] for count in sorted(known)), whole])
        counts = unit_counts(part.kind, part.units)
        ms = np.interp(counts, measured, (total - total[0]) / alike)
        times[part.name] = PartTimes(counts=counts, ms=tuple(ms.tolist()))
    return times
