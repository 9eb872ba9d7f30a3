"""The most that this machine can multiply and add in a second, measured: what a product's speed is compared with."""

from __future__ import annotations

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier

from sdp_onnx.operators.library import instruction_set, library_path

# Whatever else runs on the machine only takes away: the best of several is nearest to the truth.
_REPETITIONS = 3


@dataclass(frozen=True)
class MachinePeak:
    """Multiplications and additions in registers, no memory read, by all threads together.

    Attributes:
        threads: threads that multiplied at the same time.
        instruction_set: the kernels whose widest instructions they used.
        fp32_gflops: billions of float operations a second; a fused multiplication and addition counts as two.
        int8_gops: the same for products of bytes, by the dot product instruction where the CPU has one.
    """

    threads: int
    instruction_set: str
    fp32_gflops: float
    int8_gops: float


def measure_peak(threads: int) -> MachinePeak:
    """Measure it with as many threads as given, in about a third of a second.

    Raises:
        OperatorLibraryError: there is no operator library, or SDP_KERNELS names kernels that this CPU cannot run.
    """
    name = instruction_set()
    library = ctypes.CDLL(os.fspath(library_path()))
    library.sdp_peak.restype = ctypes.c_double
    return MachinePeak(threads, name, _best(library, threads, int8=0), _best(library, threads, int8=1))


def _best(library: ctypes.CDLL, threads: int, *, int8: int) -> float:
    """All threads begin together; ctypes lets go of Python's lock while the library works."""
    barrier = Barrier(threads)

    def one(_index: int) -> float:
        barrier.wait()
        return float(library.sdp_peak(int8))

    with ThreadPoolExecutor(threads) as pool:
        return max(sum(pool.map(one, range(threads))) for _ in range(_REPETITIONS))
