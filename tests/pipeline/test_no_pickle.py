"""No pickle is opened on any path: not by a whole run, nor by one that goes on from a checkpoint.

Trainer keeps optimizer, schedule and random state as files of torch.save, which hold a pickle. They are read with
weights_only, by an unpickler that makes tensors and numbers and nothing else; any other is noticed here. None of sdp's
own processes exchange pickles either: they talk JSON.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from support.pickle_watch import opened, watched
from support.toy import ONE_THREAD, sdp_process


def test_a_whole_run_opens_no_pickle(finished: Path, pickle_notes: Path) -> None:
    assert (finished / "runs/toy/8-ship/manifest.json").is_file()
    assert opened(pickle_notes) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle, collections; pickle.loads(pickle.dumps(collections.OrderedDict))",
        "import pickle, collections; pickle._loads(pickle.dumps(collections.OrderedDict))",
        "import numpy as n; n.save('x.npy', n.array([None]), allow_pickle=True); n.load('x.npy', allow_pickle=True)",
        "import os, sys; os.execv(sys.executable, [sys.executable, '-c', 'import pickle as p; p.loads(p.dumps(len))'])",
    ],
)
def test_the_watch_notices_a_pickle(code: str, tmp_path: Path) -> None:
    environment = ONE_THREAD | watched(tmp_path / "notes")
    subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, check=True)
    assert len(opened(tmp_path / "notes")) >= 1


def test_going_on_from_a_checkpoint_opens_no_pickle(finished: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(finished, project, symlinks=True, ignore=shutil.ignore_patterns("[2-8]-*"))
    command = ["prune", "toy.toml", "--set", "runtime.checkpoint_seconds=0", "--set", "prune.epochs=2"]
    command += ["--set", "analysis.rows=0"]
    environment = ONE_THREAD | watched(tmp_path / "notes")
    line = [sys.executable, "-m", "sdp", *command]
    with subprocess.Popen(line, cwd=project, env=environment, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 240
        while not any(project.glob("runs/toy/2-prune.partial/checkpoints/checkpoint-*/complete.json")):
            assert process.poll() is None, "pruning ended before it could be stopped"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGTERM)
    assert any(project.glob("runs/toy/2-prune.partial/checkpoints/checkpoint-*/optimizer.pt"))
    done = sdp_process(*command, cwd=project, env=watched(tmp_path / "notes"), check=True)
    assert "resuming pruning from step" in done.stderr
    assert opened(tmp_path / "notes") == []
