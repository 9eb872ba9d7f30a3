"""The ways in which faults.py breaks a run: kills, signals, full and read-only disks."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from faults_commands import RUN, Bench, Project, stage_at_work
from faults_disk import full, read_only, small_disk
from faults_project import STAGES, compare_runs, one_message, plain, processes_of

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


def interrupt(project: Project, stage: str, wait: float, how: signal.Signals) -> dict[str, Any] | None:
    """Start the run and interrupt it some time after a stage began; None where it ended before."""
    command = project.start(*RUN)
    partial, final = project.run / f"{stage}.partial", project.run / stage
    while not partial.exists() and not final.exists():
        if (code := command.code()) is not None:
            raise RuntimeError(f"ended with {code} before {stage}: {command.output()}")
        time.sleep(0.002)
    time.sleep(wait)
    if command.code() is not None:
        return None
    where = stage_at_work(project.run)
    os.kill(command.pid, how)
    code, wrong = command.wait(), []
    if how != signal.SIGKILL:
        expected = 128 + how
        # A command that had nothing left to do may end as it would have. One that had not begun is ended by the signal
        # itself, which a shell tells as the same number; by Ctrl-C only before its streams are there, since from then
        # on Python would write a traceback.
        unbegun = how == signal.SIGTERM or not command.log.exists()
        if code not in (expected, 0) and not (unbegun and code == -how):
            wrong.append(f"exit code {code}, expected {expected}: {command.output()[-300:]}")
        elif code == expected and (output := one_message(command.output())) is not None:
            wrong.append(output)
        wrong += [f"process {pid} outlives it" for pid in processes_of(str(project.folder))]
    return {"signal": how.name, "stage": where, "wrong": wrong}


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
    output = project.finish(*(word for word in arguments if word != "--quiet"))
    wrong = compare_runs(whole.run, project.run) + bench.left(project)
    resumed = "resuming pruning" in output
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
    frontier = json.loads((out / "frontier.json").read_text())
    models = [(path.parent.parent.name, path.read_bytes()) for path in sorted(out.glob("*/4-export/model.onnx"))]
    levels = [{key: value for key, value in level.items() if key != "cases"} for level in frontier["levels"]]
    return frontier["dense"], levels, frontier["chosen"]["folder"], models


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
                    code, output = command.wait(), command.output()
                    where = stage_at_work(project.run)
                shortened = " ".join(output.split())[-300:]
                good = code == 1 and one_message(output) is None and "same command goes on" in output
                wrong = [] if good else [f"{code}: {shortened}"]
                if what == "full in the middle" and where != stage:
                    wrong.append(f"stopped in {where}")
                events.append({"signal": what, "stage": stage, "wrong": wrong, "said": shortened})
            # Without that option `sdp gate` goes on to the end, and there is no stage left to break.
            alone = ("--no-update",) if stage == "6-gate" else ()
            project.finish(stage.split("-")[1], "toy.toml", "--quiet", *alone)
        project.finish(*RUN)
        return {"kind": "disk", "events": events, "wrong": bench.judge(project)}
