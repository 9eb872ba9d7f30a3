"""The picture: accuracy against time on a task, sdp's files beside other engines and smaller dense models.

    python benchmarks/studies/picture.py run --data FOLDER --runs FOLDER --task sst2
    python benchmarks/studies/picture.py measure --runs FOLDER --task sst2
    python benchmarks/studies/picture.py table --task sst2
    python benchmarks/studies/picture.py plot --task sst2

`run` brings the run folder of every point up to date: the dense model in int8; 50 to 95 % zeros in 1x4 blocks with int8
and unstructured in fp32, with sdp's defaults of pruning; fewer heads and neurons, and the first layers alone, both in
fp32, in int8, and with 1x4 blocks in what is left. All of them start from one fine-tuned network and learn from it,
with the same losses and as many steps; where heads and neurons were removed, the blocks come after, with as many again.
Finished stages are skipped.

`measure` times every finished point, those with fewer heads and neurons in sdp's int8 as well, and other engines on the
dense model and on one with fewer heads and neurons: one text at a time at the task's own lengths with 2 threads, in
turns in one run. Each file's score on test is its own. OpenVINO is left out without the extra `openvino`.

FOLDER of the data holds one folder a task with gzipped tab-separated files (columns sentence1, sentence2, label); XNLI
has one file for each language, and needs `--model`, a multilingual encoder.
"""

from __future__ import annotations

import json
import os
import shlex
import tempfile
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from picture_draw import draw, markdown
from picture_measure import Open, measure_in_turns
from picture_peers import TITLES, Peer, Scores, Task, make_peers, process, scores_of
from picture_points import DENSE, STRUCTURED, TASKS, THREADS, Point, point_settings, points_of, recipe_file
from sdp.cli.commands.selection import select
from sdp.cli.main import app as sdp
from sdp.pipeline.artifacts.comparison import ExportMetrics
from sdp.pipeline.run_folder import CACHE, RunFolder, share_files
from sdp.pipeline.stages import EXPORT, FINETUNE, stages_of
from sdp.recipe.load import load_recipe
from sdp_onnx.bench.cases import save_batches
from sdp_onnx.model.model_file import file_bytes
from sdp_onnx.operators.library import instruction_set
from sdp_onnx.runtimes.environment import environment_record

RESULTS = Path(__file__).parents[1] / "results" / "picture"

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True, help=__doc__)

TaskName = Annotated[str, typer.Option("--task", help=f"One of {', '.join(TASKS)}.")]
Runs = Annotated[Path, typer.Option(help="The folder of run folders; of each task in a folder of its own.")]


@app.command()
def run(
    data: Annotated[Path, typer.Option(help="The folder with a folder for each task.")],
    runs: Runs,
    task: TaskName = "sst2",
    model: Annotated[str | None, typer.Option(help="A model folder, or package:NAME/FOLDER.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of each training after fine-tuning.")] = None,
    points: Annotated[list[str] | None, typer.Option("--point", help="A point's name; all points without it.")] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="Override a key of every point's recipe.")
    ] = None,
) -> None:
    """Fine-tune, prune or distil, evaluate and export what is not up to date."""
    _require_task(task)
    known = points_of(task)
    unknown = set(points or ()) - {point.name for point in known}
    if unknown:
        raise typer.BadParameter(f"no point is named {min(unknown)}; there are {', '.join(p.name for p in known)}")
    folder = (runs / task).absolute()
    for point in known:
        # The others start from the dense one.
        if points and point.name not in (*points, DENSE.name):
            continue
        settings = [*point_settings(point, task, data, model, steps, folder), *(overrides or ())]
        bring_up_to_date(point, recipe_file(task), settings, folder)


def bring_up_to_date(point: Point, file: Path, settings: list[str], folder: Path) -> None:
    """Run a point up to its export, in its run folder; stages and teacher outputs that it shares are linked."""
    own, dense = RunFolder(folder / point.name), RunFolder(folder / DENSE.name)
    recipe = load_recipe(file, settings)
    with own.at_work(recipe.name, file, tuple(settings)):
        if point.source is not None:
            for stage in stages_of(recipe, point.shared):
                own.take(RunFolder(folder / point.source), stage.folder)
        if own != dense:
            share_files(dense.path / CACHE, own.path / CACHE)
    overrides = [word for setting in settings for word in ("--set", setting)]
    command = ["export", str(file), "--run-dir", str(own.path), *overrides]
    typer.echo(f"$ {shlex.join(['sdp', *command])}", err=True)
    # In this process, so that a signal that stops it stops the work.
    if code := sdp(command, standalone_mode=False):
        raise typer.Exit(code)
    if own != dense:
        share_files(own.path / CACHE, dense.path / CACHE)


@app.command()
def measure(
    runs: Runs,
    task: TaskName = "sst2",
    texts: Annotated[int, typer.Option(min=1, help="Rows of the evaluation split that are timed.")] = 64,
    rounds: Annotated[int, typer.Option(min=2, help="Turns of each file after each start.")] = 10,
    starts: Annotated[int, typer.Option(min=1, help="How often new processes are started.")] = 3,
    results: Annotated[Path, typer.Option(help="The folder of the JSON files.")] = RESULTS,
) -> None:
    """Time every finished point and the peers in turns, and write the JSON."""
    _require_task(task)
    folder = (runs / task).absolute()
    finished = {point: RunFolder(folder / point.name) for point in points_of(task)}
    finished = {point: own for point, own in finished.items() if own.record(EXPORT.folder) is not None}
    if DENSE not in finished:
        raise typer.BadParameter(f"{folder / DENSE.name} is not finished; bring it up to date with `run` first")
    recipe = select(folder / DENSE.name, None, None, folder).recipe
    rows = Task.of(recipe, finished[DENSE])
    tuned = finished[DENSE].record(FINETUNE.folder)
    if tuned is None:
        raise typer.BadParameter(f"{folder / DENSE.name} has no finished fine-tuning; use `run` first")
    structured = {point: exported(own) for point, own in finished.items() if point.family == STRUCTURED}
    peers = make_peers(rows, folder / "peers" / tuned["fingerprint"][:16], structured)
    load_average = os.getloadavg()
    with tempfile.TemporaryDirectory() as temporary:
        inputs = Path(temporary, "inputs.npz")
        save_batches(inputs, [rows.sample(texts)])
        opened: dict[str, Open] = {peer.name: partial(peer.start, inputs) for peer in peers}
        opened |= {point.name: partial(process, exported(own), inputs) for point, own in finished.items()}
        measured = measure_in_turns(opened, texts=min(texts, len(rows.rows)), rounds=rounds, starts=starts)
    if not measured.quiet:
        typer.echo(f"the machine was not quiet: the same file again took {measured.same_file.value:.3f}", err=True)
    entries = [*map(_peer, peers), *(_point(point, own) for point, own in finished.items())]
    for entry in entries:
        timed = measured.files[entry["name"]]
        entry |= {"p50_ms": timed.p50_ms, "speedup": timed.speedup.to_json()}
    content = {
        "task": task,
        # Of a local folder its name alone.
        "model": Path(recipe.model.name).name if Path(recipe.model.name).is_absolute() else recipe.model.name,
        "metric": recipe.task.score,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "environment": {**environment_record(), "kernels": instruction_set()},
        "load_average": load_average,
        "threads": THREADS,
        "texts": texts,
        "rounds": rounds,
        "starts": starts,
        "same_file": measured.same_file.to_json(),
        "quiet": measured.quiet,
        "left_out": [name for name in TITLES if name not in {peer.name for peer in peers}],
        "entries": entries,
    }
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{task}.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def exported(run: RunFolder) -> Path:
    """The file of a finished point."""
    return run.stage(EXPORT.folder) / "model.onnx"


def _peer(peer: Peer) -> dict[str, Any]:
    weights = peer.file.with_suffix(".bin")
    size = peer.file.stat().st_size + (weights.stat().st_size if weights.exists() else 0)
    return {**_entry(peer.name, peer.title, peer.family, size, peer.scores), "versions": peer.versions}


def _point(point: Point, run: RunFolder) -> dict[str, Any]:
    scores = scores_of(ExportMetrics.load(run), "exported")
    steps = select(run.path, None, None, run.path.parent).recipe.prune.steps
    return {**_entry(point.name, point.title, point.family, file_bytes(exported(run)), scores), "steps": steps}


def _entry(name: str, title: str, family: str, size: int, scores: Scores) -> dict[str, Any]:
    return {"name": name, "title": title, "family": family, "bytes": size, "scores": scores}


@app.command()
def table(
    task: TaskName = "sst2", results: Annotated[Path, typer.Option(help="The folder of the JSON files.")] = RESULTS
) -> None:
    """Print what was measured as Markdown."""
    typer.echo(markdown(_read(results, task)))


@app.command()
def plot(
    task: TaskName = "sst2", results: Annotated[Path, typer.Option(help="The folder of the JSON files.")] = RESULTS
) -> None:
    """Draw what was measured, as SVG beside the JSON."""
    (results / f"{task}.svg").write_text(draw(_read(results, task)), encoding="utf-8")


def _read(results: Path, task: str) -> dict[str, Any]:
    _require_task(task)
    file = results / f"{task}.json"
    if not file.exists():
        raise typer.BadParameter(f"{file} is missing; `measure` writes it")
    content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return content


def _require_task(task: str) -> None:
    if task not in TASKS:
        raise typer.BadParameter(f"no task is named {task}; there are {', '.join(TASKS)}")


if __name__ == "__main__":
    app()
