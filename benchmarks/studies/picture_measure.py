"""Time many files in turns in one run: A B C ... A B C, each in a process of its own, on the same texts.

Every turn runs the whole sample of texts, and each round has another order of turns. Times are compared within a round,
with the first file, of which there are two processes: their ratio, which should be 1, measures the machine's noise. All
is repeated with new processes, and the intervals include what differs between them (see `sdp_onnx.bench.statistics`).
"""

from __future__ import annotations

import math
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from sdp_onnx.bench.interval import Interval
from sdp_onnx.bench.statistics import Start, is_quiet, latency, median_error, paired_ratio, speedup_interval

# The threads of the previous turn get time to sleep; OpenVINO's spin the longest.
PAUSE_SECONDS = 0.1
# A second process of the file that all are compared with.
AGAIN = "the same file again"

# Seconds by round and run.
Turns = list[list[float]]


class Engine(Protocol):
    """A process with a loaded file."""

    def turn(self, case: int, first: int, runs: int) -> list[float]:
        """Run batches from number `first` on after a discarded run; return the seconds of each."""


Open = Callable[[], AbstractContextManager[Engine]]


@dataclass(frozen=True)
class Timed:
    """What was measured of a file: the median time of a run, and how many times as fast as the first file it is."""

    p50_ms: float
    speedup: Interval


@dataclass(frozen=True)
class Measured:
    """What was measured of all files by name, and whether the machine was quiet."""

    files: dict[str, Timed]
    same_file: Interval
    quiet: bool


def measure_in_turns(files: Mapping[str, Open], *, texts: int, rounds: int, starts: int) -> Measured:
    """Time files, at least two, in turns.

    Args:
        files: name -> starts a process; the first is what the others are compared with.
        texts: batches in the sample; a turn runs all of them.
        rounds: turns of each process, at least 2.
        starts: how often new processes are started.
    """
    baseline = next(iter(files))
    opened = {**files, AGAIN: files[baseline]}
    found = []
    for start in range(starts):
        with ExitStack() as stack:
            engines = {name: stack.enter_context(open_file()) for name, open_file in opened.items()}
            found.append(take_turns(engines, texts, rounds, start))
        print(f"start {start + 1} of {starts} is measured", file=sys.stderr, flush=True)
    return summarize(baseline, found)


def take_turns(engines: Mapping[str, Engine], texts: int, rounds: int, seed: int) -> dict[str, Turns]:
    """The seconds of each run; in every round each engine has one turn, in an order of the round's own."""
    times: dict[str, Turns] = {name: [] for name in engines}
    order, shuffle = list(engines), random.Random(seed).shuffle
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            time.sleep(PAUSE_SECONDS)
            times[name].append(engines[name].turn(0, 0, texts))
    return times


def summarize(baseline: str, starts: Sequence[Mapping[str, Turns]]) -> Measured:
    """Times and ratios of all files over all starts; `AGAIN` is the second process of the baseline."""
    firsts, seconds = ([_medians(start[name]) for start in starts] for name in (baseline, AGAIN))
    same_file = paired_ratio(list(chain.from_iterable(firsts)), list(chain.from_iterable(seconds)))
    files = {}
    for name in starts[0]:
        if name != AGAIN:
            runs = [run for start in starts for turn in start[name] for run in turn]
            own = [_start(a, b, start[name]) for a, b, start in zip(firsts, seconds, starts, strict=True)]
            speedup = speedup_interval(own) if name != baseline else Interval.exact(1.0)
            files[name] = Timed(latency(runs, 1).p50_ms, speedup)
    return Measured(files, same_file, is_quiet(same_file))


def _start(first: list[float], second: list[float], turns: Turns) -> Start:
    """One start of a file beside both processes of the baseline, of which the medians by round are given."""
    logs = [math.log(math.sqrt(a * b) / own) for a, b, own in zip(first, second, _medians(turns), strict=True)]
    runs = latency(list(chain.from_iterable(turns)), 1)
    same_file = math.exp(statistics.median(math.log(a / b) for a, b in zip(first, second, strict=True)))
    speedup = math.exp(statistics.median(logs))
    return Start(len(logs), speedup, median_error(logs), same_file, runs.p50_ms, runs.p99_ms)


def _medians(turns: Turns) -> list[float]:
    return [statistics.median(turn) for turn in turns]
