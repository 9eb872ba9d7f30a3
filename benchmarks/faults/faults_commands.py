"""The commands that faults.py interrupts, the folders they work in, and how an end is judged."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from faults_project import STAGES, compare_runs, left_behind, make_project, processes_of
from sdp_onnx.bench.process import JsonProcess

RUN = ("run", "toy.toml", "--quiet")


@dataclass(frozen=True)
class Project:
    """A copy of the project, and the commands on it."""

    folder: Path
    server: JsonProcess

    @property
    def run(self) -> Path:
        """Its run folder."""
        return self.folder / "runs" / "toy"

    @property
    def temporary(self) -> Path:
        """What its commands take for /tmp."""
        return self.folder.with_name(f"{self.folder.name}-tmp")

    def start(self, *arguments: str) -> Command:
        """Start a command in a process and session of its own."""
        self.temporary.mkdir(exist_ok=True)
        log = self.folder.with_name(f"{self.folder.name}.log")
        log.unlink(missing_ok=True)
        request = {"start": arguments, "cwd": str(self.folder), "log": str(log), "tmp": str(self.temporary)}
        return Command(self.server.ask(request)["pid"], log, self.server)

    def finish(self, *arguments: str) -> str:
        """Run a command to its end, which must succeed; its output."""
        command = self.start(*arguments)
        if (code := command.wait()) != 0:
            raise RuntimeError(f"sdp {' '.join(arguments)} ended with {code}: {command.output()}")
        return command.output()


@dataclass(frozen=True)
class Command:
    """A command at work."""

    pid: int
    log: Path
    server: JsonProcess

    def code(self) -> int | None:
        """Its exit code, minus the signal that killed it; None as long as it runs. Told once."""
        code: int | None = self.server.ask({"poll": self.pid})["code"]
        return code

    def wait(self, seconds: float = 600) -> int:
        """Wait for its end."""
        deadline = time.monotonic() + seconds
        while (code := self.code()) is None:
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                raise RuntimeError(f"did not end within {seconds:.0f} s: {self.output()}")
            time.sleep(0.02)
        return code

    def output(self) -> str:
        """All of its output."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


class Bench:
    """The work folder, the unbroken run, and copies to break."""

    def __init__(self, work: Path, server: JsonProcess) -> None:
        self._work, self._server, self._copies = work, server, 0
        self.shared_memory = set(os.listdir("/dev/shm"))
        self.fresh = work / "fresh"
        make_project(self.fresh)
        self.whole = self.copy(self.fresh)
        plain_command = [sys.executable, "-m", "sdp", *RUN]
        done = subprocess.run(plain_command, cwd=self.whole.folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"the unbroken run ended with {done.returncode}: {done.stderr}")

    def copy(self, source: Path) -> Project:
        """A copy of a project's folder."""
        self._copies += 1
        folder = self._work / f"copy-{self._copies}"
        shutil.copytree(source, folder)
        return Project(folder, self._server)

    def judge(self, project: Project, run: str = "runs/toy") -> list[str]:
        """What differs from the unbroken run, and what is left, a second after the last command."""
        wrong = compare_runs(self.whole.folder / run, project.folder / run)
        return wrong + self.left(project)

    def left(self, project: Project) -> list[str]:
        """What commands on a project left; workers of a killed command end when they notice."""
        deadline = time.monotonic() + 20
        while any(processes_of(str(project.folder))) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left_behind(str(project.folder), project.temporary, self.shared_memory)


def durations(project: Project) -> dict[str, float]:
    """How long each stage of an unbroken run takes."""
    command, spent, last = project.start(*RUN), dict.fromkeys([*STAGES, "between"], 0.0), time.monotonic()
    while (code := command.code()) is None:
        now = time.monotonic()
        spent[stage_at_work(project.run)] += now - last
        last = now
        time.sleep(0.005)
    if code != 0:
        raise RuntimeError(f"the unbroken run ended with {code}: {command.output()}")
    return spent


def stage_at_work(run: Path) -> str:
    """The stage that works in a run folder now; "between" where none does."""
    return next((stage for stage in STAGES if (run / f"{stage}.partial").exists()), "between")
