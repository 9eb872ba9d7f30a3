"""A verdict that measures again, through the real command line on a finished run."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from junitparser import JUnitXml
from typer.testing import CliRunner

from sdp.cli.main import app
from sdp_onnx.deploy.manifest import file_sha256
from support.toy import sdp


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_open_cells_are_measured_again_within_the_budget_and_the_page_reports_it(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))
    monkeypatch.chdir(project)
    run, page = project / "runs" / "toy", project / "page.md"
    bench = read(run / "5-bench" / "latency.json")
    slowest = min(case["speedup"]["value"] for case in bench["cases"])
    peak = next(process["peak_memory_bytes"] for process in bench["processes"] if process["role"] == "candidate")
    # Both at the value that was measured: as open as can be.
    settings = (f"min_speedup={slowest}", f"max_memory_mb={peak / 1e6}", "budget_seconds=101.0")
    arguments = [argument for setting in settings for argument in ("--set", f"gate.{setting}")]

    early = CliRunner().invoke(app, ["gate", "toy.toml", *arguments])
    assert early.exit_code == 3, early.stderr
    assert "measuring again" not in early.output
    assert not (run / "6-gate" / "measurements.json").exists()

    # What a verdict with other thresholds measured before, and took of the budget.
    old = {"seconds": 100.0, "cases": [], "processes": []}
    content = {"benchmark": file_sha256(run / "5-bench" / "latency.json"), "looks": [old]}
    (run / "6-gate" / "measurements.json").write_text(json.dumps(content))

    done = sdp("run", "toy.toml", *arguments, cwd=project, env={"GITHUB_STEP_SUMMARY": str(page)})
    assert "gate      runs (gate.min_speedup changed: null -> " in done.stderr
    assert "inconclusive: measuring again for up to 1 s" in done.stderr
    assert re.search(r"^gate: \w+ \(measured again for \d+ s\)$", done.stdout, re.MULTILINE)
    verdict = read(run / "6-gate" / "verdict.json")
    assert done.returncode == verdict["exit_code"], done.stderr
    looks = read(run / "6-gate" / "measurements.json")["looks"]
    assert looks[0] == old
    (look,) = looks[1:]
    # A start that has begun is finished, and the dense file is exported for it: a second or more.
    assert 1 <= look["seconds"] < 100
    assert verdict["measured_again"] == {"seconds": round(100 + look["seconds"], 1), "looks": 2}
    assert {case["case"] for case in look["cases"]} == {case["case"] for case in bench["cases"]}
    assert all(case["starts"] for case in look["cases"])
    # Memory is what all cases together need.
    assert {process["role"] for process in look["processes"]} == {"baseline", "baseline again", "candidate"}
    assert page.read_text(encoding="utf-8") == (run / "6-gate" / "summary.md").read_text(encoding="utf-8")
    assert "\nMeasured again for " in page.read_text(encoding="utf-8")
    (suite,) = JUnitXml.fromfile(run / "6-gate" / "junit.xml")
    assert suite.tests == len(bench["cases"]) + 3
    assert not (run / "6-gate" / "dense").exists()

    # A later verdict on the same benchmark starts from what was measured, and the budget is spent.
    later = CliRunner().invoke(app, ["gate", "runs/toy", "--no-update"])
    assert later.exit_code == done.returncode
    assert read(run / "6-gate" / "verdict.json")["measured_again"] == verdict["measured_again"]
