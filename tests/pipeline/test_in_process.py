"""A command in the process of the tests prints and returns what it does in its own, and leaves no trace."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from support.in_process import process_state
from support.toy import sdp, sdp_process, write_project


@pytest.mark.parametrize("arguments", [("check", "toy.toml"), ("check", "gone.toml"), ("schema", "--wrong")])
def test_it_prints_and_returns_the_same(arguments: tuple[str, ...], tmp_path: Path, toy_model: Path) -> None:
    write_project(tmp_path, toy_model)
    inside, outside = sdp(*arguments, cwd=tmp_path), sdp_process(*arguments, cwd=tmp_path)
    # The name that usage shows is that of the program.
    given = [text.replace("python -c", "sdp").replace("-c", "sdp") for text in (outside.stdout, outside.stderr)]
    assert (inside.returncode, inside.stdout, inside.stderr) == (outside.returncode, *given)


def test_what_a_command_changes_is_restored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REMOVED", "1")
    before = (dict(os.environ), Path.cwd(), signal.getsignal(signal.SIGTERM), torch.get_num_threads())
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    with process_state():
        del os.environ["REMOVED"]
        os.environ["ADDED"] = "1"
        os.chdir(tmp_path)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        torch.set_num_threads(before[3] + 1)
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
    after = (dict(os.environ), Path.cwd(), signal.getsignal(signal.SIGTERM), torch.get_num_threads())
    assert after == before
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])


def test_variables_are_given_for_the_length_of_a_command(tmp_path: Path, toy_model: Path) -> None:
    write_project(tmp_path, toy_model)
    assert sdp("check", "toy.toml", cwd=tmp_path, env={"OMP_NUM_THREADS": "3"}).returncode == 0
    assert os.environ["OMP_NUM_THREADS"] != "3"
