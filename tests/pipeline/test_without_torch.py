"""Commands where sdp is installed without the extra `train`: what works there, and what the others print."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.toy import ONE_THREAD, PREFLIGHT

SUPPORT = Path(__file__).parents[1] / "support"
RUN = "runs/toy"
WORKING = [
    ["--help"],
    ["--version"],
    ["schema"],
    ["check", "toy.toml"],
    ["check", "toy.toml", "--set", "vocabulary.size=50"],
    ["check", RUN, "--json"],
    ["inspect", f"{RUN}/4-export/model.onnx"],
    ["verify", RUN],
    ["predict", RUN, "a good film"],
    ["predict", RUN, "--file", "dev.tsv", "--column", "sentence", "--json"],
    ["compare", RUN, RUN],
    ["compare", RUN, "--save", "baseline.json"],
    ["gate", "toy.toml", "--set", "gate.max_size_ratio=0.9"],
    ["gate", "toy.toml", "--no-update"],
    ["bench", RUN],
    ["run", "toy.toml", *PREFLIGHT],
    ["push", RUN, "owner/name"],
    ["study", "toy.toml", "--vary", "prune.sparsity=0.5,0.9", "--dry-run"],
    ["sweep", "toy.toml", "--sparsity", "0.5,0.9", "--dry-run"],
]
STALE = {
    "vocabulary": "vocabulary.size=50",
    "preflight": "data.max_length=30",
    "finetune": "seed=1",
    "prune": "prune.sparsity=0.7",
    "evaluate": "evaluate.resamples=100",
    "export": 'export.encoding="dense"',
    "bench": "bench.seconds=0.3",
    "gate": "bench.seconds=0.3",
    "report": "bench.seconds=0.3",
    "ship": "bench.seconds=0.3",
    "run": "seed=1",
}
REFUSED = [
    *([command, "toy.toml", "--set", setting] for command, setting in STALE.items()),
    ["compare", RUN, RUN, "--measure"],
    ["study", "toy.toml", "--seeds", "1"],
    ["sweep", "toy.toml", "--sparsity", "0.5"],
]
Answer = tuple[int, str, str]


@pytest.fixture(scope="module")
def answers(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Answer]:
    """What each command printed and returned, in one process without those packages."""
    project = tmp_path_factory.mktemp("without") / "project"
    shutil.copytree(finished, project, symlinks=True)
    # A run folder remembers the settings of the last command that was to change it.
    commands = [*WORKING, *REFUSED]
    before = sorted(project.rglob("*"))
    done = subprocess.run(
        [sys.executable, SUPPORT / "without_train.py", project],
        input=json.dumps(commands),
        env={**ONE_THREAD, "PYTHONPATH": os.pathsep.join([str(SUPPORT.parent), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not [path for path in project.rglob("*.partial") if path not in before]
    return {" ".join(command): tuple(answer) for command, answer in zip(commands, json.loads(done.stdout), strict=True)}


@pytest.mark.parametrize("command", [" ".join(command) for command in WORKING])
def test_what_needs_no_torch_works(command: str, answers: dict[str, Answer]) -> None:
    code, out, err = answers[command]
    assert code == 0, out + err
    assert "Traceback" not in err


@pytest.mark.parametrize("command", [" ".join(command) for command in REFUSED])
def test_what_needs_torch_names_the_extra(command: str, answers: dict[str, Answer]) -> None:
    code, out, err = answers[command]
    assert code == 2, out + err
    assert err.count("error: ") == 1
    assert "which is not installed" in err
    assert 'pip install "sdp[train]"' in err
    assert "Traceback" not in err


def test_an_up_to_date_benchmark_is_printed(answers: dict[str, Answer]) -> None:
    _, out, err = answers[f"bench {RUN}"]
    assert err.count("up to date") == 5
    assert "p50, batch" in out
