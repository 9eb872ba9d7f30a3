"""benchmarks/gate/aa_gate.py on a tiny model: one gate of a model against itself, and its table."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

import aa_gate


@pytest.mark.slow  # the gate has its own tests; this is the program around it
def test_a_model_against_itself_does_not_fail(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tests beside this one need the core; the next test has the real one.
    monkeypatch.setattr(aa_gate, "busy_core", lambda: contextlib.nullcontext(0))
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


def test_the_busy_process_ends_with_whoever_started_it() -> None:
    code = (
        "import aa_gate, os, signal\n"
        "with aa_gate.busy_core() as spinner:\n"
        "    print(spinner, flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"
    )
    folder = Path(aa_gate.__file__).parent
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    status = Path(f"/proc/{int(done.stdout)}/status")
    for _ in range(300):
        # Nobody may be there to bury it.
        if not status.exists() or "State:\tZ" in status.read_text():
            return
        time.sleep(0.1)
    raise AssertionError("it still spins")
