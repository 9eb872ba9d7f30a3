"""The process that runs one engine of peers.py, in whatever environment has it; imports nothing of sdp.

It is given a line of JSON on stdin, answers with one on stdout, and waits for the next:

    {"runtime": …, "model": …, "inputs": …, "threads": n, "library": … or null}
                    ->  {"load_seconds": s, "memory_before": bytes, "first_run_seconds": s, "logits": [[…]],
                         "version": …, "settings": {…}}
    {"runs": n, "pause": s}  ->  {"seconds": [s, …], "idle_cpu": share}
    {"finish": true}         ->  {"peak_memory": bytes}

It ends when stdin does.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import numpy as np

# Runs the batch once and returns the logits.
Run = Callable[[], Any]


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
        inputs = {name: np.ascontiguousarray(archive[name]) for name in ("input_ids", "attention_mask")}
    load = {"onnxruntime": _onnxruntime, "openvino": _openvino, "deepsparse": _deepsparse}[setup["runtime"]]
    before = _memory("VmHWM:")
    run, seconds, settings, package = load(setup, inputs)
    started = time.perf_counter()
    logits = np.asarray(run(), dtype=np.float64).tolist()
    _answer(
        answers,
        {
            "load_seconds": seconds,
            "memory_before": before,
            "first_run_seconds": time.perf_counter() - started,
            "logits": logits,
            "version": f"{package} {version(package)}",
            "settings": settings,
        },
    )
    for line in sys.stdin:
        request = json.loads(line)
        if "runs" in request:
            _answer(answers, _turn(run, request["runs"], request["pause"]))
        else:
            _answer(answers, {"peak_memory": _memory("VmHWM:")})
    return 0


def _turn(run: Run, runs: int, pause: float) -> dict[str, Any]:
    """Seconds of each run after a discarded one, and how busy the process was in the second half of the pause after.

    The discarded run wakes the threads and brings the weights back into the caches. A process whose threads still spin
    at the end of the pause would take processor time from the engine whose turn is next; its idle_cpu tells.
    """
    run()
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    time.sleep(pause / 2)
    wall, cpu = time.perf_counter(), time.process_time()
    time.sleep(pause / 2)
    return {"seconds": seconds, "idle_cpu": (time.process_time() - cpu) / (time.perf_counter() - wall)}


Loaded = tuple[Run, float, dict[str, Any], str]


def _onnxruntime(setup: dict[str, Any], inputs: dict[str, Any]) -> Loaded:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = setup["threads"]
    # Threads spin within a run, as by default, but not after it: the next engine needs the cores.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    if setup["library"]:
        options.register_custom_ops_library(setup["library"])
    started = time.perf_counter()
    session = ort.InferenceSession(setup["model"], options, providers=["CPUExecutionProvider"])
    seconds = time.perf_counter() - started
    names = {value.name for value in session.get_inputs()}
    feed = {name: array for name, array in inputs.items() if name in names}
    package = "onnxruntime-gpu" if _installed("onnxruntime-gpu") else "onnxruntime"
    settings = {"intra_op_num_threads": setup["threads"], "session.force_spinning_stop": "1"}
    return lambda: session.run(None, feed)[0], seconds, settings, package


def _openvino(setup: dict[str, Any], inputs: dict[str, Any]) -> Loaded:
    import openvino as ov

    core = ov.Core()
    asked = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": setup["threads"], **setup.get("options", {})}
    started = time.perf_counter()
    model = core.read_model(setup["model"])
    model.reshape({name: list(array.shape) for name, array in inputs.items()})
    compiled = core.compile_model(model, "CPU", asked)
    seconds = time.perf_counter() - started
    request = compiled.create_infer_request()
    settings = {
        name: str(compiled.get_property(name))
        for name in ("INFERENCE_PRECISION_HINT", "INFERENCE_NUM_THREADS", "NUM_STREAMS", "PERFORMANCE_HINT")
    }

    def run() -> Any:
        return request.infer(inputs, share_inputs=True, share_outputs=True)[0]

    return run, seconds, settings, "openvino"


def _deepsparse(setup: dict[str, Any], inputs: dict[str, Any]) -> Loaded:
    import deepsparse

    batch = len(inputs["input_ids"])
    started = time.perf_counter()
    engine = deepsparse.Engine(
        model=setup["model"],
        batch_size=batch,
        num_cores=setup["threads"],
        scheduler=deepsparse.Scheduler.single_stream,
    )
    seconds = time.perf_counter() - started
    feed = [inputs[name] for name in engine.input_names]
    settings = {name: str(getattr(engine, name)) for name in ("num_cores", "num_streams", "scheduler", "cpu_avx_type")}
    settings["cpu_vnni"] = str(engine.cpu_vnni)
    settings["fraction_of_supported_ops"] = str(engine.fraction_of_supported_ops)
    return lambda: engine.run(feed, val_inp=False)[0], seconds, settings, "deepsparse"


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
