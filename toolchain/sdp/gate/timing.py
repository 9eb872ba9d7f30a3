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
from dataclasses import replace
from typing import Any, Literal

from sdp.errors import RunError
from sdp.gate.check import Cell, Check, judge_bound
from sdp.recipe.gate import GateSection
from sdp_onnx.bench.interval import TAIL, Interval
from sdp_onnx.bench.starts import Start, Tails, largest_deviation, speedup_interval, spread_interval

LOOKS = 3
Bound = Literal["min", "max"]


def judge_timing(settings: GateSection, bench: Mapping[str, Any], looks: int) -> list[Check]:
    """Judge every threshold on speed-up, latency and memory.

    Args:
        settings: the recipe's [gate].
        bench: 5-bench/latency.json, with what was measured again (`with_more`).
        looks: largest number of looks of the verdict; 1 or `LOOKS`.

    Returns:
        for each threshold that is set a check of every cell of the grid; for memory one of every number of threads.

    Raises:
        RunError: memory is to be judged and the system does not report it.
    """
    checks: list[Check] = []
    cells = {
        Cell(case["case"], case["threads"]): [Start(**start) for start in case["starts"]] for case in bench["cases"]
    }
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
        checks += _judge_memory(settings.max_memory_mb, bench["processes"], looks)
    return checks


def with_more(bench: Mapping[str, Any], more: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Add later starts and processes to the benchmark's results.

    Args:
        bench: 5-bench/latency.json.
        more: for each later look its "cases" and "processes", of the same form. Processes that did not run every case
            of their number of threads are none to compare memory with, and are not among them.
    """
    cases = [
        {**case, "starts": case["starts"] + [start for look in more for start in _starts(look, case)]}
        for case in bench["cases"]
    ]
    processes = [process for look in more for process in look["processes"]]
    return {**bench, "cases": cases, "processes": bench["processes"] + processes}


def settled(before: Sequence[Check], now: Sequence[Check]) -> list[Check]:
    """Return the new checks, except those that were decided before: a decision ends a sequential test."""
    return [old if old.outcome != "inconclusive" else new for old, new in zip(before, now, strict=True)]


def _starts(look: Mapping[str, Any], case: Mapping[str, Any]) -> list[dict[str, Any]]:
    same = [other for other in look["cases"] if all(other[key] == case[key] for key in ("case", "threads"))]
    return [start for other in same for start in other["starts"]]


def _judge_latency(
    key: str, percentile: str, threshold: float, cells: Mapping[Cell, list[Start]], looks: int
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


def _judge_memory(threshold: float, processes: Sequence[Mapping[str, Any]], looks: int) -> list[Check]:
    checks = []
    counts = list(dict.fromkeys(process["threads"] for process in processes))
    for count in counts:
        own = [process for process in processes if process["threads"] == count]
        first, second, peaks = (
            [process["peak_memory_bytes"] for process in own if process["role"] == role]
            for role in ("baseline", "baseline again", "candidate")
        )
        if None in (*first, *second, *peaks):
            hint = "Remove gate.max_memory_mb, or run the gate on Linux or macOS."
            raise RunError("this system does not report the peak memory of a process", hint=hint)
        controls = [a / b for a, b in zip(first, second, strict=True)]
        tails = _tails("max", looks, len(counts))
        megabytes = spread_interval([peak / 1e6 for peak in peaks], controls, tails)
        estimate = _widened("max", megabytes, largest_deviation(controls))
        subject = f"peak memory in MB, {count} threads"
        checks.append(judge_bound("max_memory_mb", "max", threshold, estimate, subject, Cell(None, count)))
    return checks


def _tails(bound: Bound, looks: int, cells: int) -> Tails:
    """Return the tails of the module's rules: "above" fails a lower bound, "below" an upper bound."""
    passing, failing = TAIL / looks, TAIL / looks / cells
    return Tails(below=passing, above=failing) if bound == "min" else Tails(below=failing, above=passing)


def _widened(bound: Bound, interval: Interval, deviation: float) -> Interval:
    """Widen an interval by the A/A deviation on the failing side."""
    if bound == "min":
        return replace(interval, high=interval.high * deviation)
    return replace(interval, low=interval.low / deviation)
