"""What is printed of a run can be found from any folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sdp.cli.main import app
from sdp.pipeline.run_folder import RunFolder
from sdp.report.summary import summary_lines


def printed(*arguments: str) -> str:
    return CliRunner().invoke(app, list(arguments)).output


def test_a_run_folder_is_printed_from_the_root(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished)
    run = finished / "runs" / "toy"
    assert f"it runs in {run}\n" in printed("check", "toy.toml")
    assert json.loads(printed("check", "toy.toml", "--json"))["run_folder"] == str(run)
    assert f"it runs in {finished}/elsewhere\n" in printed("check", "toy.toml", "--run-dir", "runs/../elsewhere")
    assert summary_lines(RunFolder(Path("runs/toy")))[-2:] == [f"report: {run}/report.html", f"shipped: {run}/8-ship"]
    assert f"{run} against {run}: " in printed("compare", "runs/toy", "runs/toy")
    assert printed("export", "model").startswith(f"error: {finished}/model: no run folder")
    assert printed("export", "--runs", "none").startswith(f"error: {finished}/none: no run yet")
    monkeypatch.chdir(tmp_path)
    assert f"sdp export {tmp_path}/empty" in printed_of_an_empty_run(tmp_path)


def printed_of_an_empty_run(folder: Path) -> str:
    (folder / "empty").mkdir()
    (folder / "empty" / "run.json").write_text('{"recipe": "x", "file": "x.toml", "overrides": []}')
    return printed("compare", "empty", "empty")
