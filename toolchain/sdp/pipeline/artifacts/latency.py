"""latency.json of the benchmark: two files measured in turns, and where the exported one's time goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal, Protocol, Self

from pydantic import AfterValidator, Field, model_validator

from sdp.pipeline.artifacts.base import Artifact, Count, Stored, present
from sdp.pipeline.artifacts.intervals import Score
from sdp_onnx.bench.results import ROLES, BenchResult, CaseResult, ModelProfile, ProcessResult
from sdp_onnx.bench.statistics import Start
from sdp_onnx.runtimes.base import Provider, RuntimeName

MOST = 2**53


def _start(start: Start) -> Start:
    positive = (start.speedup, start.same_file, start.p50_ms, start.p99_ms)
    if min(positive) <= 0 or start.speedup_error < 0 or not 0 < start.rounds < MOST:
        raise ValueError("a start has a number that no measurement gives")
    return start


def _process(process: ProcessResult) -> ProcessResult:
    peak = process.peak_memory_bytes
    if process.role not in ROLES or not 0 < process.threads < MOST or (peak is not None and not 0 < peak < MOST):
        raise ValueError(f"a process has another role than {', '.join(ROLES)}, or a number that no measurement gives")
    return process


MeasuredStart = Annotated[Start, AfterValidator(_start)]
MeasuredProcess = Annotated[ProcessResult, AfterValidator(_process)]


class Timed(Protocol):
    """A cell of the benchmark's grid, a case with a number of threads, and its starts."""

    @property
    def case(self) -> str:
        """Name of the case."""

    @property
    def threads(self) -> int:
        """Threads of one operator."""

    @property
    def starts(self) -> tuple[Start, ...]:
        """What each start of the processes measured."""


def _case(case: CaseResult) -> CaseResult:
    if not 0 < case.threads < MOST or not case.starts:
        raise ValueError("a case has no threads, or no starts")
    for start in case.starts:
        _start(start)
    return case


MeasuredCase = Annotated[CaseResult, AfterValidator(_case)]


class TimedCase(Stored):
    """One cell of the grid with its starts alone."""

    case: str
    threads: Count
    starts: tuple[MeasuredStart, ...] = Field(min_length=1)


def check_grid(cases: Iterable[Timed], processes: Sequence[ProcessResult]) -> None:
    """See that every cell is there once, and that every number of threads has as many processes of each role.

    Raises:
        ValueError: it is not so.
    """
    cells = Counter((case.case, case.threads) for case in cases)
    if twice := [cell for cell, count in cells.items() if count > 1]:
        raise ValueError(f"the case {twice[0][0]!r} with {twice[0][1]} threads stands there twice")
    counts = Counter((process.threads, process.role) for process in processes)
    for threads in sorted({process.threads for process in processes}):
        if len({counts[threads, role] for role in ROLES}) > 1:
            raise ValueError(f"a process with {threads} threads is missing")


class BenchEnvironment(Stored):
    """The machine and the software of a measurement (see `sdp_onnx.runtimes.environment`)."""

    cpu: str
    instruction_sets: Sequence[str]
    logical_cores: int | None
    allowed_cores: int | None
    cpu_quota: float | None
    memory_bytes: int | None
    os: str
    python: str
    packages: dict[str, str]
    providers: Sequence[str]
    gpus: Sequence[str]


class DenseRuntime(Stored):
    """The runtime of the dense model, where it is another than onnxruntime.

    Attributes:
        name: of the runtime.
        version: of the runtime.
        precision: in which it runs the model.
        score: the task's metric on the evaluation split.
        relative_error: largest difference of its logits to torch's, relative to the largest logit.
    """

    name: RuntimeName
    version: str
    precision: Literal["fp32", "int8"]
    score: Score
    relative_error: Annotated[float, Field(ge=0)]


class BenchLatency(Artifact):
    """The exported file (candidate) against the dense file (baseline); the profile is one of the CPU."""

    STAGE = "bench"
    FILE = "latency.json"

    baseline: str
    candidate: str
    baseline_bytes: Count
    candidate_bytes: Count
    provider: Provider
    cases: tuple[MeasuredCase, ...] = Field(min_length=1)
    processes: tuple[MeasuredProcess, ...] = Field(min_length=1)
    quiet: bool
    environment: BenchEnvironment
    load_average: tuple[float, ...]
    profile: ModelProfile | None = None
    dense_runtime: DenseRuntime | None = None

    @model_validator(mode="after")
    def _whole_grid(self) -> Self:
        check_grid(self.cases, self.processes)
        return self

    @property
    def dense_title(self) -> str:
        """The dense model as tables name it."""
        runtime = self.dense_runtime
        return "dense" if runtime is None else f"dense in {runtime.name} {runtime.precision}"

    @classmethod
    def of(
        cls, result: BenchResult, profile: ModelProfile | None = None, dense_runtime: DenseRuntime | None = None
    ) -> Self:
        """A benchmark's result as it is stored."""
        environment = BenchEnvironment.model_validate(result.environment)
        return cls(
            **{**vars(result), "environment": environment}, **present(profile=profile, dense_runtime=dense_runtime)
        )

    def peak_memory(self, role: str) -> int | None:
        """The most bytes that a process of a role had; None where the system does not report it."""
        peaks = [process.peak_memory_bytes for process in self.processes if process.role == role]
        known = [peak for peak in peaks if peak is not None]
        return max(known) if known and len(known) == len(peaks) else None


class MeasuredAgain(Stored):
    """What one look of the gate measured, in how many seconds."""

    seconds: Annotated[float, Field(ge=0)]
    cases: tuple[TimedCase, ...]
    processes: tuple[MeasuredProcess, ...]

    @model_validator(mode="after")
    def _whole_grid(self) -> Self:
        check_grid(self.cases, self.processes)
        return self
