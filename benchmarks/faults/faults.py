"""Kills, signals and full disks at every stage: does the same command end where an unbroken run ends?

    python benchmarks/faults/faults.py run --kills 60 --signals 20
    python benchmarks/faults/faults.py table

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
import random
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from faults_breaks import GRIDS, REMEMBERING, break_a_grid, break_in_every_stage, break_while_pruning, fill_the_disk
from faults_commands import Bench, durations
from faults_project import STAGES
from sdp_onnx.bench.process import JsonProcess

RESULTS = Path(__file__).parents[1] / "results" / "faults.json"
SERVER = Path(__file__).parent / "faults_server.py"
SIGNALS = (signal.SIGINT, signal.SIGTERM)
app = typer.Typer(add_completion=False)


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
