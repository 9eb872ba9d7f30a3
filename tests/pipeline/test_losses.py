"""Every loss through the real command line: what the log says, what is stored, and layers that are not there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sdp.recipe.losses import LOSSES
from support.toy import sdp, toy_rows

STORED = '[{name="kld"}, {name="cosine", representation="pooled"}, {name="cross-correlation", layers=[1, -1]}]'
TOKENS = '[{name="hidden"}, {name="cosine", representation="tokens"}, {name="align-cosine"}, {name="align-frobenius"}]'


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A project that is fine-tuned."""
    folder = tmp_path / "project"
    shutil.copytree(finished, folder, symlinks=True)
    shutil.rmtree(folder / "runs/toy/cache")
    return folder


def prune(project: Path, losses: str, *more: str) -> list[dict]:
    options = ("--set", f"prune.losses={losses}", "--set", "prune.epochs=1", *more)
    # Where the teacher's outputs are stored makes no pruning stale.
    shutil.rmtree(project / "runs/toy/2-prune", ignore_errors=True)
    sdp("prune", "toy.toml", *options, cwd=project, check=True)
    log = json.loads((project / "runs/toy/2-prune/metrics.json").read_text())["log"]
    return [record for record in log if "loss" in record]


def test_stored_and_live_losses_are_logged_and_add_up(project: Path) -> None:
    for losses, cache_gb in ((STORED, 4), (TOKENS, 0), (TOKENS, 4)):
        records = prune(project, losses, "--set", f"runtime.teacher_cache_gb={cache_gb}")
        names = {name for name in LOSSES if f'"{name}"' in losses}
        assert len(records) == 10
        for record in records:
            assert names <= record.keys()
            assert not (LOSSES.keys() - names) & record.keys()
            share = 0.5 if "kld" in names else 1.0
            added = sum(record[name] for name in names - {"kld"}) + 0.5 * record.get("kld", 0.0)
            assert record["loss"] == pytest.approx(share * record["task"] + added, rel=1e-4)
        stored = sorted(path.stem.split("-", 3)[3] for path in project.glob("runs/toy/cache/teacher-*"))
        tokens = ["tokens-1", "tokens-2"] * (losses == TOKENS and cache_gb > 0)
        assert stored == ["logits", "mean-1", "mean-2", "pooled", *tokens], "the live teacher stores nothing"


def test_without_labels_the_head_and_the_embeddings_stay_as_they_are(project: Path) -> None:
    losses = '[{name="squared-error"}, {name="cross-correlation", representation="tokens"}]'
    options = {"labels": "false", "freeze_head": "true", "dropout": "false", "decay": "0.4", "betas": "[0.9, 0.9]"}
    settings = [part for key, value in options.items() for part in ("--set", f"prune.{key}={value}")]
    first = prune(project, losses, *settings, "--set", "prune.steps=12")
    assert first[-1]["step"] == 12
    # One step of warm-up from 0, six at the full rate, and a fall to 0 over five.
    rates = [record["learning_rate"] for record in first]
    assert rates == pytest.approx([0.0, *(3e-3 * min(1.0, (13 - step) / 5) for step in range(2, 13))], rel=1e-6)
    run = project / "runs/toy"
    dense, pruned = (load_file(run / stage / "model.safetensors") for stage in ("1-finetune", "2-prune"))
    head = {name for name in dense if name.startswith(("classifier", "bert.pooler"))}
    assert len(head) == 4
    frozen = {*head, "bert.embeddings.word_embeddings.weight"}
    assert {name for name in dense if torch.equal(dense[name], pruned[name])} == frozen


@pytest.mark.parametrize("labels", ["true", "false"])
def test_rows_without_labels_are_learned_from(labels: str, project: Path) -> None:
    (project / "texts").mkdir()
    lines = [text for text, _ in toy_rows(90, seed=7)]
    (project / "texts/a.txt").write_text("\n".join(lines))
    losses = '[{name="squared-error"}, {name="kld"}]'
    more = ["--set", f"prune.labels={labels}", "--set", 'data.unlabeled=["texts/*.txt"]', "--set", "prune.steps=24"]
    more += ["--set", "prune.unlabeled_share=0.75", "--set", "prune.epochs=1", "--set", f"prune.losses={losses}"]
    records = prune(project, losses, *more)
    plan = json.loads(sdp("check", "toy.toml", *more, "--json", cwd=project, check=True).stdout)
    (finding,) = [finding for finding in plan["findings"] if finding["subject"] == "data.unlabeled"]
    assert finding["sentence"].startswith("90 rows without labels")
    # Three of four batches have no label: their loss of the labels is 0, and that of the teacher is not.
    assert sum(record["task"] == 0 for record in records) == pytest.approx(18, abs=4)
    assert all(record["squared-error"] > 0 for record in records[1:])
    assert all(record["kld"] > 0 for record in records[1:])
    made = json.loads(sdp("check", "toy.toml", "--set", "prune.augment=40", "--json", cwd=project, check=True).stdout)
    assert any(finding["sentence"].startswith("40 rows without labels") for finding in made["findings"])
    # Another text is a reason to prune again, and none to fine-tune.
    (project / "texts/a.txt").write_text("\n".join(lines[1:]))
    plan = json.loads(sdp("check", "toy.toml", *more, "--json", cwd=project, check=True).stdout)
    assert plan["stages"][0]["up_to_date"]
    assert "unlabeled" in plan["stages"][1]["reason"]


def test_a_layer_that_is_not_there_is_one_line(project: Path) -> None:
    done = sdp("prune", "toy.toml", "--set", 'prune.losses=[{name="hidden", layers=[1, 3]}]', cwd=project)
    assert done.returncode == 2
    assert "the model has 2 layers, and the loss hidden asks for layer 3" in done.stderr
    assert "Traceback" not in done.stderr
