"""A study's cells on a Ray cluster: one task a teacher and one a cell, tried again where a worker dies.

Every machine needs sdp, and the study's folder, recipe, model and data under the same paths (a shared file system). A
worker gets the arguments of the command line and a cell's key, makes the grid for itself, and finds the cell only if
the files that it sees are the same. Results are files in the study's folder, as in a single process; a task that is
tried again goes on from the last checkpoint.
"""

from __future__ import annotations

import logging
import shutil
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypedDict

from sdp.distributed.launcher import clear_leftovers
from sdp.errors import SdpError, UsageError
from sdp.pipeline.progress import Reporter
from sdp.study.cell import read_cell
from sdp.study.grid import StudyCell, make_grid
from sdp.study.runner import RUNS, TEACHERS, Failure, Progress, Runner, finished_cells
from sdp.study.vary import parse_vary

# A worker's end by anything but an error of sdp's: a machine that went away, memory that ran out.
TRIES = 3
SECONDS_TO_REACH = 10.0


class StudyArguments(TypedDict):
    """What a worker needs to make the grid: plain values, paths absolute."""

    recipe_file: str
    vary: tuple[str, ...]
    seeds: int
    overrides: tuple[str, ...]
    out: str


def run_on_ray(
    arguments: StudyArguments,
    address: str,
    cells: Sequence[StudyCell],
    progress: Progress,
    on_cell: Callable[[], object],
    runner: Runner,
) -> None:
    """Run every cell that has no result on a cluster.

    Args:
        arguments: for the workers.
        address: of the cluster: "auto", HOST:PORT, or "local" for one on this machine, as many tasks as cores.
        cells: the grid.
        progress: is filled, so that what is known survives a stop.
        on_cell: called after each cell.
        runner: knows folder, axes and reporter.

    Raises:
        UsageError: Ray is not installed, or there is no such cluster.
    """
    ray = _connect(address)
    try:
        progress.results.update(finished_cells(runner.out, cells))
        waiting = [cell for cell in cells if cell.key not in progress.results]
        needs = {"max_retries": TRIES, "num_cpus": 1, "num_gpus": 1 if ray.cluster_resources().get("GPU") else 0}
        train, prune = ray.remote(**needs)(train_teacher), ray.remote(**needs)(run_cell)
        first = {cell.teacher: cell.key for cell in reversed(waiting)}
        teachers = {teacher: train.remote(arguments, key) for teacher, key in first.items()}
        # A cell's task starts when that of its teacher has ended, with its message.
        tasks = {prune.remote(arguments, cell.key, teachers[cell.teacher]): cell for cell in waiting}
        cpus = ray.cluster_resources().get("CPU", 0)
        runner.reporter.line(f"cells: {len(tasks)}; fine-tunings: {len(teachers)}; CPUs of the cluster: {cpus:.0f}")
        while tasks:
            (ended, *_), _ = ray.wait(list(tasks), num_returns=1)
            cell = tasks.pop(ended)
            _note(cell, _outcome(ray, ended), progress, runner)
            runner.reporter.heading(f"cell {len(cells) - len(tasks)}/{len(cells)} ended: {cell.title(runner.axes)}")
            on_cell()
    finally:
        # Tasks that still run end with this: a stop leaves their checkpoints.
        ray.shutdown()
    if not runner.keep_models and not progress.failures:
        shutil.rmtree(runner.out / TEACHERS, ignore_errors=True)
        shutil.rmtree(runner.out / RUNS, ignore_errors=True)


def _connect(address: str) -> Any:
    try:
        import ray
    except ImportError:
        raise UsageError(
            "Ray is not installed", where="--ray", hint="pip install 'sdp[ray]', on every machine."
        ) from None
    try:
        _reach(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    except (OSError, OverflowError, ValueError, RuntimeError) as error:
        what = f"no cluster at {address}: {str(error).strip().splitlines()[0]}"
        raise UsageError(
            what, where="--ray", hint="ray start --head starts one; local is one on this machine."
        ) from None
    return ray


def _reach(address: str) -> None:
    """See that somebody listens at HOST:PORT: Ray itself asks again for many minutes.

    Raises:
        OSError, OverflowError: nobody does, or there is no such place.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_REACH).close()


def _outcome(ray: Any, task: Any) -> str | None:
    try:
        message: str | None = ray.get(task)
    except ray.exceptions.RayTaskError as error:
        return f"{type(error.cause).__name__}: {error.cause}"
    except ray.exceptions.RayError as error:
        return f"its worker died {TRIES + 1} times: {str(error).strip().splitlines()[0]}"
    return message


def _note(cell: StudyCell, message: str | None, progress: Progress, runner: Runner) -> None:
    content = read_cell(runner.out, cell) if message is None else None
    if content is not None:
        progress.results[cell.key] = content
    else:
        message = message or f"its worker wrote no result into {runner.out}; all machines need the same file system"
        runner.reporter.line(f"cell failed: {message}")
        progress.failures.append(Failure(cell, message))
    if not runner.keep_models:
        shutil.rmtree(runner.out / RUNS / cell.key, ignore_errors=True)


def train_teacher(arguments: StudyArguments, key: str) -> str | None:
    """On a worker: fine-tune for a cell, and all that share its teacher; why it failed, or None."""
    return _attempt(arguments, key, lambda runner, cell: runner.train_teacher(cell))


def run_cell(arguments: StudyArguments, key: str, teacher: str | None) -> str | None:
    """On a worker: run a cell and write its result, unless its teacher failed; why it failed, or None."""
    return teacher or _attempt(arguments, key, lambda runner, cell: runner.run_cell(cell))


def _attempt(arguments: StudyArguments, key: str, work: Callable[[Runner, StudyCell], object]) -> str | None:
    axes = tuple(parse_vary(text) for text in arguments["vary"])
    clear_leftovers()
    recipe_file, out = Path(arguments["recipe_file"]), Path(arguments["out"])
    try:
        cells = make_grid(recipe_file, axes, arguments["seeds"], arguments["overrides"])
        cell = next((cell for cell in cells if cell.key == key), None)
        if cell is None:
            return "a worker sees another recipe, model or data than the command did"
        work(Runner(axes, recipe_file, out, Reporter(quiet=True), keep_models=True), cell)
    except SdpError as error:
        return str(error)
    return None
