"""Files of a run are for whom the umask says, also those that safetensors writes."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from sdp.pipeline.files import follow_umask, write_arrays
from sdp.pipeline.run_folder import RunFolder


@pytest.fixture(params=[0o022, 0o002, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_every_file_of_a_finished_run_follows_the_umask(finished: Path) -> None:
    plain = finished / "runs/toy/run.json"
    files = [path for path in (finished / "runs").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".json", ".safetensors", ".onnx", ".html", ".so", ".md", ".csv"}
    wrong = [path for path in files if mode(path) & 0o666 != mode(plain) & 0o666]
    assert [str(path) for path in wrong] == []


def test_a_finished_stage_follows_it(umask: int, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    partial = run.begin("1-finetune", "f")
    (partial / "deep").mkdir()
    save_file({"x": np.zeros(2)}, partial / "deep" / "model.safetensors")
    (partial / "library.so").write_text("")
    (partial / "library.so").chmod(0o755)
    (partial / "read-only.json").write_text("{}")
    (partial / "read-only.json").chmod(0o444)
    (partial / "elsewhere").symlink_to(Path(__file__))
    theirs = mode(Path(__file__))
    run.finish("1-finetune", {"outputs": {}})
    stage = run.stage("1-finetune")
    for name in ("deep/model.safetensors", "read-only.json", "stage.json"):
        assert mode(stage / name) == 0o666 & ~umask
    assert mode(stage / "library.so") == 0o777 & ~umask
    assert mode(stage / "deep") == 0o777 & ~umask
    assert mode(Path(__file__)) == theirs, "what a link leads to is not the run's"


def test_cached_arrays_follow_it(umask: int, tmp_path: Path) -> None:
    write_arrays(tmp_path / "x.safetensors", {"x": np.zeros(2)})
    assert mode(tmp_path / "x.safetensors") == 0o666 & ~umask


def test_a_file_system_without_permissions_fails_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_text("")
    (tmp_path / "x").chmod(0o600)

    def refuse(*given: object, **more: object) -> None:
        raise PermissionError("no")

    monkeypatch.setattr(Path, "chmod", refuse)
    follow_umask(tmp_path)
    assert mode(tmp_path / "x") == 0o600
