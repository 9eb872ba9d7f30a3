"""Two processes under torchrun train what one process trains, and one of them writes it: real ranks over gloo."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from toy import ONE_THREAD, sdp, write_project

# Fine-tuning ends each epoch with a batch of one row, so that one rank has none.
OPTIONS = [
    *("--set", "finetune.epochs=2", "--set", "finetune.batch_size=53", "--set", "finetune.learning_rate=1e-3"),
    *("--set", "prune.epochs=3", "--set", "prune.batch_size=33", "--set", "prune.learning_rate=1e-3"),
    *("--set", 'prune.losses=[{name="cross-correlation",off_diagonal=0.1},{name="kld"}]'),
]


def start_ranks(count: int, *arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """Start the command line as so many ranks."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count), "--rdzv-backend", "c10d"]
    command += ["--rdzv-endpoint", "localhost:0", "-m", "sdp", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=cwd, env=ONE_THREAD, stdout=pipe, stderr=pipe, text=True)


def run_ranks(count: int, *arguments: str, cwd: Path) -> tuple[int, str]:
    """Run it to its end: exit code of torchrun, and all that was said."""
    process = start_ranks(count, *arguments, cwd=cwd)
    said = "".join(process.communicate(timeout=240))
    return process.returncode, said


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Path:
    """A project whose model drops nothing out."""
    folder = tmp_path_factory.mktemp("ranks")
    model = folder / "no-dropout"
    shutil.copytree(toy_model, model)
    config = json.loads((model / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (model / "config.json").write_text(json.dumps(config))
    write_project(folder, model)
    sdp("prune", "toy.toml", *OPTIONS, "--run-dir", "one", cwd=folder, check=True)
    code, said = run_ranks(2, "prune", "toy.toml", *OPTIONS, "--run-dir", "two", cwd=folder)
    assert code == 0, said
    return folder


def curve(run: Path, stage: str, key: str) -> list[float]:
    log = json.loads((run / stage / "metrics.json").read_text())["log"]
    return [record[key] for record in log if key in record]


@pytest.mark.parametrize("stage", ["1-finetune", "2-prune"])
def test_two_ranks_have_the_loss_curve_of_one(stage: str, project: Path) -> None:
    for key in ("loss", "task", "dev", *(("cross-correlation", "kld", "sparsity") if stage == "2-prune" else ())):
        one, two = curve(project / "one", stage, key), curve(project / "two", stage, key)
        assert len(one) == len(two) > 1
        assert two == pytest.approx(one, abs=1e-4)


@pytest.mark.parametrize("stage", ["1-finetune", "2-prune"])
def test_two_ranks_have_the_weights_of_one(stage: str, project: Path) -> None:
    one, two = (load_file(project / run / stage / "model.safetensors") for run in ("one", "two"))
    masks = [load_file(project / run / "2-prune" / "masks.safetensors") for run in ("one", "two")]
    same = torch.cat([(masks[0][name] == masks[1][name]).flatten() for name in masks[0]])
    assert float(same.float().mean()) > 0.999
    for name, weight in one.items():
        kept = masks[0].get(name, torch.ones(1)) * masks[1].get(name, torch.ones(1)) if stage == "2-prune" else 1
        assert torch.allclose(weight * kept, two[name] * kept, atol=2e-4), name


def test_one_process_finds_the_ranks_result_up_to_date(project: Path) -> None:
    done = sdp("prune", "toy.toml", *OPTIONS, "--run-dir", "two", cwd=project, check=True)
    assert [line.split(maxsplit=1)[1] for line in done.stderr.splitlines()] == ["up to date"] * 2


def test_what_goes_wrong_on_all_ranks_is_told_once(project: Path) -> None:
    code, said = run_ranks(2, "finetune", "toy.toml", "--set", "finetune.batch_size=1", "--run-dir", "bad", cwd=project)
    assert code == 1
    assert said.count("error: ") == 1, said
    assert "a batch of 1 rows cannot be shared out between 2 processes" in said
    assert "sdp/" not in said, "no traceback of sdp's own"
