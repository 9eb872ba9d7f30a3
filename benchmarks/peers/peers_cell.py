"""Measure one cell of peers.py: all engines loaded for one shape, checked against torch, then timed in turns."""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from peers_cores import round_trip_ns
from peers_engines import OURS, Engine, Runtime
from sdp_onnx.bench.process import JsonProcess, ProcessEndedError
from sdp_onnx.bench.statistics import latency, paired_ratio
from sdp_onnx.deploy.verify import relative_error
from sdp_onnx.operators.library import library_path

# About how long the timed runs of a turn take, and how many they are at most.
_TURN_SECONDS = 0.25
_MOST_RUNS = 50
_CALIBRATION_RUNS = 2

# After each turn; see idle_cpu in peers_worker.py.
_PAUSE_SECONDS = 0.1

_FEWEST_ROUNDS = 5


_WORKER = Path(__file__).with_name("peers_worker.py")


class WrongAnswerError(Exception):
    """An engine gives other logits than torch."""


@dataclass(frozen=True)
class Cell:
    """A shape and a number of threads."""

    batch: int
    length: int
    threads: int


def measure_cell(
    cell: Cell,
    engines: Sequence[Engine],
    pythons: Mapping[Runtime, Path],
    models: Path,
    rows: int,
    *,
    rounds: int,
    seconds: float,
) -> dict[str, Any]:
    """Time the engines on one shape.

    An engine that cannot load, dies, or gives wrong logits is out of the cell, and the result tells why.

    Args:
        pythons: the interpreter of each runtime.
        models: the folder that peers_models.py filled, with references of `rows` rows.
        rounds: turns of each engine.
        seconds: after this long the cell ends at the next round, but not before 5 rounds.

    Returns:
        JSON types: per engine its times, error, load time, peak memory; ratios to each of ours, above 1 where ours is
        faster; failures.
    """
    # Before this cell's own load.
    date, load_average = datetime.now(UTC).isoformat(timespec="seconds"), os.getloadavg()
    found: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    processes: dict[str, JsonProcess] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for engine in engines:
            process = stack.enter_context(_start(pythons[engine.runtime]))
            try:
                found[engine.name] = _load(engine, process, cell, models, rows, folder)
                processes[engine.name] = process
            except (ProcessEndedError, WrongAnswerError) as error:
                failed[engine.name] = str(error)
        first_runs = {name: found[name]["first_run_seconds"] for name in processes}
        times, idle, distances = _take_turns(processes, failed, first_runs, cell, rounds, seconds)
        for name, process in processes.items():
            found[name]["peak_memory"] = process.ask({"finish": True})["peak_memory"]
    for name, turns in times.items():
        found[name] |= asdict(latency([run for turn in turns for run in turn], cell.batch))
        found[name] |= {"turns_ms": [round(statistics.median(turn) * 1000, 4) for turn in turns]}
        found[name]["idle_cpu"] = max(idle[name])
    return {
        **asdict(cell),
        "date": date,
        "load_average": load_average,
        "core_round_trips_ns": distances,
        "rounds": max((len(turns) for turns in times.values()), default=0),
        "engines": {name: found[name] for name in times},
        "ratios": _ratios(times),
        "failed": failed,
    }


def _start(python: Path) -> JsonProcess:
    return JsonProcess([str(python), str(_WORKER)], os.environ | {"NM_DISABLE_ANALYTICS": "True"})


def _load(engine: Engine, process: JsonProcess, cell: Cell, models: Path, rows: int, folder: Path) -> dict[str, Any]:
    reference_file = models / f"reference-{engine.pruning}-{cell.length}x{rows}.npz"
    with np.load(reference_file, allow_pickle=False) as archive:
        reference = {name: archive[name][: cell.batch] for name in archive.files}
    inputs = folder / f"{engine.pruning}.npz"
    if not inputs.exists():
        with inputs.open("wb") as file:
            np.savez(file, input_ids=reference["input_ids"], attention_mask=reference["attention_mask"])
    model = models / engine.file
    if engine.static:
        model = _write_static(model, reference["input_ids"].shape, folder / engine.file)
    answer = process.ask(
        {
            "runtime": engine.runtime,
            "model": str(model),
            "inputs": str(inputs),
            "threads": cell.threads,
            "library": str(library_path()) if engine.operators else None,
        }
    )
    logits: NDArray[np.float64] = np.asarray(answer.pop("logits"))
    error = relative_error(reference["logits"], logits)
    if not error <= engine.largest_error:
        raise WrongAnswerError(f"its logits differ from torch's by {error:.3g} of the largest")
    return {**answer, "relative_error": error}


def _write_static(source: Path, shape: tuple[int, ...], target: Path) -> Path:
    model = onnx.load(source)
    for value in model.graph.input:
        for dimension, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
            dimension.dim_value = size
    onnx.save(model, target)
    return target


def _take_turns(
    processes: dict[str, JsonProcess],
    failed: dict[str, str],
    first_runs: Mapping[str, float],
    cell: Cell,
    rounds: int,
    seconds: float,
) -> tuple[dict[str, list[list[float]]], dict[str, list[float]], list[float | None]]:
    """The seconds of each run, [round][run] by engine; its idle_cpu after each turn; each round's core_round_trip.

    The order is another one in each round, so that none always follows the same one.
    """
    runs = {}
    for name in list(processes):
        if first_runs[name] > 2 * _TURN_SECONDS:
            runs[name] = 1
        elif taken := _turn(processes, failed, name, _CALIBRATION_RUNS):
            fits = round(_TURN_SECONDS / statistics.median(taken["seconds"]))
            runs[name] = min(max(1, fits), _MOST_RUNS)
    shuffle = random.Random(repr(cell)).shuffle
    times: dict[str, list[list[float]]] = {name: [] for name in processes}
    idle: dict[str, list[float]] = {name: [] for name in processes}
    distances = []
    started = time.monotonic()
    for number in range(rounds):
        if number >= _FEWEST_ROUNDS and time.monotonic() - started > seconds:
            break
        distances.append(round_trip_ns())
        order = list(processes)
        shuffle(order)
        for name in order:
            if taken := _turn(processes, failed, name, runs[name]):
                times[name].append(taken["seconds"])
                idle[name].append(taken["idle_cpu"])
    return {name: times[name] for name in processes}, {name: idle[name] for name in processes}, distances


def _turn(processes: dict[str, JsonProcess], failed: dict[str, str], name: str, runs: int) -> dict[str, Any] | None:
    try:
        return processes[name].ask({"runs": runs, "pause": _PAUSE_SECONDS})
    except ProcessEndedError as error:
        failed[name] = str(error)
        del processes[name]
        return None


def _ratios(times: Mapping[str, list[list[float]]]) -> dict[str, dict[str, Any]]:
    medians = {name: [statistics.median(turn) for turn in turns] for name, turns in times.items()}
    return {
        ours: {peer: asdict(paired_ratio(turns, medians[ours])) for peer, turns in medians.items() if peer != ours}
        for ours in OURS
        if len(medians.get(ours, ())) >= 2
    }
