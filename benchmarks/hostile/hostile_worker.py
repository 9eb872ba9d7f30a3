"""The process that uses hostile inputs: it may crash, hang or grow, and the one that asks it goes on.

    python benchmarks/hostile/hostile_worker.py PROJECT

Each line of stdin is {"kind", "seed", "number"}; each answer is the outcome. The case follows from these three alone.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

from hostile_data import data_case
from hostile_folders import Project
from hostile_judge import MOST_SECONDS, REAL_PROCESS, Outcome, judge
from hostile_onnx import onnx_case
from hostile_recipes import recipe_case
from hostile_runs import compare_case, gate_case, model_case, predict_case, shipped_case, stored_case

Make = Callable[[Random, Path, Project], Callable[[], object]]
# Each kind with its share of the inputs.
KINDS: dict[str, tuple[Make, int]] = {
    "recipe": (recipe_case, 5),
    "data": (data_case, 6),
    "onnx": (onnx_case, 8),
    "shipped folder": (shipped_case, 3),
    "predict": (predict_case, 3),
    "gate": (gate_case, 3),
    "compare": (compare_case, 3),
    "model folder": (model_case, 2),
    "masks and cells": (stored_case, 1),
}
# Address space: what asks for more gets MemoryError, which is a finding too.
MOST_ADDRESSES = 12 * 2**30


def run_case(kind: str, seed: int, number: int, project: Project, folder: Path) -> Outcome:
    """Make one input in an empty folder, and use it."""
    random = Random(f"{seed} {kind} {number}")
    use = KINDS[kind][0](random, folder, project)
    return judge(use)


def kind_of(number: int) -> str:
    """The kind of the input of this number: all kinds take turns, by their shares."""
    turns = [kind for kind, (_, share) in KINDS.items() for _ in range(share)]
    return Random(0).sample(turns, len(turns))[number % len(turns)]


def _too_long(signum: int, frame: FrameType | None) -> None:
    raise TimeoutError("does not come to an end")


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # What a library prints must not stand between the answers.
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))
    signal.signal(signal.SIGALRM, _too_long)
    project = Project(Path(sys.argv[1]))
    # Not part of what an input costs.

    for line in sys.stdin:
        asked: dict[str, Any] = json.loads(line)
        folder = Path(tempfile.mkdtemp())
        os.chdir(folder)
        os.environ[REAL_PROCESS] = "1" if asked.get("process") else ""
        # Of wall-clock time, on a machine that may be busy.
        signal.setitimer(signal.ITIMER_REAL, 10 * MOST_SECONDS)
        # What does not come back from a library's code to be told so is ended.
        faulthandler.dump_traceback_later(20 * MOST_SECONDS, exit=True)
        try:
            outcome = run_case(asked["kind"], asked["seed"], asked["number"], project, folder)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            faulthandler.cancel_dump_traceback_later()
            os.chdir("/")
            shutil.rmtree(folder, ignore_errors=True)
            for left in folder.parent.glob(f"{folder.name}.*"):
                left.unlink()
            os.environ[REAL_PROCESS] = ""
        answers.write(json.dumps(asdict(outcome)) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
