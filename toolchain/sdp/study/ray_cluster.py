"""A study's cells on a Ray cluster: one task a teacher and one a cell, tried again where a worker dies.

Every machine needs sdp, and the study's folder, recipe, model and data under the same paths (a shared file system). A
worker gets the options of the study and a cell's key, makes the grid itself, and finds the cell only if its recipe,
model and data are the same. Results are files in the study's folder, as in a single process; a task that is tried again
goes on from the last checkpoint.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any

from sdp.distributed.launcher import clear_leftovers
from sdp.errors import SdpError, UsageError
from sdp.pipeline.progress import Reporter
from sdp.study.cell import read_cell
from sdp.study.grid import StudyCell
from sdp.study.plan import StudyOptions
from sdp.study.runner import Runner

# A worker that ends with anything but an error of sdp: a machine went away, or memory ran out.
TRIES = 3
SECONDS_TO_REACH = 10.0


def run_on_ray(runner: Runner, address: str) -> None:
    """Run every cell that has no result on a cluster.

    Args:
        runner: of the study; its progress is filled.
        address: of the cluster: "auto", HOST:PORT, or "local" for one on this machine, as many tasks as cores.

    Raises:
        UsageError: Ray is not installed, or there is no such cluster.
    """
    ray = _connect(address)
    study = runner.study
    options, total = study.options.resolved(study.out), len(study.grid.cells)
    try:
        waiting = runner.waiting()
        needs = {"max_retries": TRIES, "num_cpus": 1, "num_gpus": 1 if ray.cluster_resources().get("GPU") else 0}
        train, prune = ray.remote(**needs)(train_teacher), ray.remote(**needs)(run_cell)
        first_cells = {cell.teacher: cell.key for cell in reversed(waiting)}
        teachers = {teacher: train.remote(options, key) for teacher, key in first_cells.items()}
        # Ray starts a cell's task when its teacher's has ended, and passes the teacher's error to it.
        tasks = {prune.remote(options, cell.key, teachers[cell.teacher]): cell for cell in waiting}
        cpus = ray.cluster_resources().get("CPU", 0)
        runner.reporter.line(f"cells: {len(tasks)}; fine-tunings: {len(teachers)}; CPUs of the cluster: {cpus:.0f}")
        while tasks:
            (ended, *_), _ = ray.wait(list(tasks), num_returns=1)
            cell = tasks.pop(ended)
            _record(cell, _error_of(ray, ended), runner)
            runner.reporter.heading(f"cell {total - len(tasks)}/{total} ended: {runner.title(cell)}")
            runner.on_cell()
    finally:
        # Tasks that still run end with this: a stop leaves their checkpoints.
        ray.shutdown()
    runner.clean_up()


# Ray is optional and has no complete types, so its module and its references are Any here.
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
    """Check that a process listens at HOST:PORT: Ray itself retries for many minutes.

    Raises:
        OSError, OverflowError: none does, or there is no such place.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_REACH).close()


def _error_of(ray: Any, task: Any) -> str | None:
    """The error that a task ended with; None where it succeeded."""
    try:
        error: str | None = ray.get(task)
    except ray.exceptions.RayTaskError as failure:
        return f"{type(failure.cause).__name__}: {failure.cause}"
    except ray.exceptions.RayError as failure:
        return f"its worker died {TRIES + 1} times: {str(failure).strip().splitlines()[0]}"
    return error


def _record(cell: StudyCell, error: str | None, runner: Runner) -> None:
    out = runner.study.out
    result = read_cell(out, cell, runner.reporter) if error is None else None
    if result is not None:
        runner.progress.results[cell.key] = result
    else:
        runner.fail(cell, error or f"its worker wrote no result into {out}; all machines need the same file system")
    runner.remove_run(cell)


def train_teacher(options: StudyOptions, key: str) -> str | None:
    """On a worker: fine-tune for a cell, and all that share its teacher; the error, or None."""
    return _attempt(options, key, lambda runner, cell: runner.train_teacher(cell))


def run_cell(options: StudyOptions, key: str, teacher_error: str | None) -> str | None:
    """On a worker: run a cell and write its result, unless its teacher failed; the error, or None."""
    return teacher_error or _attempt(options, key, lambda runner, cell: runner.run_cell(cell))


def _attempt(options: StudyOptions, key: str, work: Callable[[Runner, StudyCell], object]) -> str | None:
    clear_leftovers()
    try:
        study = options.study()
        cell = study.grid.find(key)
        if cell is None:
            return "the recipe, model or data on a worker are not those of the command"
        work(Runner(study, Reporter(quiet=True), keep_models=True), cell)
    except SdpError as error:
        return str(error)
    return None
