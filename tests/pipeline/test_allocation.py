"""Sparsities by matrix through the command line: chosen once, stored, kept by masks, shown."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sdp.data.batches import Collator
from sdp.models.layers import prunable_weights
from sdp.models.load import load_finetuned
from sdp.models.tokenizer import saved_tokenizer
from sdp.pipeline.progress import Reporter
from sdp.pipeline.run_folder import RunFolder
from sdp.pipeline.stages import PRUNE, REPORT, resolved_settings
from sdp.pruning import allocated
from sdp.pruning.allocation import sparsity_levels
from sdp.pruning.masks import kept_count
from sdp.pruning.measured_times import MeasuredTimes, measure_times
from sdp.recipe import load_recipe
from sdp.training.inputs import finetuned_data, tokenize_split
from sdp_onnx.operators import library
from sdp_onnx.operators.library import has_library
from support.toy import ONE_THREAD, finetuned_copy, sdp

NEEDS_LIBRARY = pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A project that is fine-tuned and not pruned."""
    return finetuned_copy(finished, tmp_path / "project")


def overrides(**settings: object) -> list[str]:
    """Overrides of [prune], with sparsities by matrix and no teacher."""
    chosen = {"scope": "allocated", "epochs": 2, **settings}
    texts = [f"prune.{name}={json.dumps(value)}" for name, value in chosen.items()]
    return [word for text in (*texts, 'prune.losses=[{name="none"}]') for word in ("--set", text)]


# In place of the toy's sparsity, and what the operators are made for.
FASTER = [*overrides(sparsity=0.9, pattern="1x4", target_speedup=3.0), "--set", 'export.precision="int8"']


def stored(folder: Path, stage: str = "2-prune") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "runs/toy" / stage / "allocation.json").read_text())
    return content


def check_masks(folder: Path, block: int = 1) -> float:
    """Each mask has its matrix's sparsity exactly, and the weights its zeros; returns the share of zeros of all."""
    stage, layers = folder / "runs/toy/2-prune", stored(folder)["layers"]
    masks, weights = load_file(stage / "masks.safetensors"), load_file(stage / "model.safetensors")
    assert masks.keys() == layers.keys()
    for name, mask in masks.items():
        assert int(mask.sum()) == block * kept_count(mask.numel() // block, layers[name]["sparsity"])
        assert not weights[name][~mask.bool()].any()
    return 1 - sum(int(mask.sum()) for mask in masks.values()) / sum(mask.numel() for mask in masks.values())


def test_each_matrix_has_a_sparsity_of_its_own_and_the_report_shows_it(project: Path) -> None:
    findings = json.loads(sdp("check", "toy.toml", *overrides(), "--json", cwd=project, check=True).stdout)["findings"]
    (own,) = [finding["sentence"] for finding in findings if finding["subject"] == "prune.scope"]
    assert own.startswith("each matrix gets a sparsity of its own, by what 512 rows show")
    done = sdp("run", "toy.toml", *overrides(), cwd=project, check=True)
    layers = stored(project)["layers"]
    assert len({layer["sparsity"] for layer in layers.values()}) > 1
    assert "times" not in stored(project)
    share = check_masks(project)
    assert 0.799 < share < 0.81
    assert f"zeros in 12 matrices, {share:.1%} in all" in done.stderr
    records = [json.loads(line) for line in (project / "runs/toy/2-prune/pruning.jsonl").read_text().splitlines()]
    assert [record["sparsity"] for record in records] == pytest.approx([r["wanted"] for r in records], abs=0.01)
    page = (project / "runs/toy/report.html").read_text()
    assert "Sparsity by matrix" in page
    assert f"12 matrices, {share:.1%}".replace("%", "\N{NO-BREAK SPACE}%") in page


def test_without_training_each_layer_is_refitted_at_its_own_sparsity(project: Path) -> None:
    sdp("prune", "toy.toml", *overrides(epochs=0, criterion="momentum", pattern="1x4"), cwd=project, check=True)
    assert 0.799 < check_masks(project, block=4) < 0.81
    metrics = json.loads((project / "runs/toy/2-prune/metrics.json").read_text())
    assert metrics["log"][0]["wanted"] == metrics["sparsity"]


def test_no_matrix_has_more_zeros_than_the_cap(project: Path) -> None:
    sdp(
        "prune",
        "toy.toml",
        *overrides(epochs=0, criterion="momentum", max_layer_sparsity=0.81),
        cwd=project,
        check=True,
    )
    assert max(layer["sparsity"] for layer in stored(project)["layers"].values()) == 0.81
    check_masks(project)


def fixed_times(
    recipe: object, model: torch.nn.Module, runs: Mapping[str, int], levels: list[float], *_: object
) -> Any:
    """Times of another machine."""
    by_level = tuple(0.1 + 0.9 * (1 - level) for level in levels)
    return MeasuredTimes("batch 1, task lengths", 2, 36.0, 3.0, dict.fromkeys(runs, by_level))


def test_a_target_is_met_by_the_measured_times(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocated, "measure_times", fixed_times)
    refused = sdp("prune", "toy.toml", *FASTER, "--set", "prune.target_speedup=9.0", cwd=project)
    assert refused.returncode == 2
    assert "prune.target_speedup = 9: cannot be reached" in refused.stderr
    assert "the file is 8.3" in refused.stderr
    assert "Set at most 8.3" in refused.stderr
    assert "Traceback" not in refused.stderr

    done = sdp("prune", "toy.toml", *FASTER, cwd=project, check=True)
    content = stored(project)
    assert 3.0 <= content["times"]["expected_speedup"] < 3.05
    spent = sum(layer["ms"] for layer in content["layers"].values())
    assert 36 / (3 + spent) == pytest.approx(content["times"]["expected_speedup"])
    assert "times as fast as the dense file's 36.0 ms (batch 1, task lengths, 2 threads)" in done.stderr
    check_masks(project, block=4)


@NEEDS_LIBRARY
def test_times_of_a_real_network(project: Path) -> None:
    words = [word for word in (*FASTER, "prune.target_speedup=2.0") if word != "--set"]
    recipe = load_recipe(project / "toy.toml", words)
    source = project / "runs/toy/1-finetune"
    tokenizer, model = saved_tokenizer(source), load_finetuned(source)
    rows = tokenize_split(finetuned_data(recipe, RunFolder(project / "runs/toy")).train, tokenizer, recipe)
    levels = sparsity_levels(1.0)
    runs = dict.fromkeys(prunable_weights(model), 1)
    measured = measure_times(
        recipe, model, runs, levels, rows, Collator(tokenizer), tokenizer.inputs, Reporter(quiet=True)
    )
    assert (measured.case, measured.threads) == ("batch 1, task lengths", 1)
    assert measured.dense > 0
    assert measured.rest >= 0
    assert measured.layers.keys() == runs.keys()
    for own in measured.layers.values():
        assert len(own) == len(levels)
        assert list(own) == sorted(own, reverse=True)
        # Dense products take the same time whatever the zeros.
        assert own[0] == own[2] > 0


def test_a_killed_run_keeps_its_allocation(
    project: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*overrides(epochs=6, criterion="momentum"), "--set", "runtime.checkpoint_seconds=0"]
    whole = finetuned_copy(finished, tmp_path / "whole")
    sdp("prune", "toy.toml", *options, cwd=whole, check=True)
    command = [sys.executable, "-m", "sdp", "prune", "toy.toml", *options]
    process = subprocess.Popen(command, cwd=project, env=ONE_THREAD, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    checkpoints = project / "runs/toy/2-prune.partial/checkpoints"
    for _ in range(12_000):
        if list(checkpoints.glob("checkpoint-[123]*/complete.json")):
            break
        assert process.poll() is None, "pruning ended before it could be killed"
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert stored(project, "2-prune.partial") == stored(whole)

    def never(*_: object) -> None:
        raise AssertionError("the allocation is made again")

    monkeypatch.setattr(allocated, "measure_losses", never)
    assert "resuming pruning" in sdp("prune", "toy.toml", *options, cwd=project, check=True).stderr
    for name in ("masks", "model"):
        found, expected = (load_file(folder / f"runs/toy/2-prune/{name}.safetensors") for folder in (project, whole))
        assert all(torch.equal(found[key], tensor) for key, tensor in expected.items())
    assert stored(project) == stored(whole)


def test_what_times_are_measured_with_decides_the_pruning_only_with_a_target(project: Path) -> None:
    def settings(*more: str) -> object:
        words = [
            word for word in (*overrides(sparsity=0.9), *(w for m in more for w in ("--set", m))) if word != "--set"
        ]
        return resolved_settings(load_recipe(project / "toy.toml", words), (PRUNE, REPORT))["prune"]

    target = "prune.target_speedup=2.0"
    assert settings() == settings("bench.threads=2", 'export.precision="int8"')
    assert settings(target) != settings(target, "bench.threads=2")
    assert settings(target) != settings(target, 'export.precision="int8"')
    assert settings(target) != settings(target, "bench.sequence_lengths=[16]")
    assert settings(target) == settings(target, 'bench.sequence_lengths=["task", 32]', "bench.seconds=9.0")


def test_a_target_without_the_operator_library_is_refused_before_anything_runs(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "LIBRARY_NAME", "not-built.so")
    plan = json.loads(sdp("check", "toy.toml", *FASTER, "--json", cwd=project, check=True).stdout)
    (own,) = [f for f in plan["findings"] if f["subject"] == "prune.target_speedup" and f["kind"] == "warning"]
    assert "this installation lacks" in own["sentence"]
    assert plan["parts"] is None
    assert any("prune.target_speedup decides" in line for line in plan["unknown"])
    shutil.rmtree(project / "runs/toy/1-finetune")
    refused = sdp("prune", "toy.toml", *FASTER, cwd=project)
    assert refused.returncode == 2
    assert "no operator library" in refused.stderr
    assert not (project / "runs/toy/1-finetune.partial").exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (['export.encoding="coo"'], 'export.encoding = "coo" has none'),
        (['bench.provider="cuda"'], 'set bench.provider = "cpu"'),
        (['export.precision="fp16"'], 'export.precision = "fp16" has none'),
    ],
)
def test_a_target_of_another_engine_is_refused(settings: list[str], words: str, project: Path) -> None:
    chosen = [word for text in ("prune.target_speedup=2.0", *settings) for word in ("--set", text)]
    refused = sdp("check", "toy.toml", *overrides(sparsity=0.9), *chosen, cwd=project)
    assert refused.returncode == 2
    assert words in refused.stderr


def test_check_compares_the_target_with_the_gate(project: Path) -> None:
    more = ["--set", "gate.min_speedup=4.0"]
    plan = json.loads(sdp("check", "toy.toml", *FASTER, *more, "--json", cwd=project, check=True).stdout)
    (own,) = [finding for finding in plan["findings"] if finding["subject"] == "gate.min_speedup"]
    assert own["sentence"] == "4 is asked for, and prune.target_speedup = 3 prunes for less"
    (note,) = [f for f in plan["findings"] if f["subject"] == "prune.target_speedup"]
    assert note["sentence"].endswith("int8, batch 1, the task's own lengths, 1 threads")
