"""Stage 6: pass, fail or inconclusive, from the numbers that the stages before wrote.

Writes verdict.json, junit.xml and summary.md.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from sdp.console import Reporter
from sdp.errors import RunError
from sdp.gate import EXIT_CODES, judge, junit, markdown, verdict
from sdp.recipe.sections import Recipe
from sdp.run_folder import RunFolder, read_json, write_json

READS = {"export": "4-export/metrics.json", "bench": "5-bench/latency.json"}


def run(recipe: Recipe, run: RunFolder, target: Path, reporter: Reporter) -> dict[str, Any]:
    """Judge the recipe's thresholds.

    Raises:
        RunError: a stage that the gate reads is not there.
    """
    inputs = {stage: _read(run, stage, file) for stage, file in READS.items()}
    checks = judge(recipe.gate, inputs["export"], inputs["bench"])
    outcome = verdict(checks)
    if not checks:
        reporter.line("  no thresholds are set in [gate]: nothing can fail")
    for check in checks:
        reporter.line(f"  {check.outcome}: {check.sentence()}")
    content = {
        "verdict": outcome,
        "exit_code": EXIT_CODES[outcome],
        "checks": [{**asdict(check), "sentence": check.sentence()} for check in checks],
    }
    write_json(target / "verdict.json", content)
    (target / "junit.xml").write_text(junit(checks, recipe.name), encoding="utf-8")
    (target / "summary.md").write_text(markdown(checks, recipe.name), encoding="utf-8")
    return {"verdict": outcome, "checks": len(checks)}


def _read(run: RunFolder, stage: str, file: str) -> dict[str, Any]:
    content = read_json(run.path / file)
    if content is None:
        hint = f"Bring it up to date first: sdp {stage} (or sdp gate without --no-update)."
        raise RunError(f"the gate reads {file}, which this run does not have", where=str(run.path), hint=hint)
    return content
