"""Compare two files by their fastest runs, in seconds: for estimates, where a benchmark takes starts and intervals.

Other processes only make runs slower: of several runs on the same inputs the fastest is nearest to the file's own time.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from sdp_onnx.bench.cases import Case, save_batches
from sdp_onnx.bench.process import Worker
from sdp_onnx.runtimes.base import Provider

FEWEST_ROUNDS = 5


def fastest_runs(
    files: Sequence[Path], case: Case, *, threads: int, seconds: float, provider: Provider = "cpu"
) -> list[float]:
    """Run files in turns on the same batches, each in a process of its own.

    Args:
        files: the files.
        case: the batches; all of them are run in each turn.
        threads: threads of an operator.
        seconds: time of all turns together; there are at least five of each file.
        provider: where the files run.

    Returns:
        of each file the median over the batches of the fastest run, in seconds.

    Raises:
        ModelFileError, ProviderError: a file or the provider cannot be used.
        BenchmarkError: a process ended.
    """
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        inputs = Path(folder, "inputs.npz")
        save_batches(inputs, [case])
        workers = [stack.enter_context(Worker(file, inputs, provider=provider, threads=threads)) for file in files]
        for worker in workers:
            worker.load()
        turns: list[list[list[float]]] = [[] for _ in workers]
        started = time.perf_counter()
        while len(turns[-1]) < FEWEST_ROUNDS or time.perf_counter() < started + seconds:
            for worker, own in zip(workers, turns, strict=True):
                own.append(worker.turn(0, 0, len(case.batches)))
    return [statistics.median(min(runs) for runs in zip(*own, strict=True)) for own in turns]
