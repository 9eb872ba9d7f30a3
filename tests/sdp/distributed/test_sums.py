"""Two processes of B rows give the loss and the gradients of one process of 2 B rows: real ranks over gloo."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sdp.distributed.collectives import mean_over_ranks, rank_count, sum_over_ranks
from support import ranks
from support.toy import ONE_THREAD


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What every rank of every case computed."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, str(Path(ranks.__file__))]
    environment = {**ONE_THREAD, "PYTHONPATH": ":".join(sys.path)}
    running = [
        subprocess.Popen([*command, str(rank), str(folder)], env=environment, stderr=subprocess.PIPE, text=True)
        for rank in range(ranks.RANKS)
    ]
    for process in running:
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
    return folder


@pytest.mark.parametrize("case", ranks.CASES)
def test_the_ranks_together_are_one_process(case: str, folder: Path) -> None:
    alone = ranks.step(case)
    for rank in range(ranks.RANKS):
        stored = load_file(folder / f"{case}-{rank}")
        assert stored.keys() == alone.keys()
        for name, value in alone.items():
            size = float(value.abs().max())
            assert torch.allclose(stored[name], value, rtol=1e-4, atol=1e-5 * size + 1e-7), name


@pytest.mark.parametrize("case", [case for case in ranks.CASES if case != "one row beside nine"])
def test_the_mean_of_what_each_rank_finds_by_itself_is_something_else(case: str) -> None:
    """Without this the test above could pass on losses that ignore the other ranks."""
    apart = [float(ranks.step(case, rows)["loss"]) for rows in ranks.shares(case)]
    assert abs(sum(apart) / len(apart) / float(ranks.step(case)["loss"]) - 1) > 1e-3


def test_ranks_go_on_from_the_sums_of_all(folder: Path) -> None:
    """The mean over both ranks and both batches, where one rank had 1 and 6, the other 2 and 6."""
    for rank in range(ranks.RANKS):
        stored = load_file(folder / f"terms-{rank}")
        assert [float(stored["0"]), float(stored["1"])] == [(1.5 + 6) / 2] * 2


def test_ranks_repair_what_one_process_repairs_and_have_the_same_weights(folder: Path) -> None:
    first, second = (load_file(folder / f"repaired-{rank}") for rank in range(ranks.RANKS))
    for name, weight in ranks.repaired().items():
        assert torch.equal(first[name], second[name])
        torch.testing.assert_close(first[name], weight, rtol=1e-3, atol=1e-4)


def test_one_process_sums_and_averages_by_itself() -> None:
    assert rank_count() == 1
    values = torch.tensor([[1.0, 2.0], [6.0, float("nan")]])
    assert sum_over_ranks(values)[0] is values
    assert float(mean_over_ranks(values[0])) == 1.5
    assert float(mean_over_ranks(values, torch.tensor([[True, True], [True, False]]))) == 3
    assert float(mean_over_ranks(values, torch.zeros(2, 2, dtype=torch.bool))) == 0
