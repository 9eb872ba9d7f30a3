"""The quantization-aware phase through the command line: the exported file is the network that pruning trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from sdp.errors import StageError
from sdp.pruning.quantization_phase import QuantizationPhase
from sdp_onnx.operators.library import has_library
from support.toy import PREFLIGHT, finetuned_copy, sdp

INT8 = ("export.precision='int8'", "prune.pattern='1x4'")


def options(*settings: str) -> list[str]:
    return [word for setting in (*INT8, *settings) for word in ("--set", setting)]


def read(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.mark.skipif(not has_library(), reason="installed without a C++ compiler")
def test_the_file_computes_what_pruning_trained(finished: Path, tmp_path: Path) -> None:
    project = finetuned_copy(finished, tmp_path / "project")
    run = project / "runs/toy"
    # Fine-tuning is up to date, so that the preflight runs for pruning.
    sdp("export", "toy.toml", *PREFLIGHT, *options("prune.quantization_aware=0.3"), cwd=project, check=True)
    exported = read(run / "4-export/metrics.json")
    aware = exported["torch"]
    assert aware["same_predictions"] == 1
    assert exported["models"]["exported"] == read(run / "3-evaluate/metrics.json")["models"]["pruned"]
    pruned = read(run / "2-prune/metrics.json")
    assert pruned["dev"] == pruned["log"][-1]["dev"]
    assert pruned["dev_in_float"] > 0.9
    assert "int8" not in (run / "2-prune/config.json").read_text()

    sdp("export", "toy.toml", *options(), cwd=project, check=True)
    unaware = read(run / "4-export/metrics.json")["torch"]
    assert "dev_in_float" not in read(run / "2-prune/metrics.json")
    assert aware["split_relative_error"] < unaware["split_relative_error"] / 5
    # The file is verified against torch that rounds as it does, trained so or not.
    assert unaware["max_relative_error"] < unaware["split_relative_error"] / 5


def test_it_is_for_int8_alone_and_check_reports_it(finished: Path) -> None:
    refused = sdp("check", "toy.toml", "--set", "prune.quantization_aware=0.3", cwd=finished)
    assert refused.returncode == 2
    assert 'prune.quantization_aware trains for export.precision = "int8"' in refused.stderr
    plan = read_plan(finished, "prune.quantization_aware=0.3")
    assert [found["subject"] for found in plan["findings"] if "quantization" in found["subject"]] == []
    plan = read_plan(finished, "prune.quantization_aware=0.9")
    assert "prune.quantization_aware" in [found["subject"] for found in plan["findings"]]


def read_plan(project: Path, setting: str) -> dict:
    return json.loads(sdp("check", "toy.toml", "--json", *options(setting), cwd=project, check=True).stdout)


WITH_LABELS = ("prune.quantization_aware=0.5",)
# Stored tokens of the teacher, products in bf16, and a ramp that ends in the phase.
WITHOUT_LABELS = (
    "prune.quantization_aware=0.75",
    "prune.precision='bf16'",
    "prune.labels=false",
    "prune.freeze_head=true",
    "prune.dropout=false",
    "prune.losses=[{name='squared-error'}]",
)


@pytest.mark.parametrize(
    ("settings", "last"),
    [
        pytest.param(WITH_LABELS, 20, id="at the border, after an epoch"),
        pytest.param(WITHOUT_LABELS, 30, id="in the phase, after an epoch"),
        pytest.param(WITHOUT_LABELS, 15, id="in the phase, in the ramp", marks=pytest.mark.slow),
    ],
)
def test_broken_off_it_ends_as_an_unbroken_run(
    settings: tuple[str, ...], last: int, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off in the step after the checkpoint `last`; of 40 steps, the phase begins after 20, and after 10."""
    whole, broken = (finetuned_copy(finished, tmp_path / name) for name in ("whole", "broken"))
    command = ["prune", "toy.toml", *options(*settings, "runtime.checkpoint_seconds=0")]
    sdp(*command, cwd=whole, check=True)
    real = QuantizationPhase.before_forward

    def breaks(self: QuantizationPhase, step: int) -> None:
        if step == last + 1:
            raise StageError("power is gone")
        real(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(QuantizationPhase, "before_forward", breaks)
        assert "power is gone" in sdp(*command, cwd=broken).stderr
    assert f"resuming pruning from step {last} of 40" in sdp(*command, cwd=broken, check=True).stderr
    expected, found = (folder / "runs/toy/2-prune" for folder in (whole, broken))
    for name in ("model.safetensors", "masks.safetensors"):
        tensors = load_file(found / name)
        assert all(tensor.equal(tensors[key]) for key, tensor in load_file(expected / name).items())
    assert measured(found) == measured(expected)


def measured(stage: Path) -> dict:
    """metrics.json without the time that the analysis took."""
    metrics = read(stage / "metrics.json")
    del metrics["analysis"]["seconds"]
    return metrics
