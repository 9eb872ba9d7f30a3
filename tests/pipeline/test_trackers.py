"""Trackers through the command line: what they show is the log of the training, also of one that was broken off."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sdp.errors import StageError
from sdp.pruning.mask_updates import MaskUpdates
from support.toy import finetuned_copy, sdp

COMMAND = ("prune", "toy.toml", "--set", "prune.epochs=2", "--set", "runtime.checkpoint_seconds=0")


def report_to(name: str) -> tuple[str, str]:
    return "--set", f'runtime.report_to=["{name}"]'


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    return finetuned_copy(finished, tmp_path / "project")


def log_of(project: Path) -> list[dict[str, Any]]:
    log: list[dict[str, Any]] = json.loads((project / "runs/toy/2-prune/metrics.json").read_text())["log"]
    return log


def shown(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard's own reader finds: name -> step and value of each point."""
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {name: [(point.step, point.value) for point in events.Scalars(name)] for name in events.Tags()["scalars"]}


def test_tensorboard_shows_the_log_once_also_after_a_break(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = MaskUpdates.after_step

    def breaks(self: MaskUpdates, step: int) -> dict[str, float] | None:
        record = real(self, step)
        if step == 12:
            raise StageError("power is gone")
        return record

    command = (*COMMAND, "--set", "prune.mask_updates=5", *report_to("tensorboard"))
    with monkeypatch.context() as patch:
        patch.setattr(MaskUpdates, "after_step", breaks)
        assert "power is gone" in sdp(*command, cwd=project).stderr
    # Nothing of the stage depends on who follows it: it resumes without its tracker, too.
    assert "resuming pruning from step" in sdp(*command, cwd=project, check=True).stderr

    log, found = log_of(project), shown(project / "runs/toy/tensorboard/2-prune")
    for name, tag in (("loss", "train/loss"), ("sparsity", "train/sparsity"), ("dev", "eval/dev")):
        expected = [(record["step"], pytest.approx(record[name])) for record in log if name in record]
        assert len(expected) > 1
        assert found[tag] == expected
    # Not the fine-tuning, which was finished, and not a preflight.
    assert [path.name for path in (project / "runs/toy/tensorboard").iterdir()] == ["2-prune"]
    assert "up to date" in sdp("prune", "toy.toml", *command[2:-2], cwd=project, check=True).stderr


@pytest.mark.parametrize("name", [name for name in ("wandb", "mlflow") if find_spec(name) is None])
def test_a_missing_package_is_reported_before_training(name: str, project: Path) -> None:
    done = sdp(*COMMAND, *report_to(name), cwd=project)
    assert done.returncode == 2
    assert f"runtime.report_to: not installed here: {name}" in done.stderr
    assert not (project / "runs/toy/2-prune").exists()
    found = sdp("check", "toy.toml", *report_to(name), cwd=project, check=True).stdout
    assert f"runtime.report_to: not installed here: {name}; training would fail. Try pip install {name}." in " ".join(
        found.split()
    )


@pytest.mark.slow
@pytest.mark.skipif(find_spec("mlflow") is None, reason='needs mlflow: pip install -e ".[trackers]"')
def test_mlflow_has_a_run_of_the_stage(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "tests")
    sdp(*COMMAND, *report_to("mlflow"), cwd=project, check=True)
    client = mlflow.MlflowClient(f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("tests")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("toy-2-prune", "FINISHED")
    expected = [(record["step"], pytest.approx(record["dev"])) for record in log_of(project) if "dev" in record]
    assert [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, "eval_dev")] == expected


@pytest.mark.slow
@pytest.mark.skipif(find_spec("wandb") is None, reason='needs wandb: pip install -e ".[trackers]"')
def test_wandb_has_an_offline_run_of_the_stage(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(project))
    sdp(*COMMAND, *report_to("wandb"), cwd=project, check=True)
    (folder,) = (project / "wandb").glob("offline-run-*")
    (file,) = folder.glob("*.wandb")
    content = file.read_bytes()
    assert b"toy-2-prune" in content
    assert b"eval/dev" in content
