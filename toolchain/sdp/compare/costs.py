"""Size, memory and time of two runs: compared where possible, side by side elsewhere."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence

from sdp.compare.difference import Difference, by_ratio, not_compared, outcome_of
from sdp.compare.snapshot import Snapshot, SnapshotBench
from sdp.gate.check import BenchCell
from sdp_onnx.bench.interval import TAIL, Interval
from sdp_onnx.bench.results import BenchResult, ProcessResult
from sdp_onnx.bench.statistics import Tails, largest_deviation, speedup_interval, spread_interval

# A file's metadata names its recipe: a few bytes more are no growth.
SIZE_TOLERANCE = 0.01
# Fields of the environment that must be equal for memory to be comparable.
MACHINE = ("cpu", "logical_cores", "allowed_cores", "cpu_quota", "packages")


def compare_costs(before: Snapshot, after: Snapshot, measured: BenchResult | None) -> list[Difference]:
    """Size, peak memory, and time of one call.

    Args:
        before, after: the runs; without the benchmark of both there are no rows.
        measured: the file of `before` as baseline, the one of `after` as candidate; None where the two files were not
            measured in turns. Times of two benchmarks, each at its own hour, are shown and not compared: the machine
            may have changed more than the model.
    """
    if before.bench is None or after.bench is None:
        return []
    return [
        _size(before.bench.candidate_bytes, after.bench.candidate_bytes),
        *_memory(before.bench, after.bench),
        *(_side_by_side(before.bench, after.bench) if measured is None else _in_turns(measured)),
    ]


def _size(before: int, after: int) -> Difference:
    ratio = after / before
    outcome = outcome_of(ratio - SIZE_TOLERANCE, ratio + SIZE_TOLERANCE, 1, higher_is_better=False)
    how = f"exact; up to {SIZE_TOLERANCE:.0%} is no difference"
    return Difference("file, MB", before / 1e6, after / 1e6, outcome, how, ratio, ratio=True)


def _memory(before: SnapshotBench, after: SnapshotBench) -> Iterator[Difference]:
    same = all(getattr(before.environment, key) == getattr(after.environment, key) for key in MACHINE)
    grids = [{(case.case, case.threads) for case in bench.cases} for bench in (before, after)]
    for threads in dict.fromkeys(process.threads for process in after.processes):
        peaks = [_peaks(bench.processes, threads) for bench in (before, after)]
        if not all(peaks):
            continue
        what, values = f"peak memory, {threads} threads, MB", [spread_interval(own, [1.0]).value / 1e6 for own in peaks]
        if not same:
            yield not_compared(what, values, "another machine, or other libraries")
        elif grids[0] != grids[1]:
            yield not_compared(what, values, "the processes ran other cases")
        elif min(len(own) for own in peaks) < 2:
            yield not_compared(what, values, "one start has no spread (bench.starts)")
        else:
            how = f"Welch's t over {len(peaks[0])} and {len(peaks[1])} processes"
            yield by_ratio(what, values, welch_ratio(*peaks), how)


def _peaks(processes: Sequence[ProcessResult], threads: int) -> list[int]:
    """The candidate's peaks; empty where there are none, or one is unknown."""
    own = [process for process in processes if process.role == "candidate" and process.threads == threads]
    known = [process.peak_memory_bytes for process in own if process.peak_memory_bytes is not None]
    return known if len(known) == len(own) else []


def welch_ratio(before: Sequence[float], after: Sequence[float]) -> Interval:
    """after / before of geometric means, with Welch's t interval (1947) of the logarithms; two values each or more."""
    from scipy.stats import ttest_ind

    logs = [[math.log(value) for value in values] for values in (after, before)]
    value = math.exp(sum(logs[0]) / len(logs[0]) - sum(logs[1]) / len(logs[1]))
    if all(max(own) == min(own) for own in logs):
        return Interval.exact(value)
    with warnings.catch_warnings():
        # Values of one run that are all equal are no mistake.
        warnings.simplefilter("ignore", RuntimeWarning)
        ends = ttest_ind(*logs, equal_var=False).confidence_interval(1 - 2 * TAIL)
    return Interval(value, math.exp(ends.low), math.exp(ends.high))


def _side_by_side(before: SnapshotBench, after: SnapshotBench) -> Iterator[Difference]:
    known = {(case.case, case.threads): case for case in before.cases}
    for case in after.cases:
        other = known.get((case.case, case.threads))
        if other is not None:
            cell = BenchCell(case.case, case.threads).words()
            times = [_mean([start.p50_ms for start in own.starts]) for own in (other, case)]
            gains = [_mean([start.speedup for start in own.starts]) for own in (other, case)]
            yield not_compared(f"p50 at {cell}, ms", times, "not measured in turns (--measure does)")
            yield not_compared(f"speed-up at {cell}", gains, "each against its own dense file")


def _in_turns(measured: BenchResult) -> Iterator[Difference]:
    cases = measured.cases
    for case in cases:
        starts = case.starts
        # By chance alone, the more cells there are, the more often one looks slower.
        found = speedup_interval(starts, Tails(below=TAIL, above=TAIL / len(cases)))
        deviation = largest_deviation([start.same_file for start in starts])
        # Time is the inverse of speed.
        ratio = Interval(1 / found.value, 1 / (found.high * deviation), deviation / found.low)
        after = _mean([start.p50_ms for start in starts])
        what = f"p50 at {BenchCell(case.case, case.threads).words()}, ms"
        how = f"both files in turns, {len(starts)} starts; widened by the A/A deviation"
        yield by_ratio(what, [after * found.value, after], ratio, how)


def _mean(values: Sequence[float]) -> float:
    """The geometric mean."""
    return spread_interval(values, [1.0]).value
