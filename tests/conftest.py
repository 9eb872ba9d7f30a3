"""Shared by all tests: versions in the header, no network, and a tiny model."""

from __future__ import annotations

import gc
import importlib
import os
import shutil
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from filelock import FileLock

from sdp_onnx.bench import pair
from support.in_process import process_state
from support.pickle_watch import watched
from support.toy import PREFLIGHT, save_tiny_model, sdp_process, write_project

# Tests run side by side, and tiny models gain nothing from a second thread: spinning ones would fight for the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# All of torch and transformers stays in memory: the collector need not go over it again and again.
gc.set_threshold(100_000, 50, 50)
# A turn of a benchmark is long for precise times, which no test needs.
pair._TURN_SECONDS = 0.01
# No test may reach for the hub.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"


# One makes `finished`, the other takes as long without it: at the start no worker waits for the other.
FIRST = ("benchmarks/test_hostile.py", "sdp/study/test_study.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that are to start first before the others, whose order stays."""
    items.sort(key=lambda item: not item.path.as_posix().endswith(FIRST))


def pytest_collection_finish() -> None:
    """Take what imports made out of the collector's sight: every training and every export goes over the rest."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Each worker comes to need it.
        importlib.import_module("sdp.training.trainer")
        importlib.import_module("sdp_onnx.export.torch_export")
    gc.freeze()


def pytest_report_header() -> str:
    """The versions that a failure may depend on."""
    names = ("torch", "transformers", "onnx", "pydantic")
    return ", ".join(f"{name} {version(name)}" for name in names)


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """Commands run in the process of the tests: none may change it for the tests that follow."""
    with process_state():
        yield


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder for the whole session, made by whichever of pytest-xdist's workers needs it first."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent
    folder, made = base / name, base / f"{name}.made"
    with FileLock(base / f"{name}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            make(folder)
            made.touch()
    return folder


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT, shared by all tests; copy before changing it."""
    return made_once(tmp_path_factory, "toy-model", save_tiny_model)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Path:
    """A project whose recipe was run once, by the real command line in its own process; copy before changing it."""

    def run(folder: Path) -> None:
        write_project(folder, toy_model)
        done = sdp_process("run", "toy.toml", *PREFLIGHT, cwd=folder, env=watched(notes_of(folder)))
        assert done.returncode == 0, done.stdout + done.stderr
        assert "gate: pass" in done.stdout

    return made_once(tmp_path_factory, "finished", run)


@pytest.fixture(scope="session")
def pickle_notes(finished: Path) -> Path:
    """Where the run of `finished` was watched for pickles."""
    return notes_of(finished)


def notes_of(project: Path) -> Path:
    """A folder beside a project, where a run of it is watched for pickles."""
    return project.with_name(f"{project.name}-pickles")
