"""Two processes under torchrun train what one process trains, and one of them writes it: real ranks over gloo."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from sdp.cli.main import app
from support.toy import ONE_THREAD, write_project

# Fine-tuning ends each epoch with a batch of one row, so that one rank has none.
OPTIONS = [
    *("--set", "finetune.epochs=2", "--set", "finetune.batch_size=53", "--set", "finetune.learning_rate=1e-3"),
    *("--set", "prune.epochs=3", "--set", "prune.batch_size=33", "--set", "prune.learning_rate=1e-3"),
    *("--set", 'prune.losses=[{name="cross-correlation",off_diagonal=0.1},{name="kld"}]'),
]


LOSSES = ("cross-correlation", "kld")
SHARDED = ["--set", 'runtime.parallel="fsdp"']

# A command with a bug, whose ranks take their time over what they say.
BUG = """
import sys, time
import typer
from sdp.cli.errors import handle_errors

class Slow:
    def __getattr__(self, name):
        return getattr(sys.__stderr__, name)
    def write(self, text):
        time.sleep(1)
        return sys.__stderr__.write(text)

app = typer.Typer(pretty_exceptions_enable=False)

@app.command()
def command():
    with handle_errors():
        sys.stderr = Slow()
        raise ZeroDivisionError("met by both")

app()
"""


def start_ranks(count: int, *arguments: str, cwd: Path) -> subprocess.Popen[str]:
    """Start the command line as so many ranks."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(count), "--rdzv-backend", "c10d"]
    command += ["--rdzv-endpoint", "localhost:0", "-m", "sdp", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=cwd, env=ONE_THREAD, stdout=pipe, stderr=pipe, text=True)


def run_ranks(count: int, *arguments: str, cwd: Path) -> tuple[int, str]:
    """Run it to its end: exit code of torchrun, and all that was said."""
    process = start_ranks(count, *arguments, cwd=cwd)
    message = "".join(process.communicate(timeout=600))
    return process.returncode, message


def run_alone(*arguments: str, cwd: Path) -> str:
    """Run the command line in this process; what it told of its progress."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(cwd)
        done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.stderr


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, toy_model: Path) -> Path:
    """A project whose model drops nothing out, run by one process."""
    folder = tmp_path_factory.mktemp("ranks")
    model = folder / "no-dropout"
    shutil.copytree(toy_model, model)
    config = json.loads((model / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (model / "config.json").write_text(json.dumps(config))
    write_project(folder, model)
    run_alone("prune", "toy.toml", *OPTIONS, "--run-dir", "one", cwd=folder)
    return folder


@pytest.fixture(scope="module")
def two(project: Path) -> Path:
    """The same by two ranks."""
    code, message = run_ranks(2, "prune", "toy.toml", *OPTIONS, "--run-dir", "two", cwd=project)
    assert code == 0, message
    return project / "two"


@pytest.fixture(scope="module")
def sharded(project: Path) -> Path:
    """The same by two ranks with a part of every weight each."""
    code, message = run_ranks(2, "prune", "toy.toml", *OPTIONS, *SHARDED, "--run-dir", "sharded", cwd=project)
    assert code == 0, message
    assert "no analysis" in message
    return project / "sharded"


def curve(run: Path, stage: str, key: str) -> list[float]:
    log = json.loads((run / stage / "metrics.json").read_text())["log"]
    return [record[key] for record in log if key in record]


def assert_same(one: Path, other: Path) -> None:
    """Loss curves, terms, dev metrics, masks and weights of two runs are the same within rounding."""
    for stage, keys in {"1-finetune": ("loss", "dev"), "2-prune": ("loss", "task", *LOSSES, "dev", "sparsity")}.items():
        for key in keys:
            expected = curve(one, stage, key)
            assert len(expected) > 1
            assert curve(other, stage, key) == pytest.approx(expected, abs=1e-5), (stage, key)
        weights, others = (load_file(run / stage / "model.safetensors") for run in (one, other))
        for name, weight in weights.items():
            assert torch.allclose(weight, others[name], atol=1e-4), name
    masks, others = (load_file(run / "2-prune" / "masks.safetensors") for run in (one, other))
    assert all(mask.equal(others[name]) for name, mask in masks.items())


def test_two_ranks_train_what_one_process_trains(project: Path, two: Path) -> None:
    assert_same(project / "one", two)
    assert not list(project.glob("two/*.partial"))


def test_one_process_finds_the_ranks_result_up_to_date(project: Path, two: Path) -> None:
    message = run_alone("prune", "toy.toml", *OPTIONS, "--run-dir", "two", cwd=project)
    assert [line.split(maxsplit=1)[1] for line in message.splitlines()] == ["up to date"] * 2


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], SHARDED])
def test_ranks_train_together_in_the_preflight(project: Path, more: list[str]) -> None:
    code, printed = run_ranks(2, "preflight", "toy.toml", *OPTIONS, *more, "--run-dir", "preflight", cwd=project)
    assert code == 0, printed
    assert (project / "preflight/0-preflight/stage.json").is_file()
    shutil.rmtree(project / "preflight")


@pytest.mark.slow
def test_sharded_ranks_train_what_one_process_trains(project: Path, sharded: Path) -> None:
    assert_same(project / "one", sharded)


@pytest.mark.slow
def test_two_ranks_in_parts_train_what_one_process_trains(project: Path) -> None:
    parts = ["--set", "runtime.accumulation=4", "--set", "runtime.checkpointing=true"]
    code, message = run_ranks(2, "prune", "toy.toml", *OPTIONS, *parts, "--run-dir", "parts", cwd=project)
    assert code == 0, message
    assert_same(project / "one", project / "parts")


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_stopped_ranks_go_on(parallel: str, project: Path) -> None:
    """SIGTERM to torchrun, as Slurm sends it; then the same command."""
    options = [*OPTIONS, "--set", f'runtime.parallel="{parallel}"', "--set", "runtime.checkpoint_seconds=0"]
    folder = f"stopped-{parallel}"
    shutil.copytree(project / "one" / "1-finetune", project / folder / "1-finetune")
    shutil.copy(project / "one" / "run.json", project / folder)
    process = start_ranks(2, "prune", "toy.toml", *options, "--run-dir", folder, cwd=project)
    wait_for_checkpoint(process, project / folder / "2-prune.partial")
    process.terminate()
    message = "".join(process.communicate(timeout=600))
    assert message.count("stopped; a checkpoint was saved") == 1, message
    assert "The same command resumes" in message
    code, message = run_ranks(2, "prune", "toy.toml", *options, "--run-dir", folder, cwd=project)
    assert code == 0, message
    assert "resuming pruning from step" in message
    assert_same(project / "one", project / folder)


@pytest.mark.slow
def test_a_killed_rank_ends_all_with_one_word(project: Path) -> None:
    options = [*OPTIONS, "--set", "runtime.checkpoint_seconds=0", "--set", "finetune.epochs=50"]
    process = start_ranks(2, "finetune", "toy.toml", *options, "--run-dir", "killed", cwd=project)
    wait_for_checkpoint(process, project / "killed" / "1-finetune.partial")
    ranks = {int(child.environ()["RANK"]): child for child in psutil.Process(process.pid).children()}
    ranks[1].kill()
    message = "".join(process.communicate(timeout=600))
    assert process.returncode == 1
    assert "sdp/cli/" not in message, "no traceback but torchrun's own"
    assert message.count("error: ") == 1, message
    # What rank 0 had to do alone goes on from there.
    assert "resuming" in run_alone("finetune", "toy.toml", *options, "--run-dir", "killed", cwd=project)


@pytest.mark.slow
def test_what_goes_wrong_on_all_ranks_is_reported_once(project: Path) -> None:
    code, message = run_ranks(
        2, "finetune", "toy.toml", "--set", "finetune.batch_size=1", "--run-dir", "bad", cwd=project
    )
    assert code == 1
    assert message.count("error: ") == 1, message
    assert "a batch of 1 rows cannot be shared out between 2 processes" in message


def test_a_bug_on_all_ranks_shows_one_whole_traceback(tmp_path: Path) -> None:
    """The silent rank does not end, and have torchrun end all, before the other has spoken."""
    script = tmp_path / "bug.py"
    script.write_text(BUG)
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    launch += ["--rdzv-endpoint", "localhost:0", str(script)]
    done = subprocess.run(launch, env=ONE_THREAD, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 1
    assert done.stderr.count("ZeroDivisionError: met by both") == 1, done.stderr


def wait_for_checkpoint(process: subprocess.Popen[str], stage: Path) -> None:
    for _ in range(4000):
        if list(stage.glob("checkpoints/checkpoint-*/complete.json")):
            return
        assert process.poll() is None, "it ended before it could be stopped"
        time.sleep(0.05)
    raise AssertionError("no checkpoint came")
