"""A verdict that measures again, through the real command line on a finished run."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from junitparser import JUnitXml

from toy import sdp


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_open_cells_are_measured_again_within_the_budget_and_the_page_says_so(finished: Path, tmp_path: Path) -> None:
    project = Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))
    run, page = project / "runs" / "toy", project / "page.md"
    bench = read(run / "5-bench" / "latency.json")
    slowest = min(case["speedup"]["value"] for case in bench["cases"])
    peak = next(process["peak_memory_bytes"] for process in bench["processes"] if process["role"] == "candidate")
    # Both at the value that was measured: as open as can be.
    settings = (f"min_speedup={slowest}", f"max_memory_mb={peak / 1e6}", "budget_seconds=1.0")
    arguments = [argument for setting in settings for argument in ("--set", f"gate.{setting}")]

    early = sdp("gate", "toy.toml", "--no-update", *arguments, cwd=project)
    assert early.returncode == 3, early.stderr
    assert "measuring again" not in early.stderr
    assert not (run / "6-gate" / "measurements.json").exists()

    done = sdp("gate", "toy.toml", *arguments, cwd=project, env={"GITHUB_STEP_SUMMARY": str(page)})
    # What was said without measuring was not the last word.
    assert "gate      runs (gate.budget_seconds changed: 0.0 -> 1.0)" in done.stderr
    assert "inconclusive: measuring again for up to 1 s" in done.stderr
    assert re.search(r"^gate: \w+ \(measured again for \d+ s\)$", done.stdout, re.MULTILINE)
    verdict = read(run / "6-gate" / "verdict.json")
    assert done.returncode == verdict["exit_code"], done.stderr
    looks = read(run / "6-gate" / "measurements.json")["looks"]
    # A start that has begun is finished: one look at least is taken.
    assert verdict["measured_again"]["looks"] == len(looks) in (1, 2)
    assert {case["case"] for case in looks[0]["cases"]} == {case["case"] for case in bench["cases"]}
    assert all(case["starts"] for look in looks for case in look["cases"])
    # Memory is what all cases together need.
    assert {process["role"] for process in looks[0]["processes"]} == {"baseline", "baseline again", "candidate"}
    assert page.read_text(encoding="utf-8") == (run / "6-gate" / "summary.md").read_text(encoding="utf-8")
    assert "\nMeasured again for " in page.read_text(encoding="utf-8")
    (suite,) = JUnitXml.fromfile(run / "6-gate" / "junit.xml")
    assert suite.tests == len(bench["cases"]) + 3
    assert not (run / "6-gate" / "dense").exists()

    # A later verdict on the same benchmark starts from what was measured, and the budget is spent.
    later = sdp("gate", "toy.toml", "--no-update", *arguments, cwd=project)
    assert later.returncode == done.returncode
    assert read(run / "6-gate" / "verdict.json")["measured_again"] == verdict["measured_again"]
