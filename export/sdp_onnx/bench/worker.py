"""The process that runs one model of a benchmark: `python -m sdp_onnx.bench.worker`.

It reads a line of JSON from stdin, writes its answer as a line to stdout, and waits for the next:

    {"model": …, "inputs": …, "runtime": …, "provider": …, "threads": n, "profile": …}  ->  {"load_seconds": s}
    {"turn": case, "first": batch, "runs": n}                                  ->  {"seconds": [s, ...]}
    {"profile": true}                                                          ->  {"profile": …}
    {"finish": true}                                       ->  {"peak_memory_bytes": n, "load_seconds": [s, ...]}

It ends when stdin does, so that it never outlives the process that started it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

from sdp_onnx.bench.cases import load_batches
from sdp_onnx.errors import SdpError
from sdp_onnx.runtimes.base import LoadedModel
from sdp_onnx.runtimes.environment import peak_memory_bytes
from sdp_onnx.runtimes.registry import DEFAULT, RUNTIMES

# Loads timed on top of the first.
_MORE_LOADS = 2


def main() -> int:
    """Serve requests until stdin ends; return the exit status."""
    # Output of libraries must not mix with the answers.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    try:
        _serve(_requests(sys.stdin), answers)
    except SdpError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        pass
    return 0


def _serve(requests: Iterator[dict[str, Any]], answers: IO[str]) -> None:
    setup = next(requests, None)
    if setup is None:
        return
    batches = load_batches(Path(setup["inputs"]))
    model, seconds = _timed_load(setup)
    # On a GPU inputs are there before, and outputs stay: that times the model alone. OpenVINO compiles for each shape.
    bound = setup["provider"] != "cpu" or setup["runtime"] != DEFAULT
    runs = [[model.bind(inputs) if bound else partial(model.run, inputs) for inputs in case] for case in batches]
    _answer(answers, {"load_seconds": seconds})
    for request in requests:
        if "turn" in request:
            taken = run_turn(runs[request["turn"]], request["first"], request["runs"])
            _answer(answers, {"seconds": taken})
        elif "profile" in request:
            _answer(answers, {"profile": str(model.end_profile())})
        else:
            # Read before the extra loads below raise it.
            peak = peak_memory_bytes()
            loads = [seconds, *(_timed_load(setup)[1] for _ in range(_MORE_LOADS))]
            _answer(answers, {"peak_memory_bytes": peak, "load_seconds": loads})


def run_turn(batches: Sequence[Callable[[], object]], first: int, runs: int) -> list[float]:
    """Run `runs` batches from number `first` on, cyclically; return the seconds of each.

    One run before them is discarded: it loads the weights into the caches.

    Args:
        batches: what runs each.
        first: number of the first one.
        runs: how many.
    """
    batches[first % len(batches)]()
    seconds = []
    for index in range(first, first + runs):
        run = batches[index % len(batches)]
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return seconds


def _timed_load(setup: dict[str, Any]) -> tuple[LoadedModel, float]:
    started = time.perf_counter()
    model = RUNTIMES[setup["runtime"]].load(
        Path(setup["model"]),
        provider=setup["provider"],
        threads=setup["threads"],
        profile=None if setup["profile"] is None else Path(setup["profile"]),
        # Several processes take turns on the same cores.
        idle_between_runs=True,
    )
    return model, time.perf_counter() - started


def _requests(stream: IO[str]) -> Iterator[dict[str, Any]]:
    for line in stream:
        yield json.loads(line)


def _answer(stream: IO[str], content: dict[str, Any]) -> None:
    stream.write(json.dumps(content) + "\n")
    stream.flush()


if __name__ == "__main__":
    sys.exit(main())
