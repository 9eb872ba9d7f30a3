"""Profile a file: the kernel of each linear layer, its time, and its speed compared with the machine's peak.

The file runs in a separate process with onnxruntime's profiler, which slows each operator by about 3 microseconds: the
times explain a benchmark and do not replace it.
"""

from __future__ import annotations

import statistics
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

from sdp_onnx.bench.cases import Case, Inputs, save_batches
from sdp_onnx.bench.process import Worker
from sdp_onnx.bench.results import CaseProfile, LayerProfile, ModelProfile, PartProfile
from sdp_onnx.errors import BenchmarkError
from sdp_onnx.model.linear_layers import LinearLayer, linear_layers
from sdp_onnx.operators.library import has_library, instruction_set
from sdp_onnx.operators.table import OPERATORS, Part
from sdp_onnx.runtimes.machine_peak import measure_peak
from sdp_onnx.runtimes.profile_events import NodeTime, ProfiledRun, read_runs

_FEWEST_RUNS = 5
_MOST_RUNS = 32

# Parts of onnxruntime's own operators.
_STANDARD_PARTS: dict[str, Part] = {
    "Attention": "attention",
    "MultiHeadAttention": "attention",
    "MatMul": "dense",
    "Gemm": "dense",
    "FusedMatMul": "dense",
    "FusedGemm": "dense",
}

# The prefix of onnxruntime's name for a product fused with its activation.
_FUSED = "fused "


class _Work(NamedTuple):
    """The work of one layer, or of all layers of a kind, in one run."""

    microseconds: int
    operations: int


def profile_model(
    path: Path, cases: Sequence[Case], *, threads: Sequence[int], seconds_per_case: float = 1.0
) -> ModelProfile:
    """Profile every case with every number of threads.

    Args:
        seconds_per_case: approximate time of a case, within 5 to 32 runs.

    Raises:
        ModelFileError: the file cannot be used.
        BenchmarkError: the worker process ended, or its profile is incomplete.
    """
    layers = linear_layers(path)
    profiles: list[CaseProfile] = []
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder, "inputs.npz")
        save_batches(inputs, cases)
        for count in threads:
            runs = _run_cases(path, inputs, cases, count, seconds_per_case)
            profiles += [
                _case_profile(case, count, case_runs, layers) for case, case_runs in zip(cases, runs, strict=True)
            ]
    peaks = tuple(measure_peak(count) for count in threads) if has_library() else ()
    return ModelProfile(peaks, tuple(profiles))


def _run_cases(
    path: Path, inputs: Path, cases: Sequence[Case], threads: int, seconds_per_case: float
) -> list[list[ProfiledRun]]:
    """Return the runs of each case, from its first batch on, without warm-up."""
    counts = []
    with Worker(
        path, inputs, provider="cpu", threads=threads, profile=inputs.with_name(f"profile-{threads}")
    ) as worker:
        worker.load()
        for index in range(len(cases)):
            (seconds,) = worker.turn(index, 0, 1)
            count = min(_MOST_RUNS, max(_FEWEST_RUNS, round(seconds_per_case / seconds)))
            worker.turn(index, 0, count)
            counts.append(count)
        profile = worker.end_profile()
    try:
        runs = read_runs(profile)
    except (OSError, ValueError, KeyError) as error:
        raise BenchmarkError(f"onnxruntime's profile cannot be read ({error!r})", where=str(path)) from error
    # A turn begins with a warm-up run, and the first turn of a case only estimates the time of a run.
    warm_up = 3
    if len(runs) != sum(counts) + warm_up * len(cases):
        raise BenchmarkError(f"onnxruntime's profile holds only {len(runs)} runs", where=str(path))
    kept = []
    for count in counts:
        kept.append(runs[warm_up : warm_up + count])
        runs = runs[warm_up + count :]
    return kept


def _case_profile(
    case: Case, threads: int, runs: Sequence[ProfiledRun], layers: Mapping[str, LinearLayer]
) -> CaseProfile:
    batches = [case.batches[index % len(case.batches)] for index in range(len(runs))]
    by_layer: dict[str, list[_Work]] = defaultdict(list)
    by_kind: dict[str, list[_Work]] = defaultdict(list)
    by_part: dict[Part, list[int]] = {part: [] for part in get_args(Part)}
    for run, batch in zip(runs, batches, strict=True):
        spent = dict.fromkeys(by_part, 0)
        operations: Counter[str] = Counter()
        for node in run.nodes:
            name = node.name.removeprefix(_FUSED)
            layer = layers.get(name)
            if layer is None:
                spent[_part(node)] += node.microseconds
                continue
            spent[layer.kind] += node.microseconds
            work = _Work(node.microseconds, 2 * layer.nonzeros * _rows(node, layer, batch))
            operations[layer.kind] += work.operations
            by_layer[name].append(work)
        # The rest includes onnxruntime's own work between operators.
        spent["rest"] = max(0, run.microseconds - sum(spent.values()) + spent["rest"])
        for part, microseconds in spent.items():
            by_part[part].append(microseconds)
            if part in operations:
                by_kind[part].append(_Work(microseconds, operations[part]))
    whole = sum(map(sum, by_part.values()))
    return CaseProfile(
        case=case.name,
        batch_size=case.batch_size,
        sequence_length=case.sequence_length,
        threads=threads,
        runs=len(runs),
        tokens=statistics.median(_tokens(batch) for batch in batches),
        run_ms=statistics.median(run.microseconds for run in runs) / 1000,
        parts=tuple(
            PartProfile(
                part,
                statistics.median(taken) / 1000,
                sum(taken) / whole,
                _gflops(by_kind[part]) if part in by_kind else None,
            )
            for part, taken in by_part.items()
            if any(taken)
        ),
        layers=tuple(_layer_profile(layers[name], work) for name, work in by_layer.items()),
    )


def _layer_profile(layer: LinearLayer, work: Sequence[_Work]) -> LayerProfile:
    return LayerProfile(
        weights=layer.weights,
        kind=layer.kind,
        kernel=instruction_set() if layer.in_library else "onnxruntime",
        in_features=layer.in_features,
        out_features=layer.out_features,
        density=layer.density,
        filled=layer.filled,
        break_even=layer.break_even,
        ms=statistics.median(run.microseconds for run in work) / 1000,
        gflops=_gflops(work),
    )


def _part(node: NodeTime) -> Part:
    """Return the part of an operator without known parameters."""
    row = OPERATORS.get(node.op_type)
    return row.part if row is not None else _STANDARD_PARTS.get(node.op_type, "rest")


def _rows(node: NodeTime, layer: LinearLayer, batch: Inputs) -> int:
    """Return the rows that a layer multiplied, without padding; a head has one row for each text."""
    if layer.first_tokens:
        return len(next(iter(batch.values())))
    padded = next(iter(batch.values())).size
    return _tokens(batch) if layer.in_library or node.rows == padded else node.rows


def _tokens(batch: Inputs) -> int:
    mask = batch.get("attention_mask")
    return next(iter(batch.values())).size if mask is None else int(mask.sum())


def _gflops(work: Sequence[_Work]) -> float:
    return statistics.median(run.operations / run.microseconds for run in work) / 1000
