"""Stage 6: judge the results of earlier stages: pass, fail or inconclusive. Undecided speed, latency or memory is
measured again within the recipe's budget.

Writes verdict.json, junit.xml, summary.md, and measurements.json, what was measured again. A later verdict on the same
benchmark starts from those.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sdp.gate.check import EXIT_CODES, BenchCell, Check
from sdp.gate.judge import Judge, judge, verdict
from sdp.gate.timing import LOOKS, settled
from sdp.gate.verdict_files import junit, markdown
from sdp.pipeline.artifacts.comparison import ExportMetrics
from sdp.pipeline.artifacts.latency import BenchLatency, MeasuredAgain
from sdp.pipeline.artifacts.record import StageResult
from sdp.pipeline.artifacts.verdict import SUMMARY_FILE, GateVerdict, Measurements, MeasuringTime, StoredCheck
from sdp.pipeline.context import StageContext
from sdp.pipeline.files import read_json
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.stages import GATE
from sdp.recipe.sections import Recipe
from sdp_onnx.deploy.manifest import file_sha256


def run(context: StageContext) -> StageResult:
    """Judge the recipe's thresholds.

    Raises:
        RunError: a stage that the gate reads is not there, or another version wrote its numbers.
    """
    recipe = context.recipe
    benchmark, more, rejudge = _measured(recipe, context.run)
    checks = _judged(more, rejudge)
    if is_open(checks) and recipe.gate.measured_again and len(more) + 1 < LOOKS:
        from sdp.gate.more_starts import measure_until_decided

        checks, more = measure_until_decided(context, checks, more, rejudge)
    if more:
        Measurements(benchmark=benchmark, looks=tuple(more)).store(context.target)
    return _report(context, checks, more)


def what_if(recipe: Recipe, run: RunFolder) -> list[Check]:
    """Judge the run's stored results by the recipe's thresholds, without measuring or writing anything.

    Raises:
        RunError: as `run`.
    """
    unmeasured = recipe.gate.model_copy(update={"budget_seconds": 0.0})
    _, more, rejudge = _measured(recipe.model_copy(update={"gate": unmeasured}), run)
    return _judged(more, rejudge)


def _measured(recipe: Recipe, run: RunFolder) -> tuple[str, Sequence[MeasuredAgain], Judge]:
    """Return the benchmark's hash, earlier further measurements, and the checks as a function of these."""
    exported, bench = ExportMetrics.load(run), BenchLatency.load(run)
    benchmark = file_sha256(BenchLatency.path(run))
    more = measured_before(run.stage(GATE.folder), benchmark)
    looks = LOOKS if recipe.gate.measured_again or more else 1
    return benchmark, more, lambda looked: judge(recipe.gate, exported, bench, looked, looks)


def _judged(more: Sequence[MeasuredAgain], rejudge: Judge) -> list[Check]:
    checks = rejudge([])
    for number in range(len(more)):
        checks = settled(checks, rejudge(more[: number + 1]))
    return checks


def is_open(checks: list[Check]) -> bool:
    """Whether more measurements could change the verdict: nothing fails, and a timing check is undecided."""
    return verdict(checks) == "inconclusive" and any(
        check.outcome == "inconclusive" and check.cell is not None for check in checks
    )


def measured_before(folder: Path, benchmark: str) -> Sequence[MeasuredAgain]:
    """Read the further measurements of an earlier verdict on the same benchmark (by its hash); empty without them.

    Raises:
        RunError: it is damaged.
    """
    path = folder / Measurements.FILE
    if (read_json(path) or {}).get("benchmark") != benchmark:
        return ()
    found = Measurements.read(path, "Delete it; the gate will measure again.")
    return () if found is None else found.looks


def _report(context: StageContext, checks: list[Check], more: Sequence[MeasuredAgain]) -> StageResult:
    target, reporter, recipe = context.target, context.reporter, context.recipe
    again = _again(more)
    if not checks:
        reporter.line("  nothing was checked: inconclusive")
    for check in checks:
        reporter.line(f"  {check.outcome}: {check.sentence()}")
    if again:
        reporter.line(f"  {again}")
    time = MeasuringTime(seconds=round(sum(look.seconds for look in more), 1), looks=len(more))
    stored = GateVerdict(**verdict_of(checks).given(), measured_again=time)
    stored.store(target)
    (target / "junit.xml").write_text(junit(checks, recipe.name, again), encoding="utf-8")
    (target / SUMMARY_FILE).write_text(markdown(checks, recipe.name, again), encoding="utf-8")
    return {"verdict": stored.verdict, "checks": len(checks)}


def verdict_of(checks: list[Check]) -> GateVerdict:
    """Return a verdict with its exit code and checks, in the form of verdict.json."""
    outcome = verdict(checks)
    return GateVerdict(
        verdict=outcome, exit_code=EXIT_CODES[outcome], checks=tuple(StoredCheck.of(check) for check in checks)
    )


def _again(more: Sequence[MeasuredAgain]) -> str:
    if not more:
        return ""
    cells = dict.fromkeys(BenchCell(case.case, case.threads).words() for look in more for case in look.cases)
    return f"Measured again for {sum(look.seconds for look in more):.0f} s: {'; '.join(cells)}."
