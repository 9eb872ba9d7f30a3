"""verify, push and inspect take a run folder, and where nothing was shipped they print why."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from sdp.cli.main import app


def ask(command: str, folder: str) -> Result:
    return CliRunner().invoke(app, [command, folder, *(["me/model"] if command == "push" else [])])


@pytest.fixture
def run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose gate failed, so that nothing was shipped."""
    folder = tmp_path / "my run"
    for name in ("4-export", "6-gate"):
        shutil.copytree(finished / "runs/toy" / name, folder / name)
    shutil.copy(finished / "runs/toy/run.json", folder)
    verdict = json.loads((folder / "6-gate/verdict.json").read_text())
    verdict["verdict"] = verdict["checks"][1]["outcome"] = "fail"
    (folder / "6-gate/verdict.json").write_text(json.dumps(verdict))
    monkeypatch.chdir(tmp_path)
    return folder


@pytest.mark.parametrize("command", ["verify", "push"])
def test_the_gates_reason_is_printed_with_what_to_do(command: str, run: Path) -> None:
    done = ask(command, "my run")
    assert done.exit_code == 2
    assert f"{run}: nothing was shipped: the gate's verdict is fail: size against the dense file is " in done.stderr
    assert f"then: sdp ship '{run}'" in done.stderr
    assert (run / "6-gate/summary.md").is_file()
    for verdict, words in (
        ({"verdict": "pass", "exit_code": 0, "checks": []}, "the gate passed, and the folder was not made"),
        (
            {"verdict": "inconclusive", "exit_code": 3, "checks": []},
            "the gate's verdict is inconclusive: nothing was checked",
        ),
    ):
        (run / "6-gate/verdict.json").write_text(json.dumps(verdict))
        assert words in ask(command, "my run").stderr
    shutil.rmtree(run / "6-gate")
    assert "the gate has not judged this run yet" in ask(command, "my run").stderr


def test_inspect_takes_what_was_shipped_or_else_what_was_exported(run: Path, finished: Path) -> None:
    done = ask("inspect", "my run")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{run}/4-export/model.onnx: ")
    assert "nothing was shipped: the gate's verdict is fail: size" in done.stdout
    for name in ("6-gate", "8-ship"):
        shutil.copytree(finished / "runs/toy" / name, run / name, dirs_exist_ok=True)
    shown = ask("inspect", "my run").stdout
    assert shown.startswith(f"{run}/8-ship/model.onnx: ")
    assert "nothing was shipped" not in shown
    assert ask("verify", "my run").exit_code == ask("push", "my run").exit_code == 0
    of_folder = CliRunner().invoke(app, ["inspect", "my run/8-ship", "--json"])
    assert json.loads(of_folder.stdout)["file"] == f"{run}/8-ship/model.onnx"
    shutil.rmtree(run / "8-ship")
    shutil.rmtree(run / "4-export")
    assert f"Export it: sdp export '{run}'" in ask("inspect", "my run").stderr
    (run / "run.json").unlink()
    assert "the folder holds no model.onnx" in ask("inspect", "my run").stderr
