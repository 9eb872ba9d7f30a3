"""The process that runs one engine of peers.py, in whatever environment has it; imports nothing of sdp.

It is given a line of JSON on stdin, answers with one on stdout, and waits for the next:

    {"runtime": …, "model": …, "inputs": …, "threads": n, "library": … or null, "calls": [n, …],
     "batch": texts of a call where the file is for one shape, "options": {…} of the engine, if any}
                    ->  {"load_seconds": s, "memory_before": bytes, "first_run_seconds": {calls: s},
                         "logits": {calls: [[…]]}, "version": …, "settings": {…}}
    {"calls": n, "runs": n, "pause": s}         ->  {"seconds": [s, …], "idle_cpu": share}
    {"callers": n, "seconds": s, "pause": s}    ->  {"latencies": [s, …], "seconds": s}
    {"finish": true}                            ->  {"peak_memory": bytes}

A batch is run by one or more calls: its texts are sorted by length and divided evenly, and each call is padded to its
own longest text, or in a file for one shape to that shape. Callers are threads that run the calls of the batch over and
over, each from another one on, without a pause. It ends when stdin does.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import numpy as np

Inputs = dict[str, Any]
# Runs one call and returns its logits.
Call = Callable[[], Any]

# Compiled for more shapes than this, OpenVINO would hold that many copies of its weights.
_MOST_SHAPES = 4


@dataclass(frozen=True)
class Loaded:
    """An engine that is ready.

    Attributes:
        prepare: makes the calls of some inputs.
        seconds: that it took, without what `prepare` compiles.
        settings: as the engine has them.
        package: that the engine comes from.
    """

    prepare: Callable[[Sequence[Inputs]], list[Call]]
    seconds: float
    settings: dict[str, Any]
    package: str


def main() -> int:
    """Serve requests until stdin ends; returns the exit status."""
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    line = sys.stdin.readline()
    if not line:
        return 0
    setup = json.loads(line)
    with np.load(setup["inputs"], allow_pickle=False) as archive:
        batch = {name: archive[name] for name in ("input_ids", "attention_mask")}
    load = {"onnxruntime": _onnxruntime, "openvino": _openvino, "deepsparse": _deepsparse}[setup["runtime"]]
    before = _memory("VmHWM:")
    loaded = load(setup)
    calls: dict[int, list[Call]] = {}
    logits, prepared, first_run = {}, {}, {}
    for count in setup["calls"]:
        order, parts = divided(batch, count, trim=setup["batch"] is None)
        started = time.perf_counter()
        calls[count] = loaded.prepare(parts)
        prepared[count] = time.perf_counter() - started
        started = time.perf_counter()
        rows = np.concatenate([np.asarray(call(), dtype=np.float64) for call in calls[count]])
        first_run[count] = time.perf_counter() - started
        logits[count] = rows[np.argsort(order, kind="stable")].tolist()
    _answer(
        answers,
        {
            "load_seconds": loaded.seconds + prepared[setup["calls"][0]],
            "memory_before": before,
            "first_run_seconds": first_run,
            "logits": logits,
            "version": f"{loaded.package} {version(loaded.package)}",
            "settings": loaded.settings,
        },
    )
    for line in sys.stdin:
        request = json.loads(line)
        if "callers" in request:
            callers = [loaded.prepare(parts) for _ in range(request["callers"])]
            _answer(answers, _concurrent(callers, request["seconds"], request["pause"]))
        elif "runs" in request:
            _answer(answers, _turn(calls[request["calls"]], request["runs"], request["pause"]))
        else:
            _answer(answers, {"peak_memory": _memory("VmHWM:")})
    return 0


def divided(batch: Inputs, calls: int, *, trim: bool = True) -> tuple[Any, list[Inputs]]:
    """The order of the rows by length, and the inputs of each call; trimmed of padding that all rows of it have."""
    lengths = batch["attention_mask"].sum(axis=1)
    order = np.argsort(lengths, kind="stable")
    parts = []
    for rows in np.array_split(order, calls):
        longest = int(lengths[rows].max()) if trim else batch["attention_mask"].shape[1]
        parts.append({name: np.ascontiguousarray(array[rows, :longest]) for name, array in batch.items()})
    return order, parts


def _turn(calls: Sequence[Call], runs: int, pause: float) -> dict[str, Any]:
    """Seconds of each run after a discarded one, and how busy the process was in the second half of the pause after.

    The discarded run wakes the threads and brings the weights back into the caches. A process whose threads still spin
    at the end of the pause would take processor time from the engine whose turn is next: its idle_cpu shows it.
    """
    seconds = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        for call in calls:
            call()
        seconds.append(time.perf_counter() - started)
    time.sleep(pause / 2)
    wall, cpu = time.perf_counter(), time.process_time()
    time.sleep(pause / 2)
    return {"seconds": seconds[1:], "idle_cpu": (time.process_time() - cpu) / (time.perf_counter() - wall)}


def _concurrent(callers: Sequence[Sequence[Call]], seconds: float, pause: float) -> dict[str, Any]:
    """Let callers run for some time; what they finish after it does not count. The pause is for threads that spin."""
    ready = threading.Barrier(len(callers) + 1)
    latencies: list[list[float]] = [[] for _ in callers]
    end = float("inf")

    def call(number: int) -> None:
        own = callers[number]
        place = number * len(own) // len(callers)
        # The discarded call wakes the threads.
        own[place]()
        ready.wait()
        while True:
            started = time.perf_counter()
            own[place % len(own)]()
            done = time.perf_counter()
            if done > end:
                return
            latencies[number].append(done - started)
            place += 1

    threads = [threading.Thread(target=call, args=(number,)) for number in range(len(callers))]
    for thread in threads:
        thread.start()
    ready.wait()
    end = time.perf_counter() + seconds
    for thread in threads:
        thread.join()
    time.sleep(pause)
    return {"latencies": [latency for own in latencies for latency in own], "seconds": seconds}


def _onnxruntime(setup: dict[str, Any]) -> Loaded:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = setup["threads"]
    # Threads spin within a run, as by default, but not after it: the next engine needs the cores.
    asked = {"session.force_spinning_stop": "1", **setup.get("options", {})}
    for name, value in asked.items():
        options.add_session_config_entry(name, value)
    if setup["library"]:
        options.register_custom_ops_library(setup["library"])
    started = time.perf_counter()
    session = ort.InferenceSession(setup["model"], options, providers=["CPUExecutionProvider"])
    seconds = time.perf_counter() - started
    names = {value.name for value in session.get_inputs()}

    def prepare(parts: Sequence[Inputs]) -> list[Call]:
        feeds = [{name: array for name, array in part.items() if name in names} for part in parts]
        return [lambda feed=feed: session.run(None, feed)[0] for feed in feeds]  # type: ignore[misc]

    package = "onnxruntime-gpu" if _installed("onnxruntime-gpu") else "onnxruntime"
    settings = {"intra_op_num_threads": setup["threads"], **asked}
    return Loaded(prepare, seconds, settings, package)


def _openvino(setup: dict[str, Any]) -> Loaded:
    """Compiled for the shape of each call, which is faster, or where there are many for all shapes."""
    import openvino as ov

    core = ov.Core()
    asked = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": setup["threads"], **setup.get("options", {})}
    started = time.perf_counter()
    model = core.read_model(setup["model"])
    seconds = time.perf_counter() - started
    settings: dict[str, Any] = {}

    @cache
    def compiled(shape: tuple[int, ...] | None) -> Any:
        own = model.clone()
        if shape is not None:
            own.reshape({value.get_any_name(): list(shape) for value in own.inputs})
        made = core.compile_model(own, "CPU", asked)
        names = ("INFERENCE_PRECISION_HINT", "INFERENCE_NUM_THREADS", "NUM_STREAMS", "PERFORMANCE_HINT")
        settings.update({name: str(made.get_property(name)) for name in names})
        return made

    def prepare(parts: Sequence[Inputs]) -> list[Call]:
        shapes = {part["input_ids"].shape for part in parts}
        if len(shapes) > _MOST_SHAPES:
            requests = dict.fromkeys(shapes, compiled(None).create_infer_request())
        else:
            requests = {shape: compiled(shape).create_infer_request() for shape in shapes}
        # Copied: the request's own output is overwritten by its next run.
        return [
            lambda part=part, request=requests[part["input_ids"].shape]: request.infer(  # type: ignore[misc]
                part, share_inputs=True, share_outputs=False
            )[0]
            for part in parts
        ]

    return Loaded(prepare, seconds, settings, "openvino")


def _deepsparse(setup: dict[str, Any]) -> Loaded:
    """Compiled for the shape that stands in the file."""
    import deepsparse

    started = time.perf_counter()
    engine = deepsparse.Engine(
        model=setup["model"],
        batch_size=setup["batch"],
        num_cores=setup["threads"],
        scheduler=getattr(deepsparse.Scheduler, setup.get("options", {}).get("scheduler", "single_stream")),
    )
    seconds = time.perf_counter() - started

    def prepare(parts: Sequence[Inputs]) -> list[Call]:
        feeds = [[part[name] for name in engine.input_names] for part in parts]
        return [lambda feed=feed: engine.run(feed, val_inp=False)[0] for feed in feeds]  # type: ignore[misc]

    settings = {name: str(getattr(engine, name)) for name in ("num_cores", "num_streams", "scheduler", "cpu_avx_type")}
    settings["cpu_vnni"] = str(engine.cpu_vnni)
    settings["fraction_of_supported_ops"] = str(engine.fraction_of_supported_ops)
    return Loaded(prepare, seconds, settings, "deepsparse")


def _installed(package: str) -> bool:
    try:
        version(package)
    except ModuleNotFoundError:
        return False
    return True


def _memory(key: str) -> int | None:
    """Bytes of a line of /proc/self/status; None where there is no such file."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(key)), None)


def _answer(stream: IO[str], content: dict[str, Any]) -> None:
    stream.write(json.dumps(content) + "\n")
    stream.flush()


if __name__ == "__main__":
    sys.exit(main())
