"""One process at a time in a run folder, and none left after a stop: commands at work are met and interrupted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from faults_project import processes_of
from faults_server import MARK
from sdp.__main__ import main
from sdp.cli.errors import handle_errors
from support.toy import ONE_THREAD, sdp

# What nohup ignores stays ignored.
HANG_UP = pytest.param(
    signal.SIGHUP, marks=pytest.mark.skipif(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, reason="under nohup")
)


def wait_until(true: Callable[[], bool], seconds: float = 250) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found in /proc")
def test_a_second_command_names_the_owner_of_the_folder_and_ctrl_c_leaves_no_process(
    finished: Path, tmp_path: Path
) -> None:
    project = shutil.copytree(finished, tmp_path / "project", symlinks=True)
    shutil.rmtree(project / "runs/toy/5-bench")
    (tmp_path / "tmp").mkdir()
    command = [sys.executable, "-m", "sdp", "bench", "toy.toml", "--set", "bench.seconds=60"]
    env = {**ONE_THREAD, MARK: str(tmp_path), "TMPDIR": str(tmp_path / "tmp")}
    with subprocess.Popen(command, cwd=project, env=env, stderr=subprocess.PIPE, text=True) as process:
        # Three workers, which have sessions of their own: Ctrl-C reaches the parent alone.
        wait_until(lambda: len(list(processes_of(str(tmp_path)))) == 4)
        second = sdp("run", "toy.toml", cwd=project)
        assert second.returncode == 2
        assert f"another sdp process is working in this folder (process {process.pid} on " in second.stderr
        os.kill(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert [line for line in errors.splitlines() if "stopped" in line] == [
        "stopped; finished stages are kept, and the same command goes on from there"
    ]
    assert "Traceback" not in errors
    assert list(processes_of(str(tmp_path))) == []
    # onnxruntime keeps the number of a session there, now and then.
    assert [path.name for path in (tmp_path / "tmp").iterdir() if path.name != ".ses"] == []
    assert not (project / "runs/toy/5-bench").exists()
    assert not (project / "runs/toy/scratch").exists()
    assert not (project / "runs/toy/.holder.json").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, HANG_UP])
def test_a_signal_while_typer_reads_the_arguments(number: signal.Signals, capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer()
    meets_it = typer.Argument(callback=lambda word: signal.raise_signal(number))

    @app.command()
    def command(word: str = meets_it) -> None:
        raise AssertionError(word)

    with pytest.raises(typer.Exit) as ended, handle_errors():
        app(["word"])
    assert ended.value.exit_code == 128 + number
    assert capsys.readouterr().err == "stopped; finished stages are kept, and the same command goes on from there\n"


def test_ctrl_c_while_the_command_line_loads(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise KeyboardInterrupt\n")
    command = [sys.executable, "-m", "sdp", "--help"]
    env = {**ONE_THREAD, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped; nothing was under way\n")


def test_ctrl_c_before_the_command_has_its_signals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr("signal.getsignal", lambda number: signal.raise_signal(signal.SIGINT))
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        signal.signal(signal.SIGINT, before)
    assert ended.value.code == 130
    assert capsys.readouterr().err == "stopped; nothing was under way\n"
