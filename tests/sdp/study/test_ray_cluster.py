"""A study on a local Ray cluster of two workers, one of which is killed: the table of one process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from sdp.cli.main import app
from support.toy import ONE_THREAD, sdp_process, write_project

pytest.importorskip("ray", reason="the extra sdp[ray]")

STUDY = ["study", "toy.toml", "--vary", "prune.losses=none,kld", "--seeds", "1", "--quiet"]
STUDY += ["--set", "finetune.epochs=2", "--set", "prune.epochs=2", "--set", "runtime.checkpoint_seconds=0"]


def outcomes(out: Path) -> dict[str, dict[str, Any]]:
    """What of the cells must not depend on where and when they ran."""
    contents = (json.loads(path.read_text()) for path in (out / "cells").glob("*.json"))
    return {c["key"]: {name: value for name, value in c.items() if name not in ("date", "seconds")} for c in contents}


def kill_a_worker_at_work(driver: int, out: Path) -> None:
    """Wait until a cell prunes, and kill the process that does it."""
    until = time.monotonic() + 400
    while time.monotonic() < until:
        if list(out.glob("runs/*/2-prune.partial/checkpoints/checkpoint-*/complete.json")):
            for process in psutil.Process(driver).children(recursive=True):
                if "ray::run_cell" in process.cmdline():
                    os.kill(process.pid, signal.SIGKILL)
                    return
        time.sleep(0.05)
    raise AssertionError("no worker came to prune")


def test_a_killed_worker_changes_nothing(tmp_path: Path, toy_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_project(tmp_path, toy_model)
    monkeypatch.chdir(tmp_path)
    alone = CliRunner().invoke(app, [*STUDY, "--out", str(tmp_path / "one")])
    assert alone.exit_code == 0, alone.output
    command = [sys.executable, "-m", "sdp", *STUDY, "--out", "two", "--ray", "local"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=tmp_path, env=ONE_THREAD, stdout=pipe, stderr=pipe, text=True)
    kill_a_worker_at_work(process.pid, tmp_path / "two")
    printed, errors = process.communicate(timeout=500)
    assert process.returncode == 0, printed + errors
    assert outcomes(tmp_path / "two") == outcomes(tmp_path / "one")
    assert (tmp_path / "two/study.md").read_text() == (tmp_path / "one/study.md").read_text()
    assert not (tmp_path / "two/runs").exists()


def test_no_cluster_is_one_clear_error(tmp_path: Path, toy_model: Path) -> None:
    write_project(tmp_path, toy_model)
    done = sdp_process(*STUDY, "--ray", "127.0.0.1:1", cwd=tmp_path)
    assert done.returncode == 2
    assert "no cluster at 127.0.0.1:1" in done.stderr
    assert "Traceback" not in done.stderr
