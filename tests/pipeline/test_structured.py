"""Structured pruning through the command line: a smaller dense model, and a file that needs nothing special."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import Mock

import onnx
import pytest
from safetensors.torch import load_file

from sdp.errors import StageError
from sdp.models.kept_units import read_kept_units
from sdp.models.layers import prunable_weights
from sdp.models.load import load_finetuned
from sdp.models.units import Part
from sdp.pipeline.artifacts.unit_times import PartTimes, UnitTimes
from sdp.pruning.structured import stage
from sdp.pruning.structured.choice import unit_counts
from sdp.pruning.structured.removal_steps import RemovalSteps
from sdp_onnx.operators.library import has_library
from sdp_onnx.runtimes.registry import default_runtime
from support.pruned_runs import linear_weights, read, set_options
from support.toy import PREFLIGHT, finetuned_copy, sdp

SETTINGS = ("prune.pattern='structured'", "prune.criterion='momentum'", "prune.scope='global'", "prune.mask_updates=3")


def options(*settings: str) -> list[str]:
    return set_options(*SETTINGS, *settings)


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    return finetuned_copy(finished, tmp_path / "project")


def test_half_of_the_weights_are_gone_and_the_file_is_half_as_large(project: Path) -> None:
    run = project / "runs/toy"
    sdp("report", "toy.toml", *PREFLIGHT, *options("prune.sparsity=0.5"), cwd=project, check=True)

    whole, left = linear_weights(run / "1-finetune"), linear_weights(run / "2-prune")
    metrics = read(run / "2-prune/metrics.json")
    assert left <= 0.5 * whole
    assert metrics["sparsity"] == pytest.approx(1 - left / whole)
    assert metrics["dev"] > 0.8
    kept = read_kept_units(run / "2-prune")
    assert kept is not None
    assert sum(len(part.kept) for part in kept.parts.values()) < sum(part.of for part in kept.parts.values())
    page = (run / "7-report/report.html").read_text()
    assert f"have {left:,} of {whole:,} weights" in page
    for name, part in kept.parts.items():
        assert f"layer {name.split('.')[3]}" in page
        assert f"{len(part.kept)} of {part.of}" in page
    exported = read(run / "4-export/metrics.json")
    assert exported["models"]["exported"] == read(run / "3-evaluate/metrics.json")["models"]["pruned"]
    # Operators of the ONNX standard alone.
    model = onnx.load(run / "4-export/model.onnx")
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx"}
    assert all(0 not in own.dims for own in model.graph.initializer)


def test_without_training_it_takes_a_few_steps(project: Path) -> None:
    run = project / "runs/toy"
    sdp("prune", "toy.toml", *options("prune.sparsity=0.4", "prune.epochs=0"), cwd=project, check=True)
    assert linear_weights(run / "2-prune") <= 0.6 * linear_weights(run / "1-finetune")
    assert read(run / "2-prune/metrics.json")["dev"] > 0.7


def invented_times(_recipe: object, _model: object, parts: Sequence[Part], *_: object) -> UnitTimes:
    """Every head takes 1 ms and every neuron 1/32; 10 of 18 ms at two heads and 64 neurons in each of two layers."""
    counts = {part.name: unit_counts(part.kind, part.units) for part in parts}
    each = {part.name: 1.0 if part.kind == "heads" else 1 / 32 for part in parts}
    times = {name: PartTimes(counts=own, ms=tuple(count * each[name] for count in own)) for name, own in counts.items()}
    return UnitTimes(case="1 x 16", threads=1, dense=18.0, rest=10.0, parts=times)


def test_a_speed_is_reached_by_measured_times(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The times are measured once, and read by every pruning of the run after that."""
    run = project / "runs/toy"
    measured = Mock(side_effect=invented_times)
    monkeypatch.setattr(stage, "measure_unit_times", measured)
    default = "prune.sparsity=0.9"
    sdp("prune", "toy.toml", *options(default, "prune.target_speedup=1.2"), cwd=project, check=True)
    kept = read_kept_units(run / "2-prune")
    assert kept is not None
    spent = sum(len(part.kept) * (1.0 if part.kind == "heads" else 1 / 32) for part in kept.parts.values())
    # 18 / 1.2 = 15 ms, of which 10 stay; the next unit that comes with others would take more.
    assert 4 < spent <= 5
    assert read(run / "2-prune/unit_times.json")["dense"] == 18

    done = sdp("prune", "toy.toml", *options(default, "prune.target_speedup=2"), cwd=project)
    assert done.returncode == 2
    assert "without heads and neurons the file is 1.80 times as fast" in done.stderr
    measured.assert_called_once()
    (cached,) = (run / "cache").glob("unit-times-*/unit_times.json")
    assert cached.read_bytes() == (run / "2-prune/unit_times.json").read_bytes()


def test_all_units_of_some_layers_may_be_gone(project: Path) -> None:
    run = project / "runs/toy"
    sdp("export", "toy.toml", *options("prune.sparsity=0.95", "prune.epochs=1"), cwd=project, check=True)
    kept = read_kept_units(run / "2-prune")
    assert kept is not None
    assert any(not part.kept for part in kept.parts.values())
    session = default_runtime().load(run / "4-export/model.onnx")
    assert session.input_names
    assert load_finetuned(run / "2-prune").config.num_attention_heads == 2


@pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")
def test_the_operators_take_uneven_heads_and_widths(project: Path) -> None:
    run = project / "runs/toy"
    int8 = ("export.precision='int8'", "prune.sparsity=0.5", "prune.epochs=1")
    sdp("export", "toy.toml", *options(*int8), cwd=project, check=True)
    kept = read_kept_units(run / "2-prune")
    assert kept is not None
    heads = [len(part.kept) for part in kept.parts.values() if part.kind == "heads"]
    model = onnx.load(run / "4-export/model.onnx")
    attention = [node for node in model.graph.node if node.op_type == "PackedAttentionInt8"]
    in_file = [onnx.helper.get_node_attr_value(node, "heads") for node in attention]
    assert in_file == [count for count in heads if count]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("prune.criterion='taylor'", "remove criterion"),
        ("prune.scope='layer'", "remove scope"),
        ("prune.repair=true", "remove repair"),
        ("prune.max_layer_sparsity=0.99", "remove max_layer_sparsity"),
    ],
)
def test_what_units_have_of_their_own_cannot_be_set(setting: str, words: str, project: Path) -> None:
    done = sdp("prune", "toy.toml", *options("prune.sparsity=0.5", setting), cwd=project)
    assert done.returncode == 2
    assert words in done.stderr


def test_broken_off_it_ends_as_an_unbroken_run(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Broken off in the step in which units are removed for the second time: the checkpoint has those of the first."""
    whole, broken = (finetuned_copy(finished, tmp_path / name) for name in ("whole", "broken"))
    command = ["prune", "toy.toml", *options("prune.sparsity=0.5", "runtime.checkpoint_seconds=0")]
    sdp(*command, cwd=whole, check=True)
    log = [one for one in read(whole / "runs/toy/2-prune/metrics.json")["log"] if "sparsity" in one]
    assert len(log) == 3
    second = log[1]["step"]
    real = RemovalSteps.after_step

    def breaks(self: RemovalSteps, step: int) -> dict[str, float] | None:
        if step == second:
            raise StageError("power is gone")
        return real(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(RemovalSteps, "after_step", breaks)
        assert "power is gone" in sdp(*command, cwd=broken).stderr
    assert f"resuming pruning from step {second - 1}" in sdp(*command, cwd=broken, check=True).stderr
    expected, found = (folder / "runs/toy/2-prune" for folder in (whole, broken))
    weights = load_file(found / "model.safetensors")
    assert all(own.equal(weights[name]) for name, own in load_file(expected / "model.safetensors").items())
    assert read_kept_units(found) == read_kept_units(expected)
    assert read(found / "metrics.json")["log"] == read(expected / "metrics.json")["log"]


def test_what_is_left_can_be_pruned_further(finished: Path, tmp_path: Path) -> None:
    """Half of the network is removed, and of the other half all but a fifth are zero."""
    project = finetuned_copy(finished, tmp_path / "project")
    shutil.copytree(project / "runs/toy", project / "runs/next")
    sdp("prune", "toy.toml", *options("prune.sparsity=0.5", "prune.epochs=1"), cwd=project, check=True)
    start = "prune.start='runs/toy/2-prune'"
    settings = [start, "prune.sparsity=0.8", "prune.pattern='1x4'", "prune.epochs=1"]
    command = ["evaluate", "toy.toml", "--run-dir", "runs/next"]
    for setting in settings:
        command += ["--set", setting]
    done = sdp(*command, cwd=project, check=True)
    assert "no analysis" in done.stderr

    folder = project / "runs/next/2-prune"
    assert read_kept_units(folder) == read_kept_units(project / "runs/toy/2-prune")
    weights = prunable_weights(load_finetuned(folder))
    left = sum(int(weight.count_nonzero()) for weight in weights.values())
    there = sum(weight.numel() for weight in weights.values())
    assert left / there == pytest.approx(0.2, abs=0.01)
    whole = linear_weights(project / "runs/next/1-finetune")
    assert read(folder / "metrics.json")["sparsity"] == pytest.approx(1 - left / whole)

    refused = sdp(*command, "--set", "prune.repair=true", cwd=project)
    assert refused.returncode == 2
    assert "fewer heads and neurons than the dense network" in refused.stderr
