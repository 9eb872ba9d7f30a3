"""The analysis of a real run through the real command line, against what the saved models say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from sdp.pipeline.run_folder import RunFolder
from sdp.pruning.analysis.probe import sample_rows
from sdp.recipe import load_recipe
from sdp.report.page import render_page
from support.toy import sdp, toy_rows

HEADING = "What pruning did to the network"


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def stage(finished: Path) -> Path:
    return finished / "runs" / "toy" / "2-prune"


@pytest.fixture(scope="module")
def analysis(stage: Path) -> dict[str, Any]:
    return read(stage / "analysis.json")


def said_by(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the last layer's tokens, and logits, of every dev row, one at a time."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows, logits = [], []
    with torch.no_grad():
        for text, _ in toy_rows(60, seed=2):
            output = model(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
            rows.append(output.hidden_states[-1][0].double().mean(dim=0).numpy())
            logits.append(output.logits[0].double().numpy())
    return np.stack(rows), np.stack(logits)


LABELS = np.array([int(label == "pos") for _, label in toy_rows(60, seed=2)])
# So few for so short a run.
CHOSEN = sample_rows(np.arange(60), 32)


def separability(rows: np.ndarray, labels: np.ndarray) -> float:
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    distances = 1 - unit @ unit.T
    chosen = [np.flatnonzero(labels), np.flatnonzero(1 - labels)]
    blocks = [[distances[np.ix_(one, other)].mean() for other in chosen] for one in chosen]
    return 1 - np.mean([blocks[0][0], blocks[1][1]]) / np.mean(blocks)


def check(
    measures: dict[str, Any],
    student: tuple[np.ndarray, np.ndarray],
    teacher: tuple[np.ndarray, np.ndarray],
    rows: np.ndarray,
) -> None:
    (z_s, y_s), (z_t, y_t) = ([part[rows] for part in outputs] for outputs in (student, teacher))
    assert measures["metric"] == pytest.approx(np.mean(y_s.argmax(1) == LABELS[rows]))
    assert measures["agreement"] == pytest.approx(np.mean(y_s.argmax(1) == y_t.argmax(1)))
    assert measures["separability"] == pytest.approx(separability(z_s, LABELS[rows]), abs=1e-4)
    snr = 10 * np.log10(np.sum(z_t**2) / np.sum((z_t - z_s) ** 2))
    assert measures["output_snr_db"] == pytest.approx(snr, abs=1e-2)
    lengths = np.linalg.norm(z_s, axis=1) * np.linalg.norm(z_t, axis=1)
    assert measures["cosine"] == pytest.approx(np.mean(np.sum(z_s * z_t, axis=1) / lengths), abs=1e-4)


def test_the_last_look_is_what_the_saved_models_say(stage: Path, analysis: dict[str, Any]) -> None:
    teacher = said_by(stage.parent / "1-finetune")
    check(analysis["final"], said_by(stage), teacher, CHOSEN)
    assert analysis["final"]["step"] == 40
    assert analysis["teacher"]["metric"] == pytest.approx(np.mean(teacher[1].argmax(1)[CHOSEN] == LABELS[CHOSEN]))
    assert analysis["teacher"]["separability"] == pytest.approx(
        separability(teacher[0][CHOSEN], LABELS[CHOSEN]), abs=1e-4
    )


def test_a_run_that_ends_with_a_mask_update_ends_with_its_look(finished: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(finished, project, symlinks=True)
    sdp(
        "prune",
        "toy.toml",
        "--set",
        "prune.ramp=1.0",
        "--set",
        "analysis.between=0",
        "--set",
        "analysis.rows=999",
        cwd=project,
        check=True,
    )
    folder = project / "runs/toy/2-prune"
    content = read(folder / "analysis.json")
    assert content["updates"][-1]["step"] == 40
    assert [look["event"] for look in content["curve"]] == ["before", "after"] * 5
    check(content["updates"][-1]["after"], said_by(folder), said_by(folder.parent / "1-finetune"), np.arange(60))
    assert content["updates"][-1]["recovery"]["area"] is None


def test_there_is_a_look_before_and_after_every_update_and_between(stage: Path, analysis: dict[str, Any]) -> None:
    updates = [json.loads(line) for line in (stage / "pruning.jsonl").read_text().splitlines()]
    named = ("step", "wanted", "sparsity")
    assert [[update[name] for name in named] for update in analysis["updates"]] == [
        [update[name] for name in named] for update in updates
    ]
    steps = [update["step"] for update in updates]
    looks = [(look["step"], look["event"]) for look in analysis["curve"]]
    for event in ("before", "after"):
        assert [step for step, name in looks if name == event] == steps
    between = [step for step, name in looks if name == "between"]
    assert len(between) == 4 + 5
    assert between[-1] == 40
    assert looks == sorted(looks, key=lambda look: look[0])
    for update in analysis["updates"]:
        for event in ("before", "after"):
            (look,) = [one for one in analysis["curve"] if (one["step"], one["event"]) == (update["step"], event)]
            assert {name: look[name] for name in update[event]} == update[event]
    assert analysis["rows"] == 32
    assert 0 < analysis["seconds"] < read(stage / "stage.json")["seconds"]


def test_weights_are_reported_layer_by_layer(stage: Path, analysis: dict[str, Any]) -> None:
    masks = load_file(stage / "masks.safetensors")
    for update in analysis["updates"]:
        assert update["weights"]["layers"].keys() == masks.keys()
        assert update["weights"]["snr_db"] > 0, "what magnitude keeps is more than what it prunes"
        hoyer = [layer["hoyer"] for layer in update["weights"]["layers"].values()]
        assert 0 < min(hoyer) <= max(hoyer) < 1
    # Each update takes the smallest from the weights of the next: what is left is ever less sparse.
    assert analysis["updates"][0]["weights"]["hoyer"] > analysis["updates"][-1]["weights"]["hoyer"]


def test_metrics_say_it_in_short_and_hold_no_curve_of_it(stage: Path, analysis: dict[str, Any]) -> None:
    metrics = read(stage / "metrics.json")
    assert metrics["analysis"] == {name: analysis[name] for name in ("rows", "teacher", "final", "recovery", "seconds")}
    assert metrics["analysis"]["recovery"]["updates"] == 5
    assert not any("analysis" in record for record in metrics["log"])


def test_looking_changes_no_weight_and_can_be_turned_off(finished: Path, stage: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(finished, project, symlinks=True)
    sdp("prune", "toy.toml", "--set", "analysis.rows=0", cwd=project, check=True)
    without = project / "runs/toy/2-prune"
    assert not (without / "analysis.json").exists()
    assert "analysis" not in read(without / "metrics.json")
    for name in ("model.safetensors", "masks.safetensors"):
        assert (without / name).read_bytes() == (stage / name).read_bytes()
    log = [
        [record for record in read(folder / "metrics.json")["log"] if "loss" in record] for folder in (without, stage)
    ]
    assert log[0] == log[1]


def test_the_report_shows_it_where_there_is_one(finished: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(finished, project, symlinks=True)
    page = (project / "runs/toy/report.html").read_text()
    assert page.count(HEADING) == 1
    for title in ("drops and recovery", "likeness to the teacher", "class separability", "signal to noise", "Hoyer"):
        assert title in page
    (project / "runs/toy/2-prune/analysis.json").unlink()
    without = render_page(load_recipe(project / "toy.toml"), RunFolder(project / "runs/toy"))
    assert HEADING not in without
    assert without.count("<svg") == page.count("<svg") - 6
