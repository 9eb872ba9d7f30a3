"""Size, memory and time of two runs: what may be compared, and what is only shown."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from scipy import stats

from sdp.compare.costs import compare_costs, welch_ratio
from sdp_onnx.bench.starts import Start


def run(size: int = 1_000_000, peaks: tuple[float, ...] = (100e6, 101e6, 99e6), cpu: str = "x") -> dict[str, Any]:
    start = asdict(Start(5, 2.0, 0.01, 1.0, 3.0, 4.0))
    processes = [{"role": "candidate", "threads": 1, "peak_memory_bytes": peak} for peak in peaks]
    cases = [{"case": "batch 1", "threads": 1, "starts": [start, start]}]
    environment = {"cpu": cpu}
    bench = {"candidate_bytes": size, "processes": processes, "cases": cases, "environment": environment}
    return {"bench": bench}


def rows(before: dict[str, Any], after: dict[str, Any], measured: dict[str, Any] | None = None) -> dict[str, Any]:
    return {row.what: row for row in compare_costs(before, after, measured)}


@pytest.mark.parametrize(("size", "outcome"), [(1_005_000, "no difference"), (1_100_000, "worse"), (500_000, "better")])
def test_size_is_exact_and_a_hundredth_is_no_difference(size: int, outcome: str) -> None:
    row = rows(run(), run(size))["file, MB"]
    assert (row.outcome, row.change, row.low) == (outcome, size / 1e6, None)


@pytest.mark.parametrize(
    ("peaks", "outcome"), [((100e6, 102e6), "no difference"), ((110e6, 111e6), "worse"), ((80e6, 80e6), "better")]
)
def test_memory_by_welch(peaks: tuple[float, ...], outcome: str) -> None:
    assert rows(run(), run(peaks=peaks))["peak memory, 1 threads, MB"].outcome == outcome


def test_memory_of_another_machine_or_grid_or_of_one_process_is_only_shown() -> None:
    name = "peak memory, 1 threads, MB"
    assert rows(run(), run(peaks=(200e6,)))[name].how == "one start has no spread (bench.starts)"
    assert rows(run(), run(peaks=(200e6, 201e6), cpu="y"))[name].outcome == "not compared"
    longer = run(peaks=(200e6, 201e6))
    longer["bench"]["cases"].append({**longer["bench"]["cases"][0], "case": "batch 1, 512 tokens"})
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
    starts = [asdict(Start(5, speedup * factor, 0.01, factor, 3.0, 4.0)) for factor in (0.99, 1.01, 1.0)]
    measured = {"cases": [{"case": "batch 1", "threads": 1, "starts": starts}]}
    row = rows(run(), run(), measured)["p50 at batch 1, 1 threads, ms"]
    assert (row.outcome, row.change) == (outcome, pytest.approx(1 / speedup, rel=1e-3))
    assert row.after == pytest.approx(3)
    assert row.before == pytest.approx(3 * speedup, rel=1e-3)


def test_nothing_is_said_without_a_benchmark() -> None:
    assert compare_costs(run(), {"bench": None}, None) == []
