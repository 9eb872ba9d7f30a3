"""What the machine can do at most, and how near to it the products of our files are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from threading import Barrier
from typing import Any

import numpy as np

from sdp_onnx.bench.cases import Case
from sdp_onnx.bench.kernel_profile import profile_model
from sdp_onnx.runtimes.machine_peak import measure_peak

# Beyond any cache.
_ARRAY_BYTES = 256 * 2**20
_REPETITIONS = 5


def machine_limits(threads: int) -> dict[str, Any]:
    """Measure the peak of products in registers and the bandwidth of memory, of all threads together.

    Returns:
        JSON types: the fields of `MachinePeak`, and memory_gb_per_second, of a = b + c as STREAM counts it.
    """
    return {**asdict(measure_peak(threads)), "memory_gb_per_second": _bandwidth(threads)}


def _bandwidth(threads: int) -> float:
    barrier = Barrier(threads)

    def add(_index: int) -> float:
        first, second, third = (np.ones(_ARRAY_BYTES // 8) for _ in range(3))
        fastest = float("inf")
        for _ in range(_REPETITIONS):
            barrier.wait()
            started = time.perf_counter()
            # NumPy releases the GIL meanwhile.
            np.add(second, third, out=first)
            fastest = min(fastest, time.perf_counter() - started)
        return 3 * _ARRAY_BYTES / fastest / 1e9

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(add, range(threads)))


def product_shares(path: Path, cases: Sequence[Case], threads: Sequence[int]) -> list[dict[str, Any]]:
    """Profile a file: what share of the time each part takes, and of the peak its products reach.

    Returns:
        JSON types, one entry for a case and a number of threads: case, threads, run_ms, parts (see `PartProfile`), and
        of_peak, by kind of product: its rate on the weights that are kept, as a share of the peak in its precision.
    """
    profile = profile_model(path, cases, threads=list(threads))
    peaks = {peak.threads: peak for peak in profile.peaks}
    found = []
    for case in profile.cases:
        peak = peaks[case.threads]
        found.append(
            {
                "case": case.case,
                "threads": case.threads,
                "run_ms": case.run_ms,
                "parts": [asdict(part) for part in case.parts],
                "of_peak": {
                    part.part: part.gflops / (peak.int8_gops if "int8" in part.part else peak.fp32_gflops)
                    for part in case.parts
                    if part.gflops is not None
                },
            }
        )
    return found
