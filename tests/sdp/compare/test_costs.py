"""Size, memory and time of two runs: which are compared, and which are only shown."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sdp.compare.costs import compare_costs, welch_ratio
from sdp.compare.difference import Difference
from sdp.compare.snapshot import Snapshot, SnapshotBench
from sdp.pipeline.artifacts.latency import TimedCase
from sdp.pipeline.artifacts.rows import ScoredRows
from sdp_onnx.bench.results import BenchResult
from sdp_onnx.bench.statistics import Start
from support.artifacts import ENVIRONMENT, case_result, three_processes


def run(
    size: int = 1_000_000,
    peaks: tuple[int, ...] = (100_000_000, 101_000_000, 99_000_000),
    cpu: str = "x",
    cases: tuple[str, ...] = ("batch 1",),
) -> Snapshot:
    start = Start(5, 2.0, 0.01, 1.0, 3.0, 4.0)
    bench = SnapshotBench(
        cases=tuple(TimedCase(case=case, threads=1, starts=(start, start)) for case in cases),
        candidate_bytes=size,
        processes=tuple(process for peak in peaks for process in three_processes(peak, threads=1)),
        environment=ENVIRONMENT.model_copy(update={"cpu": cpu}),
    )
    return snapshot(bench)


def snapshot(bench: SnapshotBench | None) -> Snapshot:
    rows = ScoredRows(
        split="dev",
        hashes=("0",),
        part_names=("",),
        parts=(0,),
        labels=(0,),
        predicted=(0,),
        groups=None,
        tags=None,
        words=None,
    )
    return Snapshot(snapshot=1, recipe="x", metric="accuracy", part=None, rows=rows, bench=bench)


def rows(before: Snapshot, after: Snapshot, measured: BenchResult | None = None) -> dict[str, Difference]:
    return {row.what: row for row in compare_costs(before, after, measured)}


@pytest.mark.parametrize(("size", "outcome"), [(1_005_000, "no difference"), (1_100_000, "worse"), (500_000, "better")])
def test_size_is_exact_and_a_hundredth_is_no_difference(size: int, outcome: str) -> None:
    row = rows(run(), run(size))["file, MB"]
    assert (row.outcome, row.change, row.low) == (outcome, size / 1e6, None)


@pytest.mark.parametrize(
    ("peaks", "outcome"),
    [
        ((100_000_000, 102_000_000), "no difference"),
        ((110_000_000, 111_000_000), "worse"),
        ((80_000_000, 80_000_000), "better"),
    ],
)
def test_memory_by_welch(peaks: tuple[int, ...], outcome: str) -> None:
    assert rows(run(), run(peaks=peaks))["peak memory, 1 threads, MB"].outcome == outcome


def test_memory_of_another_machine_or_grid_or_of_one_process_is_only_shown() -> None:
    name = "peak memory, 1 threads, MB"
    assert rows(run(), run(peaks=(200_000_000,)))[name].how == "one start has no spread (bench.starts)"
    assert rows(run(), run(peaks=(200_000_000, 201_000_000), cpu="y"))[name].outcome == "not compared"
    longer = run(peaks=(200_000_000, 201_000_000), cases=("batch 1", "batch 1, 512 tokens"))
    assert rows(run(), longer)[name].how == "the processes ran other cases"


def test_welch_against_scipy_on_the_other_side() -> None:
    before, after = [1.0, 1.1, 0.9], [2.0, 2.2, 2.1, 1.9]
    found = welch_ratio(before, after)
    back = welch_ratio(after, before)
    assert (1 / back.low, 1 / back.high) == pytest.approx((found.high, found.low))
    p = stats.ttest_ind(np.log(after), np.log(before) + np.log(found.low), equal_var=False).pvalue
    assert p == pytest.approx(0.05)
    assert welch_ratio([2.0, 2.0], [3.0, 3.0]).low == pytest.approx(1.5)


def test_times_of_two_benchmarks_are_shown_and_never_compared() -> None:
    shown = rows(run(), run())
    assert shown["p50 at batch 1, 1 threads, ms"].outcome == "not compared"
    assert "not measured in turns" in shown["p50 at batch 1, 1 threads, ms"].how
    assert shown["speed-up at batch 1, 1 threads"].outcome == "not compared"


@pytest.mark.parametrize(("speedup", "outcome"), [(2.0, "better"), (0.5, "worse"), (1.005, "no difference")])
def test_times_in_turns_are(speedup: float, outcome: str) -> None:
    starts = [Start(5, speedup * factor, 0.01, factor, 3.0, 4.0) for factor in (0.99, 1.01, 1.0)]
    case = case_result("batch 1", starts, threads=1)
    measured = BenchResult("a", "b", 1, 1, "cpu", (case,), (), True, ENVIRONMENT.to_json(), ())
    row = rows(run(), run(), measured)["p50 at batch 1, 1 threads, ms"]
    assert (row.outcome, row.change) == (outcome, pytest.approx(1 / speedup, rel=1e-3))
    assert row.after == pytest.approx(3)
    assert row.before == pytest.approx(3 * speedup, rel=1e-3)


def test_without_a_benchmark_there_are_no_rows() -> None:
    assert compare_costs(run(), snapshot(None), None) == []
