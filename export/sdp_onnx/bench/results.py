"""The results of a benchmark and of a profile, as data: what is stored, and what reports and gates read."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sdp_onnx.bench.interval import Interval
from sdp_onnx.bench.statistics import Latency, Start
from sdp_onnx.operators.table import Part
from sdp_onnx.operators.weight_formats import LayerKind
from sdp_onnx.runtimes.base import Provider
from sdp_onnx.runtimes.machine_peak import MachinePeak

ROLES = ("baseline", "baseline again", "candidate")


@dataclass(frozen=True)
class CaseResult:
    """Two files on one case with one number of threads.

    Attributes:
        case, batch_size, sequence_length: the measured case; None means the task's own lengths.
        threads: threads of one operator.
        rounds: number of rounds over all starts.
        runs_per_turn: timed runs in a turn.
        baseline: times of both baseline processes.
        candidate: times of the candidate.
        speedup: baseline time / candidate time; starts and A/A ratios determine its interval.
        same_file: the A/A ratio: first baseline process / second.
        quiet: whether the machine was quiet enough, by `same_file`.
        starts: the results of each start of the processes.
    """

    case: str
    batch_size: int
    sequence_length: int | None
    threads: int
    rounds: int
    runs_per_turn: int
    baseline: Latency
    candidate: Latency
    speedup: Interval
    same_file: Interval
    quiet: bool
    starts: tuple[Start, ...]


@dataclass(frozen=True)
class ProcessResult:
    """One worker process: its load times, and its peak memory at the end of the cases."""

    role: str
    threads: int
    load_ms: float
    peak_memory_bytes: int | None


@dataclass(frozen=True)
class BenchResult:
    """The results of a benchmark, with the data to judge them.

    Attributes:
        baseline, candidate: the files.
        baseline_bytes, candidate_bytes: their sizes with external data.
        provider: the execution provider.
        cases: one result per number of threads and case.
        processes: three per start and number of threads, in the order of ROLES.
        quiet: whether every case was quiet.
        environment: see `environment_record`.
        load_average: the system's load over 1, 5 and 15 minutes before the benchmark; empty where it is unknown.
    """

    baseline: str
    candidate: str
    baseline_bytes: int
    candidate_bytes: int
    provider: Provider
    cases: tuple[CaseResult, ...]
    processes: tuple[ProcessResult, ...]
    quiet: bool
    environment: dict[str, object]
    load_average: tuple[float, ...]

    def to_json(self) -> dict[str, object]:
        """The same as JSON types."""
        return asdict(self)


@dataclass(frozen=True)
class LayerProfile:
    """The profile of one linear layer.

    Attributes:
        weights: its parameters, stacked along out_features in this order.
        kind: the product that ran.
        kernel: the instruction set of the library's kernels, or "onnxruntime".
        density: share of nonzero weights.
        filled, break_even: as in `LinearLayer`: the reason for a sparse or dense product.
        ms: median time with bias, activation, residual and norm, where the operator includes them.
        gflops: billions per second of useful operations, 2 * nonzeros * tokens without padding; median over the runs.
    """

    weights: tuple[str, ...]
    kind: LayerKind
    kernel: str
    in_features: int
    out_features: int
    density: float
    filled: float
    break_even: float
    ms: float
    gflops: float


@dataclass(frozen=True)
class PartProfile:
    """The profile of all operators of one part.

    Attributes:
        part: sparse and dense products in fp32 and in int8, attention, or the rest, with onnxruntime's own work between
            operators.
        ms: median time in one run.
        share: its share of the total time of all runs; the shares add up to 1.
        gflops: as in `LayerProfile`, for the linear layers together; None where there are none.
    """

    part: Part
    ms: float
    share: float
    gflops: float | None


@dataclass(frozen=True)
class CaseProfile:
    """The profile of one case with one number of threads.

    Attributes:
        case, batch_size, sequence_length, threads: as in `CaseResult`.
        runs: profiled runs after the warm-up.
        tokens: median number of tokens in a batch, without padding.
        run_ms: median time of a run, profiler included.
        parts: the existing parts, in the order of `PartProfile.part`.
        layers: the layers in the order in which they run.
    """

    case: str
    batch_size: int
    sequence_length: int | None
    threads: int
    runs: int
    tokens: float
    run_ms: float
    parts: tuple[PartProfile, ...]
    layers: tuple[LayerProfile, ...]


@dataclass(frozen=True)
class ModelProfile:
    """A file's profile on the CPU.

    Attributes:
        peaks: the machine's peak for each number of threads; empty without the operator library.
        cases: one for each number of threads and case.
    """

    peaks: tuple[MachinePeak, ...]
    cases: tuple[CaseProfile, ...]

    def to_json(self) -> dict[str, object]:
        """The same as JSON types."""
        return asdict(self)
