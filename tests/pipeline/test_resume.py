"""Killed or stopped in the middle: the same command goes on, and ends where an unbroken run ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from typer.testing import CliRunner

from sdp.cli.main import app
from sdp.evaluation import predict
from sdp.stages import evaluate
from support.toy import ONE_THREAD, PREFLIGHT, finetuned_copy, sdp, toy_rows

# A checkpoint after every step, so that a kill at any moment has one to resume from.
OPTIONS = ["--set", "runtime.checkpoint_seconds=0", "--set", "prune.epochs=6"]


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sdp", "prune", "toy.toml", *OPTIONS, *more]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=ONE_THREAD, stdout=pipe, stderr=pipe, text=True)


@pytest.fixture
def project(finished: Path, tmp_path: Path) -> Path:
    """A project that is fine-tuned and not pruned."""
    return finetuned_copy(finished, tmp_path / "project")


def wait_for_checkpoint(process: subprocess.Popen[str], folder: Path, step: int) -> None:
    """Wait until pruning has written a whole checkpoint at or after a step."""
    for _ in range(12_000):
        done = folder.glob("runs/toy/2-prune.partial/checkpoints/checkpoint-*/complete.json")
        if any(int(path.parent.name.removeprefix("checkpoint-")) >= step for path in done):
            return
        assert process.poll() is None, "pruning ended before it could be stopped"
        time.sleep(0.02)
    raise AssertionError("no checkpoint came")


def results(folder: Path) -> tuple[dict, dict, dict]:
    stage = folder / "runs/toy/2-prune"
    metrics = json.loads((stage / "metrics.json").read_text())
    return load_file(stage / "masks.safetensors"), load_file(stage / "model.safetensors"), metrics


def analysis(folder: Path) -> dict:
    """All of analysis.json but how long it took."""
    content = json.loads((folder / "runs/toy/2-prune/analysis.json").read_text())
    return {name: value for name, value in content.items() if name != "seconds"}


# What nohup ignores stays ignored.
HANG_UP = pytest.mark.skipif(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN, reason="under nohup")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, finished: Path) -> Path:
    folder = finetuned_copy(finished, tmp_path_factory.mktemp("unbroken") / "project")
    sdp("prune", "toy.toml", *OPTIONS, cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def killed_once(tmp_path_factory: pytest.TempPathFactory, finished: Path) -> Path:
    """A project whose pruning was killed after step 20; copy before changing it."""
    folder = finetuned_copy(finished, tmp_path_factory.mktemp("killed") / "project")
    process = start(folder)
    wait_for_checkpoint(process, folder, step=20)
    process.kill()
    process.communicate()
    return folder


@pytest.fixture
def killed(killed_once: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(killed_once, tmp_path / "killed", symlinks=True))


@pytest.mark.parametrize(
    "how",
    [
        signal.SIGKILL,
        # The same handler for all three: test_stopping.py has every signal, test_study.py a stop and its resumption.
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
        pytest.param(signal.SIGHUP, marks=[pytest.mark.slow, HANG_UP]),
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
    ],
)
def test_a_stopped_run_ends_like_an_unbroken_one(
    how: signal.Signals, unbroken: Path, killed: Path, project: Path
) -> None:
    if how == signal.SIGKILL:
        project = killed
    else:
        process = start(project)
        wait_for_checkpoint(process, project, step=20)
        os.kill(process.pid, how)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 128 + how
        assert "The same command resumes" in errors
        assert "Traceback" not in errors
    assert not (project / "runs/toy/2-prune").exists()
    plan = json.loads(sdp("check", "toy.toml", "--json", *OPTIONS, cwd=project, check=True).stdout)
    assert plan["stages"][1]["reason"].startswith("interrupted before, will resume from step ")

    done = sdp("prune", "toy.toml", *OPTIONS, cwd=project, check=True)
    assert "resuming pruning from step" in done.stderr
    masks, weights, metrics = results(project)
    expected_masks, expected_weights, expected_metrics = results(unbroken)
    assert all(masks[name].equal(mask) for name, mask in expected_masks.items())
    assert all(weights[name].equal(weight) for name, weight in expected_weights.items())
    assert metrics["dev"] == expected_metrics["dev"]
    # As text: the order of keys, which is that of the layers, is the same too.
    assert json.dumps(metrics["log"]) == json.dumps(expected_metrics["log"])
    assert json.dumps(analysis(project)) == json.dumps(analysis(unbroken))
    assert not (project / "runs/toy/2-prune.partial").exists()


AGAIN = pytest.mark.slow
"""The same by other means: half a minute each, and benchmarks/faults/faults.py kills all of them at random moments."""


# All that a pruning without labels has of its own: scores, schedule, betas, stored tokens, rows without labels.
RECOVERY = [
    *(
        "prune.labels=false",
        "prune.freeze_head=true",
        "prune.dropout=false",
        "prune.decay=0.4",
        "prune.betas=[0.9, 0.9]",
    ),
    *("prune.augment=30", "prune.max_layer_sparsity=0.9", 'data.unlabeled=["texts.txt"]', "prune.unlabeled_share=0.4"),
    'prune.losses=[{name="squared-error"}, {name="cross-correlation", representation="tokens"}]',
]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("momentum", RECOVERY),
        ("obert", ['prune.pattern="1x4"', "prune.repair=true", "prune.calibration_rows=24"]),
        *(pytest.param(kind, [], marks=AGAIN) for kind in ("movement", "taylor", "l0", "obert")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_criterion_remembers_survives_a_kill(
    kind: str, settings: list[str], project: Path, finished: Path, tmp_path: Path
) -> None:
    settings = [f'prune.criterion="{kind}"', 'prune.scope="global"', *settings]
    more = [word for setting in settings for word in ("--set", setting)]
    whole = finetuned_copy(finished, tmp_path / "whole")
    for folder in (project, whole):
        (folder / "texts.txt").write_text("\n".join(text for text, _ in toy_rows(100, seed=9)))
    sdp("prune", "toy.toml", *OPTIONS, *more, cwd=whole, check=True)
    process = start(project, *more)
    # In the ramp, which takes 36 of 60 steps.
    wait_for_checkpoint(process, project, step=20)
    process.kill()
    process.communicate()
    checkpoints = project / "runs/toy/2-prune.partial/checkpoints"
    assert list(checkpoints.glob("checkpoint-[23]*/criterion.safetensors")), "killed too late to show anything"
    assert "resuming pruning" in sdp("prune", "toy.toml", *OPTIONS, *more, cwd=project, check=True).stderr
    (masks, weights, _), (expected_masks, expected_weights, _) = results(project), results(whole)
    assert all(masks[name].equal(mask) for name, mask in expected_masks.items())
    assert all(weights[name].equal(weight) for name, weight in expected_weights.items())


def test_a_half_written_checkpoint_is_passed_over(unbroken: Path, killed: Path) -> None:
    project = killed
    checkpoints = project / "runs/toy/2-prune.partial/checkpoints"
    torn = checkpoints / "checkpoint-9999"
    torn.mkdir()
    (torn / "model.safetensors").write_bytes(b"half")
    sdp("prune", "toy.toml", *OPTIONS, cwd=project, check=True)
    masks, expected = results(project)[0], results(unbroken)[0]
    assert all(masks[name].equal(mask) for name, mask in expected.items())


def test_other_settings_do_not_resume_from_an_interrupted_attempt(killed: Path) -> None:
    done = sdp("prune", "toy.toml", "--set", "prune.sparsity=0.5", cwd=killed, check=True)
    assert "resuming pruning" not in done.stderr
    assert results(killed)[2]["sparsity"] == pytest.approx(0.5, abs=1e-3)


def test_an_interrupted_evaluation_asks_no_network_twice(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = shutil.copytree(finished, tmp_path / "project")
    monkeypatch.chdir(project)
    real, asked = evaluate.predict_logits, []

    def interrupted(network: Any, *given: Any) -> Any:
        asked.append(network)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return real(network, *given)

    monkeypatch.setattr(evaluate, "predict_logits", interrupted)
    command = ["evaluate", "toy.toml", "--set", "evaluate.resamples=100"]
    assert CliRunner().invoke(app, command).exit_code == 130
    assert CliRunner().invoke(app, command).exit_code == 0
    assert len(asked) == 3, "dense, pruned (interrupted), pruned"
    output, before = (
        load_file(folder / "runs/toy/3-evaluate/predictions.safetensors") for folder in (project, finished)
    )
    assert output.keys() == before.keys() == {"dense", "pruned"}
    assert all(values.equal(before[name]) for name, values in output.items())


def test_an_interrupted_scoring_goes_on_with_the_same_file_and_asks_it_nothing_twice(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = shutil.copytree(finished, tmp_path / "project")
    monkeypatch.chdir(project)
    rows = len((project / "dev.tsv").read_text().splitlines()) - 1
    real, asked = predict.read_off, []

    def interrupted(split: Any, indices: list[int], *given: Any) -> Any:
        asked.append(indices)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return real(split, indices, *given)

    monkeypatch.setattr(predict, "read_off", interrupted)
    settings = ["evaluate.batch_size=7", "evaluate.resamples=100", "runtime.checkpoint_seconds=0"]
    command = ["export", "toy.toml", *(word for setting in settings for word in ("--set", setting))]
    assert CliRunner().invoke(app, ["evaluate", *command[1:]]).exit_code == 130
    assert CliRunner().invoke(app, ["evaluate", *command[1:]]).exit_code == 0
    # Dense and pruned, and the batch that was interrupted.
    assert sum(map(len, asked)) == 2 * rows + 7

    asked.clear()
    assert CliRunner().invoke(app, command).exit_code == 130
    partial = project / "runs/toy/4-export.partial"
    made = (partial / "model.onnx").stat().st_mtime_ns
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0
    assert "going on with the file of the interrupted attempt" in result.stderr
    assert sum(map(len, asked)) == rows + 7
    exported, whole = (folder / "runs/toy/4-export" for folder in (project, finished))
    assert (exported / "model.onnx").stat().st_mtime_ns == made
    assert sorted(path.name for path in exported.iterdir()) == sorted(path.name for path in whole.iterdir())
    output, before = (json.loads((folder / "rows.json").read_text()) for folder in (exported, whole))
    assert output == before


def test_a_file_that_is_not_the_one_that_was_verified_is_made_again(finished: Path, tmp_path: Path) -> None:
    project = shutil.copytree(finished, tmp_path / "project", symlinks=True)
    shutil.copytree(project / "runs/toy/4-export", project / "runs/toy/4-export.partial")
    record = json.loads((project / "runs/toy/4-export/stage.json").read_text())
    shutil.rmtree(project / "runs/toy/4-export")
    partial = project / "runs/toy/4-export.partial"
    (partial / "stage.json").write_text(json.dumps({"fingerprint": record["fingerprint"]}))
    (partial / "checkpoints").mkdir()
    (partial / "checkpoints/made.json").write_text('{"files": {"model.onnx": "other"}, "exported": {}}')
    (partial / "model.onnx").write_bytes(b"half")
    # The file holds its recipe, with this.
    done = sdp("export", "toy.toml", *PREFLIGHT, cwd=project, check=True)
    assert "going on with the file" not in done.stderr
    made, whole = (folder / "runs/toy/4-export/model.onnx" for folder in (project, finished))
    assert made.read_bytes() == whole.read_bytes()
