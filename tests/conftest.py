"""Shared by all tests: versions in the header, no network, and a tiny model."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

import pytest

from support.pickle_watch import watched
from support.toy import PREFLIGHT, save_tiny_model, sdp, write_project

# Tests run side by side, and tiny models gain nothing from a second thread: spinning ones would fight for the cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test may reach for the hub.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"


def pytest_report_header() -> str:
    """The versions that a failure may depend on."""
    names = ("torch", "transformers", "onnx", "pydantic")
    return ", ".join(f"{name} {version(name)}" for name in names)


@pytest.fixture(scope="session")
def toy_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT, shared by all tests; copy before changing it."""
    return save_tiny_model(tmp_path_factory.mktemp("toy-model"))


@pytest.fixture(scope="session")
def pickle_notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run of `finished` is watched for pickles."""
    return tmp_path_factory.mktemp("pickles")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, toy_model: Path, pickle_notes: Path) -> Path:
    """A project whose recipe was run once, by the real command line; copy before changing it."""
    folder = tmp_path_factory.mktemp("finished")
    write_project(folder, toy_model)
    done = sdp("run", "toy.toml", *PREFLIGHT, cwd=folder, env=watched(pickle_notes))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gate: pass" in done.stdout
    return folder
