"""benchmarks/costs/training_precision.py on a tiny model: every variant runs, and the table can be printed again."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from typer.testing import CliRunner

import training_precision
from sdp.models.source import ModelFolder


def run(*arguments: str | Path) -> str:
    done = CliRunner().invoke(training_precision.app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.stderr
    return done.stdout


def test_a_measurement_and_a_table(toy_model: Path, tmp_path: Path) -> None:
    output = tmp_path / "results" / "training_precision.json"
    options = ("--model", toy_model, "--tokens", "8", "--rounds", "3", "--threads", "1")
    printed = run("run", *options, "--output", output)
    assert run("table", "--output", output) == printed
    results = json.loads(output.read_text())["results"]
    assert [result["step"] for result in results] == ["bf16", "bf16, fused attention", "fp32"]
    assert results[0]["ratio"]["value"] == 1
    assert printed.count("\n") == 2 + len(results)


def test_a_variant_computes_in_its_precision(toy_model: Path, tmp_path: Path) -> None:
    batch = {
        "input_ids": torch.randint(5, 20, (4, 8)),
        "attention_mask": torch.ones(4, 8, dtype=torch.long),
        "labels": torch.zeros(4, dtype=torch.long),
        "index": torch.arange(4),
    }
    seen = []
    for arm in training_precision.arms(ModelFolder("toy", toy_model), tmp_path):
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], record_shapes=True) as profile:
            arm.step(batch)
        names = {event.key for event in profile.key_averages()}
        casts = sum(event.count for event in profile.key_averages() if event.key == "aten::_to_copy")
        seen.append((any("flash" in name for name in names), casts))
    assert [fused for fused, _ in seen] == [False, True, True]
    assert seen[0][1] > 2 * seen[2][1]
