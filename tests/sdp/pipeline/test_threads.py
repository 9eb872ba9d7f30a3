"""runtime.threads reaches torch and onnxruntime in every stage that computes, and makes nothing out of date."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from sdp.errors import StageError
from sdp.models.export import Exported
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.runner import input_identities, plan, run_pipeline
from sdp.recipe import load_recipe
from sdp.stages import evaluate, export, report


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "project", symlinks=True))


def threads_in(stage: str, module: object, folder: Path, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> int:
    """torch's threads while a stage runs, which breaks off there."""
    found: list[int] = []

    def look(*given: object) -> dict:
        found.append(torch.get_num_threads())
        raise StageError("seen")

    monkeypatch.setattr(module, "run", look)
    for done in folder.glob(f"runs/toy/?-{stage}"):
        shutil.rmtree(done)
    with pytest.raises(StageError, match="seen"):
        run_pipeline(
            load_recipe(folder / "toy.toml", overrides), RunFolder(folder / "runs/toy"), stage, Reporter(quiet=True)
        )
    return found[0]


def test_torch_gets_them_for_the_stage_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    assert threads_in("evaluate", evaluate, folder, monkeypatch, "runtime.threads=3") == 3
    assert torch.get_num_threads() == before
    monkeypatch.undo()
    assert threads_in("evaluate", evaluate, folder, monkeypatch) == before


def test_a_stage_without_torch_is_left_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    assert threads_in("report", report, folder, monkeypatch, "runtime.threads=3") == before


def test_onnxruntime_gets_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[object] = []

    def load(*_: object, threads: int | None = None, **_others: object) -> None:
        given.append(threads)
        raise StageError("seen")

    made = Exported(layers={}, tensors=(), verified_rows=1, relative_error=0.0, oldest_onnxruntime=None)
    monkeypatch.setattr(export, "export_file", lambda *_: made)
    monkeypatch.setattr(export, "check_tokenizer", lambda *_: None)
    monkeypatch.setattr(export, "default_runtime", lambda: SimpleNamespace(load=load))
    shutil.rmtree(folder / "runs/toy/4-export")
    with pytest.raises(StageError, match="seen"):
        run_pipeline(
            load_recipe(folder / "toy.toml", ["runtime.threads=1"]),
            RunFolder(folder / "runs/toy"),
            "export",
            Reporter(quiet=True),
        )
    assert given == [1]


def test_other_threads_make_nothing_out_of_date(finished: Path) -> None:
    recipe = load_recipe(finished / "toy.toml", ["runtime.threads=1"])
    statuses = plan(recipe, RunFolder(finished / "runs/toy"), input_identities(recipe, download=False))
    assert all(status.up_to_date for status in statuses)
