"""benchmarks/aa_gate.py on a tiny model: one gate of a model against itself, and its table."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

import aa_gate


def test_a_model_against_itself_does_not_fail(finished: Path, tmp_path: Path) -> None:
    output = tmp_path / "results" / "aa_gate.json"
    options = ["--times", "1", "--budget", "0", "--output", output]
    done = CliRunner().invoke(aa_gate.app, ["run", *map(str, [finished / "runs" / "toy", *options])])
    assert done.exit_code == 0, done.stderr
    (result,) = json.loads(output.read_text())["results"]
    (gate,) = result["gates"]
    outcomes = {check["name"]: check["outcome"] for check in gate["checks"]}
    # What is exact is decided, and equal.
    assert outcomes | {"min_speedup": ""} == {
        "max_metric_drop": "pass",
        "max_part_drop": "pass",
        "max_size_ratio": "pass",
        "min_speedup": "",
    }
    assert outcomes["min_speedup"] in ("pass", "inconclusive")
    assert done.stdout.splitlines()[2].startswith("| toy | 1 | ")
