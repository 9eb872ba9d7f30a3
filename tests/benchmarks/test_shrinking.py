"""benchmarks/studies/shrinking.py: a finished run's network, shrunk, scored and in the table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import shrinking
from sdp_onnx.operators.library import has_library


@pytest.mark.skipif(not has_library(), reason="no operator library: there was no C++ compiler")
def test_files_are_scored_and_in_the_table(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shrinking, "BLOCKS", (0.5,))
    monkeypatch.setattr(shrinking, "FLOATS", (0.6,))
    (run,) = (finished / "runs").iterdir()
    result = tmp_path / "shrinking.json"
    done = CliRunner().invoke(shrinking.app, ["run", str(run), "--rows", "40", "--result", str(result)])
    assert done.exit_code == 0, done.output
    content = json.loads(result.read_text("utf-8"))
    stored = json.loads((run / "3-evaluate/metrics.json").read_text("utf-8"))
    assert content["dense"] == pytest.approx(stored["models"]["dense"]["value"])
    assert [(own["precision"], own["sparsity"]) for own in content["entries"]] == [("int8", 0.5), ("fp32", 0.6)]
    for own in content["entries"]:
        assert own["score"]["value"] == pytest.approx(content["dense"] - own["score"]["drop"]["value"])
    printed = CliRunner().invoke(shrinking.app, ["table", "--result", str(result)]).output
    assert "| int8, 50% 1x4 |" in printed


def test_a_run_that_is_not_fine_tuned_is_an_error(finished: Path, tmp_path: Path) -> None:
    (run,) = (finished / "runs").iterdir()
    part = tmp_path / "part"
    part.mkdir()
    (part / "run.json").write_text(
        json.dumps({**json.loads((run / "run.json").read_text("utf-8")), "file": str(next(finished.glob("*.toml")))})
    )
    done = CliRunner().invoke(shrinking.app, ["run", str(part), "--result", str(tmp_path / "none.json")])
    assert done.exit_code == 2
    assert "is not fine-tuned" in " ".join(done.output.replace("│", " ").split())
