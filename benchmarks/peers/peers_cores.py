"""How far apart two cores are: the time in which a message goes from one to the other and back.

In a virtual machine the answer changes while it runs: the host moves its cores between groups that share a cache. On an
EPYC the same two threads took 5.6 ms or 7.7 ms for 128 tokens of ours int8, as this told 82 ns or 355 ns from C, while
one thread took 10.7 ms either way. Engines that divide work more finely suffer more, so that a ratio measured on one
side does not hold on the other; each cell records the side.
"""

from __future__ import annotations

import json
import mmap
import os
import statistics
import subprocess
import sys
import time

_BATCHES = 15
_ROUND_TRIPS = 400


def round_trip_ns() -> float | None:
    """`measure` in a process of its own, which forks without this one's threads and memory."""
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True)
    answer: float | None = json.loads(done.stdout)
    return answer


def measure() -> float | None:
    """Nanoseconds between the first two cores that this process may use; None where that cannot be measured.

    Python's own time is in it, about 80 ns: a comparison with other answers is what it is for.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        return None
    first, second = sorted(allowed)[:2]
    with mmap.mmap(-1, mmap.PAGESIZE) as shared:
        child = os.fork()
        if child == 0:
            try:
                os.sched_setaffinity(0, {second})
                _echo(shared)
            finally:
                os._exit(0)
        os.sched_setaffinity(0, {first})
        try:
            return statistics.median(_batch(shared) for _ in range(_BATCHES))
        finally:
            shared[1] = 1
            os.waitpid(child, 0)
            os.sched_setaffinity(0, allowed)


def _batch(shared: mmap.mmap) -> float:
    started = time.perf_counter()
    for _ in range(_ROUND_TRIPS):
        shared[0] = 1
        while shared[0]:
            pass
    return (time.perf_counter() - started) / _ROUND_TRIPS * 1e9


def _echo(shared: mmap.mmap) -> None:
    """Take each message away, until told to end."""
    while not shared[1]:
        if shared[0]:
            shared[0] = 0


if __name__ == "__main__":
    print(json.dumps(measure()))
