"""Kills, signals and full disks at every stage: does the same command end where an unbroken run ends?

    python benchmarks/faults.py run --kills 60 --signals 20
    python benchmarks/faults.py table

A tiny project (a BERT of two layers, 160 sentences) is run once unbroken, by the plain command. Then, again and again,
the same command is started in a fresh copy and interrupted in every stage, twice in those that take less time than
starting: by SIGKILL (or SIGINT, SIGTERM), at a moment drawn uniformly over that stage's duration. What an interrupted
command left is what the next one starts from, and after the last the same command runs to its end. Then masks, weights,
metrics and model.onnx must be those of the unbroken run, byte by byte where a file holds no times, and nothing may be
left: no other file in the run folder or the folder for temporary files, no process, no shared memory. Criteria and
losses that remember something are killed in pruning, a study and a sweep over their whole duration. The disk section
fills a small file system in every stage.

Results are added to those in the file, so that the command can be stopped and started again.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from faults_disk import full, read_only, small_disk
from faults_project import STAGES, compare_runs, left_behind, make_project, one_message, plain, processes_of
from sdp_onnx.json_process import JsonProcess

RESULTS = Path(__file__).parent / "results" / "faults.json"
SERVER = Path(__file__).parent / "faults_server.py"
SIGNALS = (signal.SIGINT, signal.SIGTERM)
RUN = ("run", "toy.toml", "--quiet")
# Criteria and losses with a memory of their own, or with a teacher beside the student.
REMEMBERING = {
    "movement": ("prune.criterion='movement'",),
    "l0": ("prune.criterion='l0'",),
    "obert": ("prune.criterion='obert'",),
    "taylor, tokens loss": ("prune.criterion='taylor'", "prune.losses=[{name='cosine', representation='tokens'}]"),
}
GRIDS = {
    "study": ("study", "toy.toml", "--vary", "prune.sparsity=0.5,0.8", "--seeds", "2", "--out", "out", "--quiet"),
    "sweep": ("sweep", "toy.toml", "--sparsity", "0.5,0.8", "--out", "out", "--quiet"),
}
KILLS_OF_A_GRID = 6
LONG = ("4-export", "5-bench")
# kB that a full disk has left, so that a stage begins and cannot end; 64 where none is named.
ROOM = {"3-evaluate": 20, "6-gate": 20, "8-ship": 24}
app = typer.Typer(add_completion=False)


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
        """Run a command to its end, which must be good; what it said."""
        command = self.start(*arguments)
        if (code := command.wait()) != 0:
            raise RuntimeError(f"sdp {' '.join(arguments)} ended with {code}: {command.said()}")
        return command.said()


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
                raise RuntimeError(f"did not end within {seconds:.0f} s: {self.said()}")
            time.sleep(0.02)
        return code

    def said(self) -> str:
        """All of its output."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""


def stage_at_work(run: Path) -> str:
    """The stage that works in a run folder now; "between" where none does."""
    return next((stage for stage in STAGES if (run / f"{stage}.partial").exists()), "between")


def durations(project: Project) -> dict[str, float]:
    """How long each stage of an unbroken run takes."""
    command, spent, last = project.start(*RUN), dict.fromkeys([*STAGES, "between"], 0.0), time.monotonic()
    while (code := command.code()) is None:
        now = time.monotonic()
        spent[stage_at_work(project.run)] += now - last
        last = now
        time.sleep(0.005)
    if code != 0:
        raise RuntimeError(f"the unbroken run ended with {code}: {command.said()}")
    return spent


def interrupt(project: Project, stage: str, wait: float, how: signal.Signals) -> dict[str, Any] | None:
    """Start the run and interrupt it some time after a stage began; None where it ended before."""
    command = project.start(*RUN)
    partial, final = project.run / f"{stage}.partial", project.run / stage
    while not partial.exists() and not final.exists():
        if (code := command.code()) is not None:
            raise RuntimeError(f"ended with {code} before {stage}: {command.said()}")
        time.sleep(0.002)
    time.sleep(wait)
    if command.code() is not None:
        return None
    where = stage_at_work(project.run)
    os.kill(command.pid, how)
    code, wrong = command.wait(), []
    if how != signal.SIGKILL:
        expected = 128 + how
        # A command that had nothing left to do may end as it would have; one that had not begun is ended by SIGTERM
        # itself, which a shell tells as the same number.
        if code not in (expected, 0, -signal.SIGTERM if how == signal.SIGTERM else 0):
            wrong.append(f"exit code {code}, expected {expected}: {command.said()[-300:]}")
        elif code == expected and (said := one_message(command.said())) is not None:
            wrong.append(said)
        wrong += [f"process {pid} outlives it" for pid in processes_of(str(project.folder))]
    return {"signal": how.name, "stage": where, "wrong": wrong}


class Bench:
    """The work folder, the unbroken run, and copies to break."""

    def __init__(self, work: Path, server: JsonProcess) -> None:
        self._work, self._server, self._copies = work, server, 0
        self.shared_memory = set(os.listdir("/dev/shm"))
        self.fresh = work / "fresh"
        make_project(self.fresh)
        self.whole = self.copy(self.fresh)
        plain_command = [sys.executable, "-c", "from sdp.cli import main; main()", *RUN]
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


def break_in_every_stage(
    bench: Bench, spent: dict[str, float], draw: random.Random, how: Sequence[signal.Signals]
) -> dict[str, Any]:
    """One copy, interrupted in every stage, by the signals in turns, then run to its end and compared."""
    project, events = bench.copy(bench.fresh), []
    moments = [stage for stage in STAGES for _ in range(1 if stage in LONG else 2)]
    for number, stage in enumerate(moments):
        event = interrupt(project, stage, draw.random() * spent[stage], how[number % len(how)])
        events += [event] if event is not None else []
    project.finish(*RUN)
    return {"kind": "run", "events": events, "wrong": bench.judge(project)}


def break_while_pruning(
    bench: Bench, name: str, settings: Sequence[str], spent: float, draw: random.Random
) -> dict[str, Any]:
    """Kill pruning by one criterion three times, and compare with the same unbroken."""
    arguments = ("prune", "toy.toml", "--quiet", *(word for setting in settings for word in ("--set", setting)))
    whole, project = bench.copy(bench.whole.folder), bench.copy(bench.whole.folder)
    whole.finish(*arguments)
    events: list[dict[str, Any]] = []
    checkpoints = project.run / "2-prune.partial" / "checkpoints"
    for _ in range(3):
        before = set(checkpoints.glob("*/complete.json"))
        command = project.start(*arguments)
        # With one more to resume from than before, so that each kill is later than the last.
        while not set(checkpoints.glob("*/complete.json")) - before and command.code() is None:
            time.sleep(0.002)
        time.sleep(0.1 * draw.random() * spent)
        if command.code() is None:
            events.append({"signal": "SIGKILL", "stage": stage_at_work(project.run), "wrong": []})
            os.kill(command.pid, signal.SIGKILL)
            command.wait()
    said = project.finish(*(word for word in arguments if word != "--quiet"))
    wrong = compare_runs(whole.run, project.run) + bench.left(project)
    resumed = "resuming pruning" in said
    return {"kind": f"prune, {name}", "events": events, "resumed": resumed, "wrong": wrong}


def break_a_grid(bench: Bench, kind: str, draw: random.Random) -> dict[str, Any]:
    """Kill a study or a sweep at moments over its whole duration, and compare the tables."""
    arguments = GRIDS[kind]
    whole, project = bench.copy(bench.fresh), bench.copy(bench.fresh)
    began = time.monotonic()
    whole.finish(*arguments)
    spent, events = time.monotonic() - began, list[dict[str, Any]]()
    for _ in range(KILLS_OF_A_GRID):
        command = project.start(*arguments)
        time.sleep(draw.random() * 2 * spent / KILLS_OF_A_GRID)
        if command.code() is None:
            os.kill(command.pid, signal.SIGKILL)
            command.wait()
            done = len(list(project.folder.glob("out/cells/*.json" if kind == "study" else "out/*/4-export")))
            events.append({"signal": "SIGKILL", "stage": f"{done} done", "wrong": []})
    project.finish(*arguments)
    tables = [_table(item.folder / "out", kind) for item in (whole, project)]
    files = [sorted(str(p.relative_to(item.folder)) for p in item.folder.rglob("*")) for item in (whole, project)]
    wrong = [] if tables[0] == tables[1] else ["the table differs"]
    wrong += [f"other file: {name}" for name in sorted(set(files[0]) ^ set(files[1]))]
    return {"kind": kind, "events": events, "wrong": wrong + bench.left(project)}


def _table(out: Path, kind: str) -> Any:
    """The result of a study or a sweep without what was timed."""
    if kind == "study":
        cells = {path.name: plain(json.loads(path.read_text())) for path in sorted(out.glob("cells/*.json"))}
        arms = json.loads((out / "study.json").read_text())["arms"]
        return [{key: value for key, value in cell.items() if key != "date"} for cell in cells.values()], plain(arms)
    points = json.loads((out / "frontier.json").read_text())["points"]
    models = [(path.parent.parent.name, path.read_bytes()) for path in sorted(out.glob("*/4-export/model.onnx"))]
    return [(point["wanted"] if "wanted" in point else point.get("sparsity")) for point in points], models


def fill_the_disk(bench: Bench, stages: Sequence[str]) -> dict[str, Any]:
    """Let every stage in turn find the disk full, full in the middle of its work, and read-only; then make space."""
    project, events = bench.copy(bench.fresh), []
    disk = project.folder / "runs"
    with small_disk(disk, "64m"):
        for stage in stages:
            for what, obstacle in (
                ("full", full(disk, 0)),
                ("full in the middle", full(disk, ROOM.get(stage, 64))),
                ("read-only", read_only(disk)),
            ):
                with obstacle:
                    command = project.start(*RUN)
                    code, said = command.wait(), command.said()
                    where = stage_at_work(project.run)
                told = " ".join(said.split())[-300:]
                good = code == 1 and one_message(said) is None and "same command goes on" in said
                wrong = [] if good else [f"{code}: {told}"]
                if what == "full in the middle" and where != stage:
                    wrong.append(f"stopped in {where}")
                events.append({"signal": what, "stage": stage, "wrong": wrong, "said": told})
            project.finish(stage.split("-")[1], "toy.toml", "--quiet")
        project.finish(*RUN)
        return {"kind": "disk", "events": events, "wrong": bench.judge(project)}


@app.command()
def run(
    kills: Annotated[int, typer.Option(help="SIGKILLs over all stages that the file shall hold.")] = 60,
    signals: Annotated[int, typer.Option(help="SIGINTs and SIGTERMs that it shall hold.")] = 20,
    seed: Annotated[int, typer.Option(help="Of the moments.")] = 0,
    out: Annotated[Path, typer.Option(help="The file of results.")] = RESULTS,
) -> None:
    """Interrupt until the file holds what is wanted; criteria, study, sweep and disk once each."""
    chains: list[dict[str, Any]] = json.loads(out.read_text())["chains"] if out.exists() else []
    with tempfile.TemporaryDirectory(prefix="faults-") as work, JsonProcess([sys.executable, str(SERVER)]) as server:
        bench = Bench(Path(work), server)
        spent = durations(bench.copy(bench.fresh))

        def add(chain: dict[str, Any]) -> None:
            chains.append(chain)
            out.write_text(json.dumps({"chains": chains}, indent=1) + "\n")
            typer.echo(f"{chain['kind']}: {len(chain['events'])} interrupted, {all_wrong(chain) or 'nothing wrong'}")

        while counted(chains, ["SIGKILL"]) < kills:
            draw = random.Random(f"{seed} {len(chains)}")
            add(break_in_every_stage(bench, spent, draw, [signal.SIGKILL]))
        while counted(chains, [how.name for how in SIGNALS]) < signals:
            draw = random.Random(f"{seed} {len(chains)}")
            add(break_in_every_stage(bench, spent, draw, SIGNALS if len(chains) % 2 else SIGNALS[::-1]))
        once: dict[str, Callable[[random.Random], dict[str, Any]]] = {
            "disk": lambda draw: fill_the_disk(bench, STAGES),
            **{
                f"prune, {name}": lambda draw, name=name, settings=settings: break_while_pruning(  # type: ignore[misc]
                    bench, name, settings, spent["2-prune"], draw
                )
                for name, settings in REMEMBERING.items()
            },
            **{kind: lambda draw, kind=kind: break_a_grid(bench, kind, draw) for kind in GRIDS},  # type: ignore[misc]
        }
        for kind, make in once.items():
            if kind not in {chain["kind"] for chain in chains}:
                add(make(random.Random(f"{seed} {kind}")))


def counted(chains: Sequence[dict[str, Any]], names: Sequence[str]) -> int:
    """Interruptions of whole runs by these signals."""
    events = [event for chain in chains if chain["kind"] == "run" for event in chain["events"]]
    return sum(event["signal"] in names for event in events)


def all_wrong(chain: dict[str, Any]) -> list[str]:
    """Everything that was wrong in a chain of interruptions."""
    return [*chain["wrong"], *(wrong for event in chain["events"] for wrong in event["wrong"])]


@app.command()
def table(out: Annotated[Path, typer.Option(help="The file of results.")] = RESULTS) -> None:
    """Print interruptions by stage, and what was wrong."""
    chains = json.loads(out.read_text())["chains"]
    names = ("SIGKILL", "SIGINT", "SIGTERM", "full", "full in the middle", "read-only")
    shown = Table("kind", "stage", *names, "wrong")
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for chain in chains:
        for event in chain["events"]:
            rows.setdefault((chain["kind"], event["stage"]), []).append(event)
    for (kind, stage), events in sorted(rows.items()):
        numbers = [sum(event["signal"] == name for event in events) for name in names]
        shown.add_row(kind, stage, *map(str, numbers), str(sum(bool(event["wrong"]) for event in events)))
    Console().print(shown)
    for chain in chains:
        for wrong in all_wrong(chain):
            typer.echo(f"{chain['kind']}: {wrong}")


if __name__ == "__main__":
    app()
