"""Measure this machine's peak rate of multiplications and additions, the reference for the speed of products."""

from __future__ import annotations

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier

from sdp_onnx.operators.library import instruction_set, library_path

# Other processes only slow the measurement, so the best of several is the most accurate.
_REPETITIONS = 3


@dataclass(frozen=True)
class MachinePeak:
    """Rates of multiplications and additions in registers, without memory reads, of all threads together.

    Attributes:
        threads: number of threads.
        instruction_set: the kernels whose widest instructions were used.
        fp32_gflops: billions of float operations per second; a fused multiplication and addition counts as two.
        int8_gops: the same for products of bytes, with the dot product instruction where the CPU has one.
    """

    threads: int
    instruction_set: str
    fp32_gflops: float
    int8_gops: float


def measure_peak(threads: int) -> MachinePeak:
    """Measure the peak with a number of threads, in about a third of a second.

    Raises:
        OperatorLibraryError: there is no operator library, or SDP_KERNELS names kernels that this CPU cannot run.
    """
    name = instruction_set()
    library = ctypes.CDLL(os.fspath(library_path()))
    library.sdp_peak.restype = ctypes.c_double
    return MachinePeak(threads, name, _best(library, threads, int8=0), _best(library, threads, int8=1))


def _best(library: ctypes.CDLL, threads: int, *, int8: int) -> float:
    """Measure with all threads at the same time; ctypes releases the GIL during the call."""
    barrier = Barrier(threads)

    def one(_index: int) -> float:
        barrier.wait()
        return float(library.sdp_peak(int8))

    with ThreadPoolExecutor(threads) as pool:
        return max(sum(pool.map(one, range(threads))) for _ in range(_REPETITIONS))
