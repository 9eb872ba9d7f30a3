"""Every loss through the real command line: what the log says, what is stored, and layers that are not there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sdp.recipe.losses import LOSSES
from support.toy import sdp

STORED = '[{name="kld"}, {name="cosine", representation="pooled"}, {name="cross-correlation", layers=[1, -1]}]'
LIVE = '[{name="hidden"}, {name="cosine", representation="tokens"}, {name="align-cosine"}, {name="align-frobenius"}]'


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A project that is fine-tuned."""
    folder = tmp_path / "project"
    shutil.copytree(finished, folder, symlinks=True)
    shutil.rmtree(folder / "runs/toy/cache")
    return folder


def prune(project: Path, losses: str) -> list[dict]:
    options = ("--set", f"prune.losses={losses}", "--set", "prune.epochs=1")
    sdp("prune", "toy.toml", *options, cwd=project, check=True)
    log = json.loads((project / "runs/toy/2-prune/metrics.json").read_text())["log"]
    return [record for record in log if "loss" in record]


def test_stored_and_live_losses_are_logged_and_add_up(project: Path) -> None:
    for losses in (STORED, LIVE):
        records = prune(project, losses)
        names = {name for name in LOSSES if f'"{name}"' in losses}
        assert len(records) == 10
        for record in records:
            assert names <= record.keys()
            assert not (LOSSES.keys() - names) & record.keys()
            share = 0.5 if "kld" in names else 1.0
            added = sum(record[name] for name in names - {"kld"}) + 0.5 * record.get("kld", 0.0)
            assert record["loss"] == pytest.approx(share * record["task"] + added, rel=1e-4)
        stored = sorted(path.stem.split("-", 3)[3] for path in project.glob("runs/toy/cache/teacher-*"))
        assert stored == ["logits", "mean-1", "mean-2", "pooled"], "the live teacher stores nothing"


def test_a_layer_that_is_not_there_is_one_line(project: Path) -> None:
    done = sdp("prune", "toy.toml", "--set", 'prune.losses=[{name="hidden", layers=[1, 3]}]', cwd=project)
    assert done.returncode == 2
    assert "the model has 2 layers, and the loss hidden asks for layer 3" in done.stderr
    assert "Traceback" not in done.stderr
