"""How often the gate is wrong about speed: simulated with fixed seeds, at the truth, with looks, cells and noise."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sdp.gate.check import BenchCell, Check, judge_bound
from sdp.gate.more_starts import open_cells
from sdp.gate.timing import LOOKS, Timings, judge_timing, settled, timings_of
from sdp.pipeline.artifacts.latency import MeasuredAgain, TimedCase
from sdp.recipe.gate import GateSection
from sdp_onnx.bench.interval import Interval
from sdp_onnx.bench.statistics import Start
from support.artifacts import bench_latency, case_result, three_processes

TRUTH = 2.0


class Machine:
    """Starts of the three processes: each has a factor of its own for life, rounds add to it, times drift."""

    def __init__(self, seed: int, process: float = 0.03, rounds: float = 0.01) -> None:
        self._rng = np.random.default_rng(seed)
        self._process, self._rounds = process, rounds

    def starts(self, count: int, speedup: float) -> list[Start]:
        logs = self._rng.normal(0, self._process, (count, 3)) + self._rng.normal(0, self._rounds, (count, 3))
        return [
            Start(
                rounds=4,
                speedup=speedup * math.exp((a + b) / 2 - c),
                speedup_error=1.2 * self._rounds,
                same_file=math.exp(a - b),
                p50_ms=10 * math.exp(c),
                p99_ms=12 * math.exp(c),
            )
            for a, b, c in logs
        ]

    def bench(self, speedups: list[float], starts: int) -> Timings:
        return Timings({BenchCell(str(i), 1): self.starts(starts, s) for i, s in enumerate(speedups)}, [])


def sequentially(machine: Machine, settings: GateSection, speedups: list[float], more_starts: int) -> list[str]:
    """The outcomes after as many looks as it takes, as the gate's stage takes them."""
    timings = machine.bench(speedups, 3)
    checks = judge_timing(settings, timings, LOOKS)
    for _ in range(LOOKS - 1):
        places = open_cells(checks, [str(cell.case) for cell in timings.cells]).get(1, [])
        if not places:
            break
        more = {BenchCell(str(place), 1): machine.starts(more_starts, speedups[place]) for place in places}
        cells = {cell: [*starts, *more.get(cell, [])] for cell, starts in timings.cells.items()}
        timings = Timings(cells, [])
        checks = settled(checks, judge_timing(settings, timings, LOOKS))
    return [check.outcome for check in checks]


@pytest.mark.parametrize("key", ["min_speedup", "max_latency_ms"])
def test_three_looks_are_wrong_no_oftener_than_one_may_be(key: str) -> None:
    """A cell exactly at the threshold passes wrongly, if the truth is a hair worse, and fails wrongly, if better."""
    machine, settings = Machine(1), GateSection(**{key: TRUTH if key == "min_speedup" else 10.0})
    outcomes = [sequentially(machine, settings, [TRUTH], 4)[0] for _ in range(800)]
    # 2.5 % may pass; three standard errors of the simulation are 1.7 %.
    assert outcomes.count("pass") <= 800 * 0.042
    assert outcomes.count("fail") <= 800 * 0.005


def test_many_cells_do_not_fail_by_their_number() -> None:
    machine, settings = Machine(2), GateSection(min_speedup=TRUTH)
    runs = [judge_timing(settings, machine.bench([TRUTH] * 8, 3), 1) for _ in range(150)]
    assert sum(any(check.outcome == "fail" for check in checks) for checks in runs) <= 3


def test_a_real_difference_is_found_and_more_starts_find_a_smaller_one() -> None:
    machine, settings = Machine(3), GateSection(min_speedup=TRUTH)
    clear = [sequentially(machine, settings, [1.4, 2.9], 4) for _ in range(50)]
    assert sum(outcome == ["fail", "pass"] for outcome in clear) >= 48
    once = [judge_timing(settings, machine.bench([2.15], 3), LOOKS)[0].outcome for _ in range(100)]
    again = [sequentially(machine, settings, [2.15], 6)[0] for _ in range(100)]
    assert again.count("pass") > once.count("pass") + 20


def test_the_same_model_twice_never_fails_at_no_gain() -> None:
    """A/A: 20 gates of two cells, on machines from quiet to very noisy."""
    settings = GateSection(min_speedup=1.0)
    for seed, noise in enumerate((0.003, 0.03, 0.2)):
        machine = Machine(seed, process=noise, rounds=noise)
        outcomes = [outcome for _ in range(20) for outcome in sequentially(machine, settings, [1.0, 1.0], 3)]
        assert "fail" not in outcomes


def check(outcome: str, case: str | None, threads: int) -> Check:
    threshold = {"pass": 1.0, "inconclusive": 2.0, "fail": 4.0}[outcome]
    found = judge_bound("x", "min", threshold, Interval(2.0, 1.5, 3.0), "x", BenchCell(case, threads))
    assert found.outcome == outcome
    return found


def test_only_open_cells_are_measured_again_and_memory_needs_all() -> None:
    checks = [
        check("pass", "a", 1),
        check("inconclusive", "b", 1),
        check("fail", "a", 2),
        check("inconclusive", "b", 1),
    ]
    assert open_cells(checks, ["a", "b"]) == {1: [1]}
    assert open_cells([*checks, check("inconclusive", None, 2)], ["a", "b"]) == {1: [1], 2: [0, 1]}


def test_what_is_decided_stays_decided() -> None:
    before = [check("pass", "a", 1), check("inconclusive", "b", 1)]
    now = [check("inconclusive", "a", 1), check("fail", "b", 1)]
    assert [one.outcome for one in settled(before, now)] == ["pass", "fail"]


def test_later_starts_join_their_own_cell() -> None:
    cases = [case_result(str(speedup), Machine(4).starts(2, speedup), threads=1) for speedup in (1.0, 2.0)]
    bench = bench_latency(cases, three_processes(1, threads=1))
    later = TimedCase(case="2.0", threads=1, starts=tuple(Machine(5).starts(3, 2.0)))
    look = MeasuredAgain(seconds=1.0, cases=(later,), processes=three_processes(1, threads=1))
    pooled = timings_of(bench, [look, look])
    assert [len(starts) for starts in pooled.cells.values()] == [2, 8]
    assert len(pooled.processes) == 9
    assert [len(case.starts) for case in bench.cases] == [2, 2], "the benchmark itself is as it was"
