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
from numpy.typing import NDArray
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

# Times of the same file differ by less on a quiet machine.
_NOISY = 1.1

Point = tuple[tuple[UnitKind, ...], float]
"""The kinds of which a network has fewer units in all layers, and the share that is left of them."""


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

    Files with fewer heads in all layers, files with fewer neurons in all layers, and files with fewer of both run in
    turns with the whole one; see `part_times`.

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
        for done, point in enumerate(points, start=1):
            smaller = _with_fewer(model, parts, point)
            files.append(_as_stored(recipe, smaller, inputs, folder / f"{done}.onnx"))
            task.update(done)
        reporter.line(f"  timing heads and neurons: {case.name}, {threads} threads")
        seconds = fastest_runs(
            files, case, threads=threads, seconds=recipe.bench.seconds, provider=recipe.bench.provider
        )
    before, whole, *fewer = (1000 * own for own in seconds)
    if stored_dense:
        # The same file twice: what differs is noise.
        _report_noise(before, whole, reporter)
        before = whole = min(before, whole)
    rest, by_part = part_times(parts, whole, dict(zip(points, fewer, strict=True)))
    return UnitTimes(case=case.name, threads=threads, dense=before, rest=rest, parts=by_part)


def _report_noise(first: float, second: float, reporter: Reporter) -> None:
    """Report that the times of the same file differ so much that the expected speed-up is a guess."""
    ratio = max(first, second) / min(first, second)
    if ratio > _NOISY:
        what = f"the machine is busy: the same file took {first:.2f} and {second:.2f} ms"
        reporter.line(
            f"  {what}; the speed-up may become another one. Delete unit-times-* in the run's cache to repeat"
        )


def _points(parts: Sequence[Part]) -> list[Point]:
    """The networks that are timed beside the whole one; those that rounding makes alike are timed once."""
    kinds = _kinds(parts)
    points: list[Point] = []
    for group in dict.fromkeys([*((kind,) for kind in kinds), kinds]):
        shares: dict[tuple[int, ...], float] = {}
        for share in _SHARES:
            shares.setdefault(tuple(_count(parts, kind, share) for kind in group), share)
        points += [(group, share) for share in shares.values() if share < 1]
    return points


def _kinds(parts: Sequence[Part]) -> tuple[UnitKind, ...]:
    return tuple(dict.fromkeys(part.kind for part in parts))


def _count(parts: Sequence[Part], kind: UnitKind, share: float) -> int:
    """A share of the units of the largest part, in whole steps."""
    units = max(part.units for part in parts if part.kind == kind)
    step = unit_step(kind, units)
    return min(units, round(share * units / step) * step)


def _with_fewer(model: PreTrainedModel, parts: Sequence[Part], point: Point) -> PreTrainedModel:
    kinds, share = point
    smaller = copy.deepcopy(model)
    own = [part for part in parts if part.kind in kinds]
    kept = {part.name: torch.arange(part.units) < _count(parts, part.kind, share) for part in own}
    remove_units(smaller, own, kept)
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


def part_times(parts: Sequence[Part], whole: float, fewer: Mapping[Point, float]) -> tuple[float, dict[str, PartTimes]]:
    """Return the time that no part takes, and the time of each part by its number of units.

    A part takes its share of what networks with fewer units of its kind alone take less than the whole. Fewer units of
    both kinds seldom save the sum of that: what is left shares the caches. So times are multiplied with a factor, by
    the share of the units, with which they add up to those of the networks that have as large a share of both.

    Args:
        parts: of the network.
        whole: ms of the whole network.
        fewer: ms of the networks with fewer units.
    """
    kinds = _kinds(parts)
    alone = {kind: _saved(parts, kind, whole, fewer) for kind in kinds}
    shares, factors, rest = [0.0, 1.0], [1.0, 1.0], max(0.0, whole - sum(own[1][-1] for own in alone.values()))
    if len(kinds) > 1:
        both = sorted((share, ms) for (group, share), ms in fewer.items() if group == kinds)
        shares = [*(share for share, _ in both[1:]), 1.0]
        rest, *together = np.maximum.accumulate([*(ms for _, ms in both), whole]).tolist()
        sums = [sum(float(np.interp(_count(parts, kind, share), *alone[kind])) for kind in kinds) for share in shares]
        factors = [(ms - rest) / apart if apart > 0 else 1.0 for ms, apart in zip(together, sums, strict=True)]
    times = {}
    for part in parts:
        alike = sum(own.kind == part.kind for own in parts)
        counts = unit_counts(part.kind, part.units)
        ms = np.interp(counts, *alone[part.kind]) * np.interp(np.array(counts) / part.units, shares, factors)
        times[part.name] = PartTimes(counts=counts, ms=tuple((np.maximum.accumulate(ms) / alike).tolist()))
    return rest, times


def _saved(
    parts: Sequence[Part], kind: UnitKind, whole: float, fewer: Mapping[Point, float]
) -> tuple[list[int], NDArray[np.float64]]:
    """Return numbers of units in all parts of a kind, and how much more than without any the networks take."""
    known = {_count(parts, kind, share): ms for (group, share), ms in fewer.items() if group == (kind,)}
    counts = sorted(known)
    # More units never take less time: what is measured otherwise is noise.
    total = np.maximum.accumulate([*(known[count] for count in counts), whole])
    return [*counts, _count(parts, kind, 1)], total - total[0]
