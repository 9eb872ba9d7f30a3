"""The tiny project that faults.py interrupts, and what must be the same after it."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from faults_server import MARK

TESTS = Path(__file__).parents[2] / "tests"
RECIPE = """
name = "toy"

[model]
name = "model"

[vocabulary]
size = 70

[task]
type = "classification"

[data]
train = "train.tsv"
dev = "dev.tsv"
text = ["sentence"]
label = "label"
max_length = 32

[finetune]
epochs = 3
learning_rate = 3e-3
batch_size = 16

[prune]
epochs = 4
learning_rate = 3e-3
batch_size = 16
sparsity = 0.8
mask_updates = 5

[evaluate]
resamples = 100

[bench]
sequence_lengths = ["task"]
threads = 1
seconds = 0.05
starts = 1

[gate]
max_metric_drop = 0.9
# In so few steps it learns little, and what is looked at is what interruptions leave.
allow_constant_dense = true
budget_seconds = 0

[runtime]
checkpoint_seconds = 0.1
"""
STAGES = (
    "0-vocabulary",
    "0-preflight",
    "1-finetune",
    "2-prune",
    "3-evaluate",
    "4-export",
    "5-bench",
    "6-gate",
    "7-report",
    "8-ship",
)
# Stages whose results hold no times but where a key says so; of the later ones what must not differ.
EXACT = STAGES[:6]
SHIPPED = ("model.onnx", "golden.json", "config.json", "tokenizer.json")
TIMES = ("seconds",)


def make_project(folder: Path) -> None:
    """Write recipe, data and model."""
    sys.path.insert(0, str(TESTS))
    from support import toy  # type: ignore[import-not-found, unused-ignore]
    from support.toy import save_tiny_model, toy_rows, write_tsv  # type: ignore[import-not-found, unused-ignore]

    folder.mkdir(parents=True)
    # Pieces that no text uses, so that there is something to trim.
    with mock.patch.object(toy, "FILLER", [*toy.FILLER, *(f"unused{number}" for number in range(40))]):
        save_tiny_model(folder / "model")
    write_tsv(folder / "train.tsv", toy_rows(160, seed=1))
    write_tsv(folder / "dev.tsv", toy_rows(60, seed=2))
    (folder / "toy.toml").write_text(RECIPE)


def compare_runs(expected: Path, found: Path) -> list[str]:
    """Name every difference between two run folders that is no measured time; hidden files are the lock's."""
    names = {str(path.relative_to(expected)) for path in expected.rglob("*") if path.is_file()}
    there = {str(path.relative_to(found)) for path in found.rglob("*") if path.is_file()}
    wrong = [f"missing: {name}" for name in sorted(names - there)] + [f"left: {name}" for name in sorted(there - names)]
    for name in sorted(names & there):
        stage, file = name.split("/", 1) if "/" in name else ("", name)
        if file == "stage.json":
            continue
        exact = stage in (*EXACT, "cache") or (stage == "8-ship" and file in SHIPPED)
        if exact and _content(expected / name) != _content(found / name):
            wrong.append(f"differs: {name}")
    verdicts = [json.loads((run / "6-gate/verdict.json").read_text())["verdict"] for run in (expected, found)]
    return wrong + ([] if verdicts[0] == verdicts[1] else [f"verdict {verdicts[1]}"])


def left_behind(mark: str, temporary: Path, shared_memory: set[str]) -> list[str]:
    """What commands left outside their run folder: temporary files, processes with the mark, shared memory."""
    left = [f"temporary file {path.name}" for path in temporary.iterdir()]
    left += [f"process {pid}" for pid in processes_of(mark)]
    return left + [f"shared memory {name}" for name in sorted(set(os.listdir("/dev/shm")) - shared_memory)]


def processes_of(mark: str) -> Iterator[int]:
    """The processes that a command started: their environment has the command's mark."""
    for folder in Path("/proc").iterdir():
        try:
            variables = (folder / "environ").read_bytes().split(b"\0") if folder.name.isdecimal() else []
        except OSError:
            continue
        if f"{MARK}={mark}".encode() in variables:
            yield int(folder.name)


def plain(content: Any) -> Any:
    """A JSON tree without measured times."""
    if isinstance(content, dict):
        return {key: plain(value) for key, value in content.items() if key not in TIMES}
    return [plain(value) for value in content] if isinstance(content, list) else content


def _content(path: Path) -> Any:
    # As text again: the order of keys counts too.
    return json.dumps(plain(json.loads(path.read_bytes()))) if path.suffix == ".json" else path.read_bytes()


def one_message(log: str) -> str | None:
    """What is wrong with the output of an ended command; None where it is one message and no traceback."""
    if "Traceback" in log or "Exception ignored" in log:
        return f"traceback: {log[-2000:]}"
    messages = re.findall(r"^(?:error: |stopped)", log, re.MULTILINE)
    return None if len(messages) == 1 else f"{len(messages)} messages: {log[-500:]}"
