"""The first layers of a fine-tuned network, pruned and exported: they learn from the network with all of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import onnx
import pytest
from safetensors.torch import load_file

from sdp.models.load import load_finetuned
from sdp_onnx.operators.library import has_library
from support.pruned_runs import linear_weights, read, set_options
from support.toy import PREFLIGHT, finetuned_copy, sdp

# The toy has two layers.
ONE = ("prune.layers=1", "prune.sparsity=0", "prune.scope='global'", "prune.mask_updates=3")


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    return finetuned_copy(finished, tmp_path / "project")


def test_one_of_two_layers_is_left(project: Path) -> None:
    run = project / "runs/toy"
    done = sdp("report", "toy.toml", *PREFLIGHT, *set_options(*ONE, "prune.labels=false"), cwd=project, check=True)
    assert "no analysis" in done.stderr
    assert load_finetuned(run / "2-prune").config.num_hidden_layers == 1
    assert linear_weights(run / "2-prune") == linear_weights(run / "1-finetune") / 2
    metrics = read(run / "2-prune/metrics.json")
    assert metrics["kept_layers"] == {"kept": 1, "dense": 2}
    assert metrics["sparsity"] == 0.5
    assert metrics["dev"] > 0.8
    exported = read(run / "4-export/metrics.json")
    assert exported["models"]["exported"] == read(run / "3-evaluate/metrics.json")["models"]["pruned"]
    sizes = read(run / "5-bench/latency.json")
    assert sizes["candidate_bytes"] < 0.8 * sizes["baseline_bytes"]
    model = onnx.load(run / "4-export/model.onnx")
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    shown = sdp(
        "report", "toy.toml", *PREFLIGHT, *set_options(*ONE, "prune.labels=false"), cwd=project, check=True
    ).stdout
    assert any(line.replace("│", " ").split() == ["layers", "2", "1", "1"] for line in shown.splitlines()), shown
    assert "encoder removed or zero" in shown


def test_losses_compare_the_last_layer_of_both_networks(project: Path) -> None:
    """Learning nothing else, stored or not, the first layer comes to give what the second gave."""
    rows = "prune.losses=[{name='squared-error'}]"
    values = []
    for cache in ("4", "0"):
        settings = (*ONE, rows, "prune.labels=false", f"runtime.teacher_cache_gb={cache}", "prune.epochs=8")
        sdp("prune", "toy.toml", "--run-dir", "runs/toy", *set_options(*settings), cwd=project, check=True)
        metrics = read(project / "runs/toy/2-prune/metrics.json")
        errors = [record["squared-error"] for record in metrics["log"] if "squared-error" in record]
        assert errors[-1] < 0.5 * errors[0]
        values.append(errors[-1])
        assert metrics["dev"] > 0.8
        shutil.rmtree(project / "runs/toy/2-prune")
    # The stored states are in half precision.
    assert values[0] == pytest.approx(values[1], rel=0.2)


def test_zeros_are_of_the_layers_that_are_left(project: Path) -> None:
    run = project / "runs/toy"
    zeros = ("prune.sparsity=0.8", "prune.pattern='1x4'", "prune.epochs=1")
    sdp("prune", "toy.toml", *set_options(*ONE, *zeros), cwd=project, check=True)
    assert read(run / "2-prune/metrics.json")["sparsity"] == pytest.approx(0.9, abs=0.005)
    masks = load_file(run / "2-prune/masks.safetensors")
    kept = sum(int(mask.sum()) for mask in masks.values())
    assert kept / sum(mask.numel() for mask in masks.values()) == pytest.approx(0.2, abs=0.01)


@pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")
def test_in_int8_with_fewer_heads_and_rounding_in_training(project: Path) -> None:
    settings = ("prune.pattern='structured'", "prune.criterion='momentum'", "prune.sparsity=0.5", "prune.epochs=1")
    settings += ("export.precision='int8'", "prune.quantization_aware=0.3")
    sdp("export", "toy.toml", *set_options(*ONE, *settings), cwd=project, check=True)
    assert linear_weights(project / "runs/toy/2-prune") <= linear_weights(project / "runs/toy/1-finetune") / 4
    assert read(project / "runs/toy/2-prune/metrics.json")["sparsity"] >= 0.75


def test_pruning_goes_on_from_fewer_layers(project: Path) -> None:
    """A start without zeros fits every pattern; its layers are those of the recipe."""
    shutil.copytree(project / "runs/toy", project / "runs/next")
    sdp("prune", "toy.toml", *set_options(*ONE, "prune.epochs=1"), cwd=project, check=True)
    zeros = ("prune.sparsity=0.5", "prune.pattern='1x4'", "prune.epochs=1", "prune.start='runs/toy/2-prune'")
    command = ["prune", "toy.toml", "--run-dir", "runs/next"]
    sdp(*command, *set_options(*ONE, *zeros), cwd=project, check=True)
    assert read(project / "runs/next/2-prune/metrics.json")["sparsity"] == pytest.approx(0.75, abs=0.005)
    assert load_finetuned(project / "runs/next/2-prune").config.num_hidden_layers == 1

    refused = sdp(*command, *set_options(*zeros, "prune.scope='global'"), cwd=project)
    assert refused.returncode == 2
    assert "it was pruned with layers = 1, and the recipe has all layers" in refused.stderr
    assert "Set prune.layers = 1." in refused.stderr


@pytest.mark.parametrize("command", ["check", "prune"])
def test_as_many_layers_as_the_model_has_are_refused_before_anything_runs(command: str, project: Path) -> None:
    shutil.rmtree(project / "runs")
    done = sdp(command, "toy.toml", *set_options("prune.layers=2"), cwd=project)
    assert done.returncode == 2
    assert "prune.layers = 2 removes nothing: the model has 2 layers" in done.stderr
    assert not (project / "runs/toy/1-finetune").exists()


def test_the_forecast_is_of_the_layers_that_are_left(project: Path) -> None:
    dense, short = (
        json.loads(sdp("check", "toy.toml", "--json", *set_options(*settings), cwd=project, check=True).stdout)
        for settings in (("prune.sparsity=0", "prune.scope='global'"), ONE)
    )
    encoders = [next(part for part in plan["parts"] if part["name"] == "encoder") for plan in (dense, short)]
    assert encoders[1]["parameters"] == encoders[0]["parameters"]
    assert encoders[1]["remaining"] == encoders[0]["parameters"] / 2
    assert encoders[1]["bytes_after"] == encoders[0]["bytes_after"] / 2
    found = [own["sentence"] for own in short["findings"] if own["subject"] == "prune.layers"]
    assert found == ["the first 1 of 2 layers are kept"]
