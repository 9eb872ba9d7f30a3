"""The gate's checks of speed-up, latency and memory, from the starts of the benchmark's processes.

Error rates. Each interval has a tail of 2.5 % on either side, which is divided:

- Repeated looks at an undecided result increase the chance of an error, so a verdict with up to `LOOKS` looks gives
  each look a share of the tail (Bonferroni: no assumption about the dependence of looks).
- One slow cell of the grid fails the model, so false alarms add up over cells: the failing tail is also divided by the
  number of cells. To pass, every cell must pass, and the worst cell alone can prevent it: that tail is not divided.
- A difference no larger than the difference between two processes of the same file, in any start, is noise: on the
  failing side, the interval is widened by that factor. So a model equal to its baseline hardly ever fails.

For each key of [gate], a model that is good enough fails in at most 2.5 % of runs, and one that is not passes in at
most 2.5 %. The intervals of all looks hold together, wherever the threshold is: other thresholds may be judged on the
same measurements, and even be chosen by them. Two things give chances of their own: another benchmark, and a verdict
that measures nothing again (budget 0, `sdp gate --no-update`), which has the whole tail for its one look, before one
that does; together they are wrong in at most 2.5 % and two thirds of that, 4.2 %.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from sdp.errors import RunError
from sdp.gate.check import BenchCell, Check, judge_bound
from sdp.pipeline.artifacts.latency import BenchLatency, MeasuredAgain
from sdp.recipe.gate import GateSection
from sdp_onnx.bench.interval import TAIL, Interval
from sdp_onnx.bench.results import ProcessResult
from sdp_onnx.bench.statistics import Start, Tails, largest_deviation, speedup_interval, spread_interval

LOOKS = 3
Bound = Literal["min", "max"]


@dataclass(frozen=True)
class Timings:
    """What was timed: the starts of every cell of the grid, and the processes, those of later looks too."""

    cells: Mapping[BenchCell, Sequence[Start]]
    processes: Sequence[ProcessResult]


def judge_timing(settings: GateSection, timings: Timings, looks: int) -> list[Check]:
    """Judge every threshold on speed-up, latency and memory.

    Args:
        settings: the recipe's [gate].
        timings: of the benchmark, and of what was measured again (see `timings_of`).
        looks: largest number of looks of the verdict; 1 or `LOOKS`.

    Returns:
        for each threshold that is set a check of every cell of the grid; for memory one of every number of threads.

    Raises:
        RunError: memory is to be judged and the system does not report it.
    """
    checks: list[Check] = []
    cells = timings.cells
    if settings.min_speedup is not None:
        tails = _tails("min", looks, len(cells))
        for cell, starts in cells.items():
            deviation = largest_deviation([start.same_file for start in starts])
            estimate = _widened("min", speedup_interval(starts, tails), deviation)
            subject = f"speed-up at {cell.words()}"
            checks.append(judge_bound("min_speedup", "min", settings.min_speedup, estimate, subject, cell))
    for key, percentile in (("max_latency_ms", "p50_ms"), ("max_p99_ms", "p99_ms")):
        threshold = getattr(settings, key)
        if threshold is not None:
            checks += _judge_latency(key, percentile, threshold, cells, looks)
    if settings.max_memory_mb is not None:
        checks += _judge_memory(settings.max_memory_mb, timings.processes, looks)
    return checks


def timings_of(bench: BenchLatency, more: Sequence[MeasuredAgain] = ()) -> Timings:
    """The benchmark's starts and processes with those that were measured later.

    Args:
        bench: 5-bench/latency.json.
        more: the later looks. Processes that did not run every case of their number of threads are none to compare
            memory with, and are not among theirs.
    """
    cells = {BenchCell(case.case, case.threads): list(case.starts) for case in bench.cases}
    for case in (case for look in more for case in look.cases):
        cells.get(BenchCell(case.case, case.threads), []).extend(case.starts)
    return Timings(cells, [*bench.processes, *(process for look in more for process in look.processes)])


def settled(before: Sequence[Check], now: Sequence[Check]) -> list[Check]:
    """Return the new checks, except those that were decided before: a decision ends a sequential test."""
    return [old if old.outcome != "inconclusive" else new for old, new in zip(before, now, strict=True)]


def _judge_latency(
    key: str, percentile: str, threshold: float, cells: Mapping[BenchCell, Sequence[Start]], looks: int
) -> list[Check]:
    checks = []
    tails = _tails("max", looks, len(cells))
    for cell, starts in cells.items():
        controls = [start.same_file for start in starts]
        times = spread_interval([getattr(start, percentile) for start in starts], controls, tails)
        estimate = _widened("max", times, largest_deviation(controls))
        subject = f"{percentile.removesuffix('_ms')} in ms at {cell.words()}"
        checks.append(judge_bound(key, "max", threshold, estimate, subject, cell))
    return checks


def _judge_memory(threshold: float, processes: Sequence[ProcessResult], looks: int) -> list[Check]:
    checks = []
    counts = list(dict.fromkeys(process.threads for process in processes))
    for count in counts:
        own = [process for process in processes if process.threads == count]
        first, second, peaks = (
            [_known_peak(process) for process in own if process.role == role]
            for role in ("baseline", "baseline again", "candidate")
        )
        controls = [a / b for a, b in zip(first, second, strict=True)]
        tails = _tails("max", looks, len(counts))
        megabytes = spread_interval([peak / 1e6 for peak in peaks], controls, tails)
        estimate = _widened("max", megabytes, largest_deviation(controls))
        subject = f"peak memory in MB, {count} threads"
        checks.append(judge_bound("max_memory_mb", "max", threshold, estimate, subject, BenchCell(None, count)))
    return checks


def _known_peak(process: ProcessResult) -> int:
    if process.peak_memory_bytes is None:
        hint = "Remove gate.max_memory_mb, or run the gate on Linux or macOS."
        raise RunError("this system does not report how much memory a process needed", hint=hint)
    return process.peak_memory_bytes


def _tails(bound: Bound, looks: int, cells: int) -> Tails:
    """Return the tails of the module's rules: "above" fails a lower bound, "below" an upper bound."""
    passing, failing = TAIL / looks, TAIL / looks / cells
    return Tails(below=passing, above=failing) if bound == "min" else Tails(below=failing, above=passing)


def _widened(bound: Bound, interval: Interval, deviation: float) -> Interval:
    """Widen an interval by the A/A deviation on the failing side."""
    if bound == "min":
        return replace(interval, high=interval.high * deviation)
    return replace(interval, low=interval.low / deviation)
