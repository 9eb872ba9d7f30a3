"""benchmarks/studies/drops.py: what a finished run lost, stored and in the table."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import drops


def test_a_finished_run_is_stored_and_in_the_table(finished: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    (run,) = (finished / "runs").iterdir()
    for seed in (0, 1):
        command = ["store", f"toy-90-seed{seed}", str(run), "--results", str(results)]
        assert CliRunner().invoke(drops.app, command).exit_code == 0
    stored = json.loads((results / "toy-90-seed1.json").read_text("utf-8"))
    exported = json.loads((run / "4-export" / "metrics.json").read_text("utf-8"))
    assert stored["exported"]["drop"] == exported["drop"]
    assert stored["sparsity"] > 0
    printed = CliRunner().invoke(drops.app, ["table", "--results", str(results)]).output
    shown = CliRunner().invoke(drops.app, ["against", "toy-90", "toy-90", "--results", str(results)]).output
    assert shown == "toy-90 against toy-90, 2 seeds: +0.00 points [+0.00, +0.00]\n"
    right = drops._rights(results, "toy-90")
    assert right.keys() == {"0", "1"}
    assert right["1"].mean() == pytest.approx(exported["models"]["exported"]["value"])
    missing = CliRunner().invoke(drops.app, ["against", "toy-90", "other", "--results", str(results)])
    assert missing.exit_code == 2
    line = printed.splitlines()[-1]
    assert line.startswith("| toy-90 |")
    assert line.endswith(f"| {100 * exported['drop']['value']:.2f} |")


def test_a_name_without_a_seed_is_an_error(finished: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(drops.app, ["store", "toy", str(finished), "--results", str(tmp_path)])
    assert done.exit_code == 2
    assert "-seedN" in done.output
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_exported_is_an_error(finished: Path, tmp_path: Path) -> None:
    (run,) = (finished / "runs").iterdir()
    part = tmp_path / "part"
    part.mkdir()
    (part / "run.json").write_text(
        json.dumps({**json.loads((run / "run.json").read_text("utf-8")), "file": str(next(finished.glob("*.toml")))})
    )
    done = CliRunner().invoke(drops.app, ["store", "toy-seed0", str(part), "--results", str(tmp_path / "results")])
    assert done.exit_code == 2
    assert "bring it up" in " ".join(done.output.replace("│", " ").split())
