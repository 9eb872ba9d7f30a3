"""benchmarks/studies/teacher_correlation.py: closed forms of its figures, and a real run folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import teacher_correlation


def test_features_that_all_say_the_same() -> None:
    features = torch.randn(64, 1, generator=torch.Generator().manual_seed(0)).expand(64, 6) * torch.arange(1.0, 7)
    found = teacher_correlation.correlation(features)
    assert found["effective_rank"] == pytest.approx(1.0, abs=1e-3)
    # Every C_ij is 1: lambda * d (d - 1) / d.
    assert found["loss"] == pytest.approx(teacher_correlation.OFF_DIAGONAL * 5, rel=1e-3)


def test_features_that_are_uncorrelated() -> None:
    features = torch.randn(32 * 400, 8, generator=torch.Generator().manual_seed(0))
    found = teacher_correlation.correlation(features)
    assert found["effective_rank"] == pytest.approx(8.0, rel=0.01)
    assert found["loss"] == pytest.approx(found["floor"], rel=0.05)


def test_a_run(finished: Path, tmp_path: Path) -> None:
    output = tmp_path / "found.json"
    done = CliRunner().invoke(teacher_correlation.app, [str(finished / "runs/toy"), "--output", str(output)])
    assert done.exit_code == 0, done.output
    before, after = json.loads(output.read_text())
    assert (before["encoder"], after["encoder"], after["rows"]) == ("pretrained", "fine-tuned", 60)
    # Two classes: what is learned draws the features together.
    assert 1 <= after["effective_rank"] < before["effective_rank"] <= 32
