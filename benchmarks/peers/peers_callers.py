"""Texts per second of each engine while several callers use it at the same time, each setting of it in turns."""

from __future__ import annotations

import random
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from peers_cell import WrongAnswerError, start_worker, write_static
from peers_engines import ENGINES, OURS, Engine, Runtime, reference_file
from peers_plot import Json, interval, table
from sdp_onnx.bench.process import JsonProcess, ProcessEndedError
from sdp_onnx.bench.statistics import paired_ratio
from sdp_onnx.deploy.verify import relative_error
from sdp_onnx.operators.library import library_path

_PAUSE_SECONDS = 0.1


@dataclass(frozen=True)
class Setting:
    """How an engine is set up for callers.

    Attributes:
        name: in the JSON.
        threads: of one call; of all calls together in OpenVINO and DeepSparse.
        options: the engine's own.
    """

    name: str
    threads: int
    options: tuple[tuple[str, str], ...] = ()


def settings_of(runtime: Runtime, cores: int) -> tuple[Setting, ...]:
    """Return the settings that a runtime documents for one call at a time and for many at once."""
    if runtime == "openvino":
        hints = ("LATENCY", "THROUGHPUT")
        return tuple(Setting(hint.lower(), cores, (("PERFORMANCE_HINT", hint),)) for hint in hints)
    if runtime == "deepsparse":
        schedulers = ("single_stream", "multi_stream")
        return tuple(Setting(name, cores, (("scheduler", name),)) for name in schedulers)
    return (
        Setting("1 thread a call", 1),
        Setting(f"{cores} threads a call", cores),
        Setting(f"{cores} threads a call, without spinning", cores, (("session.intra_op.allow_spinning", "0"),)),
    )


@dataclass(frozen=True)
class Entrant:
    """An engine with a setting."""

    engine: Engine
    setting: Setting


def measure_callers(
    counts: Sequence[int],
    engines: Sequence[Engine],
    pythons: Mapping[Runtime, Path],
    models: Path,
    shape: tuple[int, str],
    *,
    cores: int,
    rounds: int,
    seconds: float,
) -> dict[str, Any]:
    """Measure all engines in all settings with each number of callers.

    Every call has one text, without padding; DeepSparse's, which is compiled for one shape, is as long as the longest.

    Args:
        counts: numbers of callers.
        shape: how many texts, and the distribution of their lengths; peers_models.py made them.
        cores: of the machine.
        rounds: turns of each setting.
        seconds: of a turn.

    Returns:
        JSON types: "callers", for each number the engines with all settings and the best one, and the ratios of ours to
        the peers', above 1 where ours serves more texts; "failed", reasons by engine and setting.
    """
    failed: dict[str, str] = {}
    processes: dict[Entrant, JsonProcess] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for engine in engines:
            for setting in settings_of(engine.runtime, cores):
                process = stack.enter_context(start_worker(pythons[engine.runtime]))
                try:
                    _load(engine, setting, process, models, shape, folder)
                    processes[Entrant(engine, setting)] = process
                except (ProcessEndedError, WrongAnswerError) as error:
                    failed[f"{engine.name}, {setting.name}"] = str(error)
        found = [_measure(count, processes, failed, rounds, seconds) for count in counts]
    return {"callers": found, "failed": failed}


def _load(
    engine: Engine, setting: Setting, process: JsonProcess, models: Path, shape: tuple[int, str], folder: Path
) -> None:
    reference = reference_file(models, engine.weights, *shape)
    with np.load(reference, allow_pickle=False) as archive:
        expected, longest = archive["logits"], archive["input_ids"].shape[1]
    model = models / engine.file
    if engine.static:
        model = write_static(model, (1, longest), folder / engine.file)
    answer = process.ask(
        {
            "runtime": engine.runtime,
            "model": str(model),
            "inputs": str(reference),
            "threads": setting.threads,
            "library": str(library_path()) if engine.operators else None,
            "calls": [shape[0]],
            "batch": 1 if engine.static else None,
            "options": dict(setting.options),
        }
    )
    (logits,) = answer["logits"].values()
    error = relative_error(expected, np.asarray(logits))
    if not error <= engine.largest_error:
        raise WrongAnswerError(f"its logits differ from torch's by {error:.3g} of the largest")


def _measure(
    count: int, processes: dict[Entrant, JsonProcess], failed: dict[str, str], rounds: int, seconds: float
) -> dict[str, Any]:
    """The settings take turns, in another order in each round."""
    shuffle = random.Random(count).shuffle
    rates: dict[Entrant, list[float]] = {entrant: [] for entrant in processes}
    latencies: dict[Entrant, list[float]] = {entrant: [] for entrant in processes}
    for _ in range(rounds):
        order = list(processes)
        shuffle(order)
        for entrant in order:
            request = {"callers": count, "seconds": seconds, "pause": _PAUSE_SECONDS}
            try:
                answer = processes[entrant].ask(request)
            except ProcessEndedError as error:
                failed[f"{entrant.engine.name}, {entrant.setting.name}"] = str(error)
                del processes[entrant]
                continue
            rates[entrant].append(len(answer["latencies"]) / answer["seconds"])
            latencies[entrant] += answer["latencies"]
    kept = [entrant for entrant in rates if entrant in processes]
    best: dict[str, Entrant] = {}
    for entrant in kept:
        known = best.get(entrant.engine.name)
        if known is None or statistics.median(rates[entrant]) > statistics.median(rates[known]):
            best[entrant.engine.name] = entrant
    return {
        "count": count,
        "engines": {
            name: {
                "best": chosen.setting.name,
                "settings": {
                    entrant.setting.name: _summary(rates[entrant], latencies[entrant])
                    for entrant in kept
                    if entrant.engine.name == name
                },
            }
            for name, chosen in best.items()
        },
        "ratios": {
            ours: {
                peer: asdict(paired_ratio(rates[best[ours]], rates[entrant]))
                for peer, entrant in best.items()
                if peer != ours
            }
            for ours in OURS
            if ours in best
        },
    }


def _summary(rates: Sequence[float], latencies: Sequence[float]) -> dict[str, Any]:
    values: NDArray[np.float64] = 1000 * np.asarray(latencies)
    p50, p99 = np.quantile(values, [0.5, 0.99]) if len(values) else (float("nan"), float("nan"))
    return {
        "texts_per_second": statistics.median(rates),
        "by_round": [round(rate, 1) for rate in rates],
        "p50_ms": float(p50),
        "p99_ms": float(p99),
    }


def markdown(results: Json) -> str:
    """Texts per second by engine and number of callers, in the best setting; the ratios to ours; every setting."""
    cells = results["callers"]
    counts = [f"{cell['count']} caller{'s' if cell['count'] > 1 else ''}" for cell in cells]
    best, against, settings = [], [], []
    for name, engine in ENGINES.items():
        own = [cell["engines"].get(name) for cell in cells]
        if not any(own):
            continue
        best.append([engine.title, *("—" if one is None else _rate(one) for one in own)])
        if name in OURS:
            against.append([engine.title, *(_against(cell, name) for cell in cells)])
        for setting in settings_of(engine.runtime, results["cores"]):
            found = [None if one is None else one["settings"].get(setting.name) for one in own]
            rates = ("—" if one is None else f"{one['texts_per_second']:.0f}" for one in found)
            settings.append([engine.title, setting.name, *rates])
    about = f"{results['model']['title']}. {results['environment']['cpu']}, {results['cores']} cores"
    blocks = [
        f"{about}; {results['date'][:10]}. Texts per second, one text a call, lengths of {results['texts']}.",
        table(["engine, best setting", *counts], best),
        table(["ours, times the best peer's", *counts], against),
        table(["engine", "setting", *counts], settings),
        *(f"Failed: {where}: {reason.splitlines()[-1]}" for where, reason in results["failed"].items()),
    ]
    return "\n\n".join(blocks)


def _rate(engine: Json) -> str:
    chosen = engine["settings"][engine["best"]]
    return f"{chosen['texts_per_second']:.0f} (p99 {chosen['p99_ms']:.1f} ms; {engine['best']})"


def _against(cell: Json, name: str) -> str:
    ratios = {peer: ratio for peer, ratio in cell["ratios"].get(name, {}).items() if peer not in OURS}
    if not ratios:
        return "—"
    peer = min(ratios, key=lambda other: float(ratios[other]["value"]))
    return f"{interval(ratios[peer])} ({peer})"
