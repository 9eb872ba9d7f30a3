"""Measure the speed of two files in turns in one run.

For each number of threads three processes are started: the baseline, the baseline once more, and the candidate. Only
one of them runs at any time. A round gives each process one turn on the same batches; the order of turns cycles through
all permutations, so that drift and effects of the previous turn are equal for all. The speed-up is the ratio of the
times within a round, over rounds; the ratio of the two baseline processes, which should be 1, measures the machine's
noise. All of it is repeated with new processes; the interval of the speed-up is computed from these starts and from the
A/A ratios (see `bench.starts`).
"""

from __future__ import annotations

import itertools
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sdp_onnx.bench.cases import Case, save_batches
from sdp_onnx.bench.process import Worker
from sdp_onnx.bench.results import ROLES, BenchResult, CaseResult, ProcessResult
from sdp_onnx.bench.statistics import Start, is_quiet, latency, median_error, paired_ratio, speedup_interval
from sdp_onnx.model.model_file import file_bytes
from sdp_onnx.runtimes.base import Provider, RuntimeName
from sdp_onnx.runtimes.environment import environment_record
from sdp_onnx.runtimes.registry import DEFAULT, RUNTIMES

# Approximate time of a turn of the baseline; the candidate runs the same batches.
_TURN_SECONDS = 0.04
_CALIBRATION_RUNS = 3
MIN_ROUNDS = 10

# The threads of the previous turn get time to sleep.
_PAUSE_SECONDS = 0.005

Progress = Callable[[str, float], None]
# Seconds by process (in the order of ROLES), round and run.
Times = list[list[list[float]]]


def benchmark_pair(
    baseline: Path,
    candidate: Path,
    cases: Sequence[Case],
    *,
    threads: Sequence[int],
    provider: Provider = "cpu",
    seconds_per_case: float = 3.0,
    min_rounds: int = MIN_ROUNDS,
    starts: int = 1,
    baseline_runtime: RuntimeName = DEFAULT,
    on_progress: Progress | None = None,
) -> BenchResult:
    """Measure `candidate` against `baseline` on every case with every number of threads.

    Args:
        seconds_per_case: a case ends after this time over all turns and starts, and after `min_rounds` rounds.
        min_rounds: at least 2, over all starts, of which each has at least 2.
        starts: how often new processes are started.
        baseline_runtime: what runs `baseline`; the candidate runs in the default one.
        on_progress: called with what is measured now, and the share of all cases that is done, from 0 to 1.

    Raises:
        ModelFileError, ProviderError: a file or the provider cannot be used.
        BenchmarkError: a worker process ended.
    """
    if min_rounds < 2 or not cases or not threads or not all(case.batches for case in cases):
        raise ValueError("a benchmark needs two rounds, a case, a number of threads, and batches in every case")
    for runtime in dict.fromkeys([baseline_runtime, DEFAULT]):
        RUNTIMES[runtime].require(provider)
    sizes = _bytes(baseline), file_bytes(candidate)
    load_average = os.getloadavg() if hasattr(os, "getloadavg") else ()
    plan = _Plan(baseline, baseline_runtime, candidate, cases, threads, provider, starts)
    report = on_progress or (lambda _label, _share: None)
    measured, processes = _measure_all(plan, seconds_per_case / starts, max(2, math.ceil(min_rounds / starts)), report)
    results = [_summarize(found, cases[index], count) for (count, index), found in measured.items()]
    return BenchResult(
        baseline=str(baseline),
        candidate=str(candidate),
        baseline_bytes=sizes[0],
        candidate_bytes=sizes[1],
        provider=provider,
        cases=tuple(results),
        processes=tuple(processes),
        quiet=all(result.quiet for result in results),
        environment=environment_record(),
        load_average=load_average,
    )


def _bytes(file: Path) -> int:
    """Bytes of a model; OpenVINO keeps the weights of an .xml file beside it."""
    if file.suffix != ".xml":
        return file_bytes(file)
    return file.stat().st_size + file.with_suffix(".bin").stat().st_size


@dataclass(frozen=True)
class _Plan:
    """The arguments of `benchmark_pair`."""

    baseline: Path
    baseline_runtime: RuntimeName
    candidate: Path
    cases: Sequence[Case]
    threads: Sequence[int]
    provider: Provider
    starts: int


@dataclass
class _Measured:
    """Times of one case with one number of threads, by start; the first start chooses the runs in a turn."""

    runs: int
    starts: list[Times]


def _measure_all(
    plan: _Plan, seconds: float, min_rounds: int, report: Progress
) -> tuple[dict[tuple[int, int], _Measured], list[ProcessResult]]:
    """Measure every start, number of threads and case, for at least `seconds` and `min_rounds`.

    Returns:
        (threads, index of the case) -> its times; and the results of the processes.
    """
    measured: dict[tuple[int, int], _Measured] = {}
    processes: list[ProcessResult] = []
    turns = plan.starts * len(plan.threads) * len(plan.cases)
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder, "inputs.npz")
        save_batches(inputs, plan.cases)
        for start, count in itertools.product(range(plan.starts), plan.threads):
            with _workers(plan, inputs, count) as workers:
                for index, case in enumerate(plan.cases):
                    done = sum(len(found.starts) for found in measured.values())
                    report(f"{case.name}, {count} threads", done / turns)
                    if (count, index) not in measured:
                        measured[count, index] = _Measured(_runs_per_turn(workers[0], index), [])
                    found = measured[count, index]
                    first = start * min_rounds
                    found.starts.append(_measure(workers, index, found.runs, seconds, min_rounds, first=first))
                processes += _finish(workers, count)
    report("done", 1.0)
    return measured, processes


@contextmanager
def _workers(plan: _Plan, inputs: Path, threads: int) -> Iterator[list[Worker]]:
    """Start three processes in the order of ROLES and load their models; they end with the block."""
    with ExitStack() as stack:
        baseline, candidate = (plan.baseline, plan.baseline_runtime), (plan.candidate, DEFAULT)
        workers = [
            stack.enter_context(Worker(file, inputs, provider=plan.provider, threads=threads, runtime=runtime))
            for file, runtime in (baseline, baseline, candidate)
        ]
        for worker in workers:
            worker.load()
        yield workers


def _runs_per_turn(worker: Worker, index: int) -> int:
    return max(1, round(_TURN_SECONDS / statistics.median(worker.turn(index, 0, _CALIBRATION_RUNS))))


def _measure(workers: Sequence[Worker], index: int, runs: int, seconds: float, min_rounds: int, first: int) -> Times:
    """Run rounds on one case, starting with number `first`, until both limits are reached."""
    times: Times = [[], [], []]
    deadline = time.monotonic() + seconds
    orders = list(itertools.permutations(range(len(workers))))
    for number in itertools.count(first):
        if number - first >= min_rounds and time.monotonic() >= deadline:
            break
        for process in orders[number % len(orders)]:
            time.sleep(_PAUSE_SECONDS)
            times[process].append(workers[process].turn(index, number * runs, runs))
    return times


def _summarize(found: _Measured, case: Case, threads: int) -> CaseResult:
    starts = found.starts
    measured = tuple(_start(times) for times in starts)
    # [process][run], and for the baselines [process][round].
    flat = [list(itertools.chain.from_iterable(turn for times in starts for turn in times[p])) for p in range(3)]
    first, second = ([statistics.median(turn) for times in starts for turn in times[p]] for p in range(2))
    same_file = paired_ratio(first, second)
    return CaseResult(
        case=case.name,
        batch_size=case.batch_size,
        sequence_length=case.sequence_length,
        threads=threads,
        rounds=len(first),
        runs_per_turn=found.runs,
        baseline=latency([*flat[0], *flat[1]], case.batch_size),
        candidate=latency(flat[2], case.batch_size),
        speedup=speedup_interval(measured),
        same_file=same_file,
        quiet=is_quiet(same_file),
        starts=measured,
    )


def _start(times: Times) -> Start:
    first, second, candidate = ([statistics.median(turn) for turn in turns] for turns in times)
    logs = [math.log(math.sqrt(a * b) / c) for a, b, c in zip(first, second, candidate, strict=True)]
    own = latency(list(itertools.chain.from_iterable(times[2])), 1)
    return Start(
        rounds=len(logs),
        speedup=math.exp(statistics.median(logs)),
        speedup_error=median_error(logs),
        same_file=math.exp(statistics.median(math.log(a / b) for a, b in zip(first, second, strict=True))),
        p50_ms=own.p50_ms,
        p99_ms=own.p99_ms,
    )


def _finish(workers: Sequence[Worker], threads: int) -> list[ProcessResult]:
    results = []
    for role, worker in zip(ROLES, workers, strict=True):
        peak, loads = worker.finish()
        results.append(ProcessResult(role, threads, statistics.median(loads) * 1000, peak))
    return results
