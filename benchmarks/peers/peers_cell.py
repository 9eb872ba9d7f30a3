"""Measure one cell of peers.py: all engines loaded for one shape, checked against torch, then timed in turns."""

from __future__ import annotations

import itertools
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
from typing import Any, NamedTuple

import numpy as np
import onnx

from peers_cores import round_trip_ns
from peers_engines import OURS, Engine, Runtime, reference_file
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

# Enough for little padding, and few enough for large batches.
_SORTED_CALLS = 4

_WORKER = Path(__file__).with_name("peers_worker.py")


class WrongAnswerError(Exception):
    """An engine gives other logits than torch."""


@dataclass(frozen=True)
class Cell:
    """A batch and a number of threads.

    Attributes:
        batch: number of texts.
        length: the tokens of each, or the name of the distribution of theirs.
        threads: of each engine.
    """

    batch: int
    length: int | str
    threads: int

    @property
    def calls(self) -> list[int]:
        """In how many calls the batch is run: of texts of different lengths, also sorted in some calls, and alone."""
        return [1] if isinstance(self.length, int) else sorted({1, min(_SORTED_CALLS, self.batch), self.batch})


class Entrant(NamedTuple):
    """An engine and in how many calls it runs the batch."""

    engine: str
    calls: int


def measure_cell(
    cell: Cell,
    engines: Sequence[Engine],
    pythons: Mapping[Runtime, Path],
    models: Path,
    *,
    rounds: int,
    seconds: float,
) -> dict[str, Any]:
    """Time the engines on one batch.

    An engine that cannot load, dies, or gives wrong logits is out of the cell, and the result has the reason.

    Args:
        pythons: the interpreter of each runtime.
        models: the folder that peers_models.py filled.
        rounds: turns of each engine.
        seconds: after this long the cell ends at the next round, but not before 5 rounds.

    Returns:
        JSON types: per engine its times, by the number of calls and of the fastest, error, load time, peak memory;
        ratios to each of ours, above 1 where ours is faster; failures.
    """
    # Before this cell's own load.
    date, load_average = datetime.now(UTC).isoformat(timespec="seconds"), os.getloadavg()
    found: dict[str, dict[str, Any]] = {}
    failed: dict[str, str] = {}
    processes: dict[str, JsonProcess] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for engine in engines:
            process = stack.enter_context(start_worker(pythons[engine.runtime]))
            try:
                found[engine.name] = _load(engine, process, cell, models, folder)
                processes[engine.name] = process
            except (ProcessEndedError, WrongAnswerError) as error:
                failed[engine.name] = str(error)
        first_runs = {
            Entrant(name, int(calls)): taken
            for name in processes
            for calls, taken in found[name].pop("first_run_seconds").items()
        }
        times, idle, distances = _take_turns(processes, failed, first_runs, cell, rounds, seconds)
        for name, process in processes.items():
            found[name]["peak_memory"] = process.ask({"finish": True})["peak_memory"]
    fastest = {name: _fastest(name, times) for name in processes}
    for name, best in fastest.items():
        own = {entrant.calls: turns for entrant, turns in times.items() if entrant.engine == name}
        found[name] |= {"calls": best.calls, **_summary(times[best], cell.batch)}
        found[name]["by_calls"] = {calls: _summary(turns, cell.batch) for calls, turns in own.items()}
        found[name]["idle_cpu"] = max(max(shares) for entrant, shares in idle.items() if entrant.engine == name)
    return {
        **asdict(cell),
        "date": date,
        "load_average": load_average,
        "core_round_trips_ns": distances,
        "rounds": max((len(turns) for turns in times.values()), default=0),
        "engines": {name: found[name] for name in fastest},
        "ratios": _ratios({name: times[best] for name, best in fastest.items()}),
        "failed": failed,
    }


def _fastest(name: str, times: Mapping[Entrant, Sequence[Sequence[float]]]) -> Entrant:
    """The number of calls with which an engine ran the batch fastest."""
    medians = {
        entrant: statistics.median(itertools.chain.from_iterable(turns))
        for entrant, turns in times.items()
        if entrant.engine == name
    }
    return min(medians, key=lambda entrant: medians[entrant])


def _summary(turns: Sequence[Sequence[float]], batch: int) -> dict[str, Any]:
    runs = list(itertools.chain.from_iterable(turns))
    return asdict(latency(runs, batch)) | {"turns_ms": [round(statistics.median(turn) * 1000, 4) for turn in turns]}


def start_worker(python: Path) -> JsonProcess:
    """Start the process of an engine; see peers_worker.py."""
    return JsonProcess([str(python), str(_WORKER)], os.environ | {"NM_DISABLE_ANALYTICS": "True"})


def _load(engine: Engine, process: JsonProcess, cell: Cell, models: Path, folder: Path) -> dict[str, Any]:
    reference = reference_file(models, engine.weights, cell.batch, cell.length)
    with np.load(reference, allow_pickle=False) as archive:
        expected, shape = archive["logits"], archive["input_ids"].shape
    model = models / engine.file
    if engine.static:
        model = write_static(model, shape, folder / engine.file)
    answer = process.ask(
        {
            "runtime": engine.runtime,
            "model": str(model),
            "inputs": str(reference),
            "threads": cell.threads,
            "library": str(library_path()) if engine.operators else None,
            # A file for one shape takes the whole batch.
            "calls": [1] if engine.static else cell.calls,
            "batch": cell.batch if engine.static else None,
        }
    )
    error = max(relative_error(expected, np.asarray(logits)) for logits in answer.pop("logits").values())
    if not error <= engine.largest_error:
        raise WrongAnswerError(f"its logits differ from torch's by {error:.3g} of the largest")
    return {**answer, "relative_error": error}


def write_static(source: Path, shape: tuple[int, ...], target: Path) -> Path:
    """Write a file with the shape of its inputs in it."""
    model = onnx.load(source)
    for value in model.graph.input:
        for dimension, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
            dimension.dim_value = size
    onnx.save(model, target)
    return target


def _take_turns(
    processes: dict[str, JsonProcess],
    failed: dict[str, str],
    first_runs: Mapping[Entrant, float],
    cell: Cell,
    rounds: int,
    seconds: float,
) -> tuple[dict[Entrant, list[list[float]]], dict[Entrant, list[float]], list[float | None]]:
    """The seconds of each run, [round][run]; the idle_cpu after each turn; each round's core_round_trip.

    The order is another one in each round, so that none always follows the same one.
    """
    runs: dict[Entrant, int] = {}
    for entrant, first_run in first_runs.items():
        if first_run > 2 * _TURN_SECONDS:
            runs[entrant] = 1
        elif taken := _turn(processes, failed, entrant, _CALIBRATION_RUNS):
            fits = round(_TURN_SECONDS / statistics.median(taken["seconds"]))
            runs[entrant] = min(max(1, fits), _MOST_RUNS)
    shuffle = random.Random(repr(cell)).shuffle
    times: dict[Entrant, list[list[float]]] = {entrant: [] for entrant in runs}
    idle: dict[Entrant, list[float]] = {entrant: [] for entrant in runs}
    distances = []
    started = time.monotonic()
    for number in range(rounds):
        if number >= _FEWEST_ROUNDS and time.monotonic() - started > seconds:
            break
        distances.append(round_trip_ns())
        order = list(runs)
        shuffle(order)
        for entrant in order:
            if taken := _turn(processes, failed, entrant, runs[entrant]):
                times[entrant].append(taken["seconds"])
                idle[entrant].append(taken["idle_cpu"])
    return times, idle, distances


def _turn(processes: dict[str, JsonProcess], failed: dict[str, str], entrant: Entrant, runs: int) -> dict[str, Any]:
    """What an engine answers; nothing of one that has ended."""
    process = processes.get(entrant.engine)
    if process is None:
        return {}
    try:
        return process.ask({"calls": entrant.calls, "runs": runs, "pause": _PAUSE_SECONDS})
    except ProcessEndedError as error:
        failed[entrant.engine] = str(error)
        del processes[entrant.engine]
        return {}


def _ratios(times: Mapping[str, list[list[float]]]) -> dict[str, dict[str, Any]]:
    medians = {name: [statistics.median(turn) for turn in turns] for name, turns in times.items()}
    return {
        ours: {peer: asdict(paired_ratio(turns, medians[ours])) for peer, turns in medians.items() if peer != ours}
        for ours in OURS
        if len(medians.get(ours, ())) >= 2
    }
