"""Hostile input: thousands of damaged recipes, data files, ONNX files, manifests and folders, each used for real.

    python benchmarks/hostile/hostile.py run --count 2400 --seed 0
    python benchmarks/hostile/hostile.py table

Every input is made from its number and the seed alone, and given to what would read it: `sdp check`, `inspect`,
`verify`, `predict`, `compare`, `gate --no-update`, loading of data and models, encoding, an onnxruntime session.
Allowed are an answer that holds (a damaged folder never verifies, no NaN is judged, zeros are as many as elements at
most, ...) and one of sdp's own errors. Any other exception, a crash, 20 seconds of processor time or a gigabyte is a
finding.

Inputs are used in a process of their own, the commands by calling the command line within it; every 80th input is given
to a command line started anew. A run that was stopped goes on where it was, for the same inputs and code.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from hostile_folders import Project, make_project
from hostile_worker import KINDS, kind_of
from sdp.pipeline.fingerprint import code_hash
from sdp_onnx.bench.process import JsonProcess, ProcessEndedError
from sdp_onnx.runtimes.environment import environment_record

RESULTS = Path(__file__).parents[1] / "results" / "hostile.json"
WORKER = Path(__file__).with_name("hostile_worker.py")
# A process that has seen so many is replaced: what leaks must not add up to a finding.
FOR_ONE_PROCESS = 1000
# Of each so many inputs that a command reads, one is given to the real command line.
COMMAND_LINES = 80

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)

Output = Annotated[Path, typer.Option(help="The JSON of the results.")]


@app.command()
def run(
    count: Annotated[int, typer.Option(min=1, help="Number of inputs.")] = 2400,
    seed: Annotated[int, typer.Option(help="Of the damage.")] = 0,
    kind: Annotated[list[str], typer.Option(help="Only inputs of these kinds.")] = [],  # noqa: B006
    first: Annotated[int, typer.Option(help="Number of the first input.")] = 0,
    work: Annotated[
        Path | None, typer.Option(help="Folder for the project that is damaged; kept and used again.")
    ] = None,
    output: Output = RESULTS,
) -> None:
    """Use the inputs, and write the JSON. Exit code 1 where there are findings."""
    started, log = time.monotonic(), output.with_suffix(".jsonl")
    asked = (count, seed, kind, first)
    outcomes, before = _resumed(log, asked)
    with tempfile.TemporaryDirectory() as temporary, log.open("a", encoding="utf-8") as stream:
        project = make_project((work or Path(temporary)).absolute())
        for outcome in use_inputs(project, inputs_of(*asked)[len(outcomes) :], seed):
            outcomes.append(outcome)
            seconds = before + time.monotonic() - started
            stream.write(json.dumps({**outcome, "after_seconds": round(seconds, 1)}) + "\n")
            stream.flush()
            if outcome["status"] == "finding":
                print(f"{outcome['kind']} {outcome['number']}: {outcome['detail']}", file=sys.stderr, flush=True)
            if len(outcomes) % 100 == 0:
                print(f"{len(outcomes)} inputs, {seconds:.0f} s", file=sys.stderr, flush=True)
    log.unlink()
    findings = [outcome for outcome in outcomes if outcome["status"] == "finding"]
    content = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "inputs": len(outcomes),
        "seconds": round(before + time.monotonic() - started, 1),
        "kinds": summarize(outcomes),
        "findings": findings,
        "environment": environment_record(),
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    raise typer.Exit(bool(findings))


def inputs_of(count: int, seed: int, kinds: list[str], first: int) -> list[int]:
    """The numbers of the inputs."""
    numbers = (number for number in range(first, first + 1000 * count) if not kinds or kind_of(number) in kinds)
    return list(itertools.islice(numbers, count))


def use_inputs(project: Project, numbers: list[int], seed: int) -> Iterator[dict[str, Any]]:
    """The outcome of each input, with its kind and number."""
    left = list(reversed(numbers))
    while left:
        with JsonProcess([sys.executable, str(WORKER), str(project.path)]) as process:
            for _ in range(min(len(left), FOR_ONE_PROCESS)):
                number = left.pop()
                asked = {"kind": kind_of(number), "seed": seed, "number": number}
                if number % COMMAND_LINES == 0:
                    asked["process"] = True
                try:
                    yield {**asked, **process.ask(asked)}
                except ProcessEndedError as error:
                    crash = f"crash: {str(error)[-300:]}"
                    yield {**asked, "status": "finding", "detail": crash, "seconds": 0.0, "bytes": 0}
                    break


def _resumed(log: Path, asked: tuple[int, int, list[str], int]) -> tuple[list[dict[str, Any]], float]:
    """What an earlier run of the same inputs found before it was stopped, and how long it took."""
    log.parent.mkdir(parents=True, exist_ok=True)
    first = {"asked": list(asked), "code": code_hash("sdp.cli.main")}
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    # The last line may have been cut.
    found = [json.loads(line) for line in lines if line.endswith("}")]
    if found[:1] != [first]:
        log.write_text(json.dumps(first) + "\n", encoding="utf-8")
        return [], 0.0
    outcomes = found[1:]
    log.write_text("".join(json.dumps(line) + "\n" for line in found), encoding="utf-8")
    return outcomes, outcomes[-1]["after_seconds"] if outcomes else 0.0


def summarize(outcomes: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of each kind how many inputs there were, what came of them, and what they cost."""
    summary = {}
    for kind in KINDS:
        own = [outcome for outcome in outcomes if outcome["kind"] == kind]
        if own:
            statuses = Counter(outcome["status"] for outcome in own)
            summary[kind] = {
                "inputs": len(own),
                **{status: statuses[status] for status in ("accepted", "refused", "finding")},
                "seconds": round(sum(outcome["seconds"] for outcome in own), 1),
                "slowest_seconds": max(outcome["seconds"] for outcome in own),
                "most_bytes": max(outcome["bytes"] for outcome in own),
            }
    return summary


@app.command()
def table(output: Output = RESULTS) -> None:
    """Print the results as Markdown."""
    content = json.loads(output.read_text(encoding="utf-8"))
    print(
        "| input | inputs | used | refused | findings | slowest, s | most memory, MB |\n|---|---|---|---|---|---|---|"
    )
    for kind, found in content["kinds"].items():
        numbers = [found[key] for key in ("inputs", "accepted", "refused", "finding")]
        cost = f"{found['slowest_seconds']:.1f} | {found['most_bytes'] / 1e6:.0f}"
        print(f"| {kind} | {' | '.join(map(str, numbers))} | {cost} |")
    print(f"\n{content['inputs']} inputs, {content['seconds']:.0f} s, {len(content['findings'])} findings")


if __name__ == "__main__":
    app()
