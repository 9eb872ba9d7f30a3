"""Further measurements of the gate: undecided cells, in new processes, until they are decided or the time is up."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

from sdp.evaluation.bench_inputs import BenchInputs, bench_inputs
from sdp.gate.check import BenchCell, Check
from sdp.gate.judge import Judge, verdict
from sdp.gate.timing import LOOKS, settled
from sdp.pipeline.artifacts.latency import MeasuredAgain, TimedCase
from sdp.pipeline.context import StageContext
from sdp.recipe.sections import Recipe
from sdp_onnx.bench.pair import MIN_ROUNDS, benchmark_pair
from sdp_onnx.bench.results import ProcessResult
from sdp_onnx.bench.statistics import Start


def measure_until_decided(
    context: StageContext,
    checks: list[Check],
    more: Sequence[MeasuredAgain],
    judge: Judge,
) -> tuple[list[Check], Sequence[MeasuredAgain]]:
    """Measure and judge undecided cells until a check fails, none is undecided, or the budget is spent.

    The budget minus the time of earlier looks is divided equally among the remaining looks. A start of the processes is
    never interrupted. A check that one look has decided stays decided.

    Args:
        context: the gate's; the dense file lies in its target for the time.
        checks: the outcome so far.
        more: the looks that were taken before.
        judge: the checks, given all looks.

    Returns:
        the checks, and all looks.
    """
    recipe = context.recipe
    started = time.monotonic()
    budget = recipe.gate.budget_seconds - sum(look.seconds for look in more)
    left = LOOKS - 1 - len(more)
    if budget <= 0:
        return checks, more
    context.reporter.line(f"  inconclusive: measuring again for up to {budget:.0f} s")
    began = started
    with bench_inputs(recipe, context.run, context.target) as inputs:
        for number in range(1, left + 1):
            cases, processes = _measure(recipe, inputs, checks, started + budget * number / left)
            # The first look includes the export of the dense file.
            ended = time.monotonic()
            look = MeasuredAgain(seconds=round(ended - began, 1), cases=cases, processes=processes)
            more, began = [*more, look], ended
            checks = settled(checks, judge(more))
            decided = not any(check.cell is not None and check.outcome == "inconclusive" for check in checks)
            if verdict(checks) == "fail" or decided or time.monotonic() - started >= budget:
                break
    return checks, more


def open_cells(checks: list[Check], names: list[str]) -> dict[int, list[int]]:
    """Return number of threads -> undecided cases (indices in `names`); all cases where memory is undecided."""
    wanted: dict[int, set[int]] = {}
    for check in checks:
        if check.outcome == "inconclusive" and check.cell is not None:
            every = set(range(len(names)))
            own = every if check.cell.case is None else {names.index(check.cell.case)}
            wanted.setdefault(check.cell.threads, set()).update(own)
    return {threads: sorted(cases) for threads, cases in wanted.items()}


def _measure(
    recipe: Recipe, inputs: BenchInputs, checks: list[Check], deadline: float
) -> tuple[tuple[TimedCase, ...], tuple[ProcessResult, ...]]:
    """Run starts like the benchmark's own, until the next would end after the deadline."""
    settings = recipe.bench
    wanted = open_cells(checks, [case.name for case in inputs.cases])
    cells: dict[BenchCell, list[Start]] = {}
    processes: list[ProcessResult] = []
    while True:
        began = time.monotonic()
        for threads, chosen in wanted.items():
            result = benchmark_pair(
                inputs.baseline,
                inputs.exported,
                [inputs.cases[index] for index in chosen],
                threads=[threads],
                provider=settings.provider,
                baseline_runtime=settings.runtime,
                seconds_per_case=settings.seconds / settings.starts,
                min_rounds=max(2, math.ceil(MIN_ROUNDS / settings.starts)),
            )
            for case in result.cases:
                cells.setdefault(BenchCell(case.case, threads), []).extend(case.starts)
            # Peak memory belongs to all cases together.
            if len(chosen) == len(inputs.cases):
                processes += result.processes
        now = time.monotonic()
        if now + (now - began) > deadline:
            cases = (
                TimedCase(case=str(cell.case), threads=cell.threads, starts=tuple(starts))
                for cell, starts in cells.items()
            )
            return tuple(cases), tuple(processes)
