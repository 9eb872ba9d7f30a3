"""benchmarks/costs/step_time.py on a tiny model: every arm runs, and the table can be printed again."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

import step_time


def run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(step_time.app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_a_measurement_and_a_table(toy_model: Path, tmp_path: Path) -> None:
    output = tmp_path / "results" / "step_time.json"
    options = ("--model", toy_model, "--tokens", "8", "--tokens", "12", "--rounds", "3", "--threads", "1")
    printed = run("run", *options, "--output", output)
    assert run("table", "--output", output) == printed
    results = json.loads(output.read_text())["results"]
    arms = [(result["losses"], result["teacher"]) for result in results if result["tokens"] == 8]
    assert arms[0] == ("plain fine-tuning", "none")
    assert ("hidden + kld", "live") in arms
    assert ("kld + cross-correlation", "cached") in arms
    assert len(results) == 2 * len(arms) == 2 * len(set(arms))
    for result in results:
        assert 0 < result["ratio"]["low"] <= result["ratio"]["value"] <= result["ratio"]["high"]
        assert (result["ratio"]["value"] == 1) == (result["losses"] == "plain fine-tuning")
    assert printed.count("\n") == 2 + len(arms)
