"""OpenVINO's int8 on a task's own texts, in the environment that has OpenVINO and NNCF; imports nothing of sdp.

The process of studies/picture.py: given a line of JSON on stdin, it answers with one on stdout, and waits for the next:

    {"source": …, "calibration": …, "model": …, "inputs": …, "threads": n}  ->  {"ready": true}
    {"first": batch, "runs": n}                                             ->  {"seconds": [s, …]}
    {"batch": {input: [[id, …], …], …}}                                     ->  {"logits": [[…], …]}

The model is made of the source, an ONNX file, if it is not there. For timed runs it is compiled once for each length
of the texts, before the first of them: compiled for all lengths it takes longer. It ends when stdin does.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from peers_openvino import quantize

Batch = dict[str, NDArray[np.int64]]


def main() -> None:
    """Serve requests until stdin ends."""
    # What a library prints must not get between the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    setup = json.loads(sys.stdin.readline())
    model = Path(setup["model"])
    if not model.exists():
        quantize(Path(setup["source"]), read_batches(Path(setup["calibration"])), model)
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": setup["threads"]}
    any_length = ov.Core().compile_model(model, "CPU", options).create_infer_request()
    timed: list[tuple[Any, Batch]] = []
    answer: dict[str, Any] = {"ready": True}
    while True:
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
        line = sys.stdin.readline()
        if not line:
            return
        asked = json.loads(line)
        if "batch" in asked:
            inputs = {name: np.array(ids, dtype=np.int64) for name, ids in asked["batch"].items()}
            answer = {"logits": any_length.infer(inputs)[0].astype(float).tolist()}
        else:
            timed = timed or compile_by_length(model, read_batches(Path(setup["inputs"])), options)
            answer = {"seconds": run_turn(timed, asked["first"], asked["runs"])}


def compile_by_length(model: Path, batches: list[Batch], options: dict[str, Any]) -> list[tuple[Any, Batch]]:
    """Each batch with a request of the model for its shape."""
    core, requests = ov.Core(), {}
    for shape in {batch["input_ids"].shape for batch in batches}:
        own = core.read_model(model)
        own.reshape({name: list(shape) for name in batches[0]})
        requests[shape] = core.compile_model(own, "CPU", options).create_infer_request()
    return [(requests[batch["input_ids"].shape], batch) for batch in batches]


def read_batches(path: Path) -> list[Batch]:
    """The first case of a file of `sdp_onnx.bench.cases.save_batches`."""
    batches: dict[int, Batch] = defaultdict(dict)
    with np.load(path, allow_pickle=False) as archive:
        for key in archive.files:
            _, batch, name = key.split("/", 2)
            batches[int(batch)][name] = archive[key]
    return [batches[number] for number in sorted(batches)]


def run_turn(timed: list[tuple[Any, Batch]], first: int, runs: int) -> list[float]:
    """Seconds of `runs` batches from number `first` on, cyclically, after a discarded run."""
    seconds = []
    for index in (first, *range(first, first + runs)):
        request, inputs = timed[index % len(timed)]
        started = time.perf_counter()
        request.infer(inputs, share_inputs=True, share_outputs=True)
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


if __name__ == "__main__":
    main()
