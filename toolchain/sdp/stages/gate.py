"""Stage 6: judge the results of earlier stages: pass, fail or inconclusive. Undecided speed, latency or memory is
measured again within the recipe's budget.

Writes verdict.json, junit.xml, summary.md, and measurements.json, what was measured again. A later verdict on the same
benchmark starts from those.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sdp.errors import RunError
from sdp.gate.check import EXIT_CODES, Cell, Check
from sdp.gate.judge import judge, verdict
from sdp.gate.timing import LOOKS, settled, with_more
from sdp.gate.verdict_files import junit, markdown
from sdp.pipeline.context import StageContext
from sdp.pipeline.json_file import read_json, write_json
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.stored_numbers import Bench, Exported, Looks, check_stored
from sdp.recipe.sections import Recipe
from sdp_onnx.deploy.manifest import file_sha256

READS: dict[str, tuple[str, type[Exported] | type[Bench]]] = {
    "export": ("4-export/metrics.json", Exported),
    "bench": ("5-bench/latency.json", Bench),
}
MEASUREMENTS = "measurements.json"
Judge = Callable[[list[dict[str, Any]]], list[Check]]


def run(context: StageContext) -> dict[str, Any]:
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
        write_json(context.target / MEASUREMENTS, {"benchmark": benchmark, "looks": more})
    return _report(context, checks, more)


def what_if(recipe: Recipe, run: RunFolder) -> list[Check]:
    """Judge the run's stored results by the recipe's thresholds, without measuring or writing anything.

    Raises:
        RunError: as `run`.
    """
    unmeasured = recipe.gate.model_copy(update={"budget_seconds": 0.0})
    _, more, rejudge = _measured(recipe.model_copy(update={"gate": unmeasured}), run)
    return _judged(more, rejudge)


def _measured(recipe: Recipe, run: RunFolder) -> tuple[str, list[dict[str, Any]], Judge]:
    """Return the benchmark's hash, earlier further measurements, and the checks as a function of these."""
    exported, bench = (_read(run, stage, file, kind) for stage, (file, kind) in READS.items())
    benchmark = file_sha256(run.path / READS["bench"][0])
    more = measured_before(run.stage("6-gate"), benchmark)
    looks = LOOKS if recipe.gate.measured_again or more else 1
    return benchmark, more, lambda looked: judge(recipe.gate, exported, with_more(bench, looked), looks)


def _judged(more: list[dict[str, Any]], rejudge: Judge) -> list[Check]:
    checks = rejudge([])
    for number in range(len(more)):
        checks = settled(checks, rejudge(more[: number + 1]))
    return checks


def is_open(checks: list[Check]) -> bool:
    """Whether more measurements could change the verdict: nothing fails, and a timing check is undecided."""
    return verdict(checks) == "inconclusive" and any(
        check.outcome == "inconclusive" and check.cell is not None for check in checks
    )


def measured_before(folder: Path, benchmark: str) -> list[dict[str, Any]]:
    """Read the further measurements of an earlier verdict on the same benchmark (by its hash); empty without them.

    Raises:
        RunError: it is damaged.
    """
    content = read_json(folder / MEASUREMENTS) or {}
    if content.get("benchmark") != benchmark:
        return []
    check_stored(Looks, content, str(folder / MEASUREMENTS), "Delete it; the gate will measure again.")
    looks: list[dict[str, Any]] = content["looks"]
    return looks


def _report(context: StageContext, checks: list[Check], more: list[dict[str, Any]]) -> dict[str, Any]:
    name, target, reporter = context.recipe.name, context.target, context.reporter
    outcome, again = verdict(checks), _again(more)
    if not checks:
        reporter.line("  nothing was checked: inconclusive")
    for check in checks:
        reporter.line(f"  {check.outcome}: {check.sentence()}")
    if again:
        reporter.line(f"  {again}")
    measured_again = {"seconds": round(sum(look["seconds"] for look in more), 1), "looks": len(more)}
    write_json(target / "verdict.json", {**verdict_json(checks), "measured_again": measured_again})
    (target / "junit.xml").write_text(junit(checks, name, again), encoding="utf-8")
    (target / "summary.md").write_text(markdown(checks, name, again), encoding="utf-8")
    return {"verdict": outcome, "checks": len(checks)}


def verdict_json(checks: list[Check]) -> dict[str, Any]:
    """Return a verdict with its exit code and checks, in the form of verdict.json."""
    outcome = verdict(checks)
    records = [{**asdict(check), "sentence": check.sentence()} for check in checks]
    return {"verdict": outcome, "exit_code": EXIT_CODES[outcome], "checks": records}


def _again(more: list[dict[str, Any]]) -> str:
    if not more:
        return ""
    cells = dict.fromkeys(Cell(case["case"], case["threads"]).words() for look in more for case in look["cases"])
    return f"Measured again for {sum(look['seconds'] for look in more):.0f} s: {'; '.join(cells)}."


def _read(run: RunFolder, stage: str, file: str, kind: type[Exported] | type[Bench]) -> dict[str, Any]:
    content = read_json(run.path / file)
    hint = f"Bring it up to date first, or leave --no-update out: sdp {stage} {shlex.quote(str(run.path))}"
    if content is None:
        raise RunError(f"the gate reads {file}, which this run does not have", where=str(run.path), hint=hint)
    check_stored(kind, content, str(run.path / file), hint)
    return content
