"""What other launchers left in the environment changes nothing; half of what torchrun sets is one clear error."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from accelerate.state import AcceleratorState
from typer.testing import CliRunner

from sdp.cli.main import app
from sdp.distributed import ranks
from sdp.distributed.launcher import VARIABLES, clear_leftovers, process_count, require_complete
from sdp.errors import UsageError
from sdp.sweep.levels import open_sweep

NAMES = (*VARIABLES, "LOCAL_WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMI_SIZE", "PMI_RANK")
TORCHRUN = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29511"}
MPI = {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_LOCAL_RANK": "0", "PMI_SIZE": "1"}
ACCELERATE = {"ACCELERATE_MIXED_PRECISION": "fp16", "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An environment without any of it, and put back as it was."""
    before = dict(os.environ)
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    yield
    os.environ.clear()
    os.environ.update(before)


LEFTOVERS = [
    {"LOCAL_RANK": "0"},
    {"LOCAL_RANK": "-1"},
    {"WORLD_SIZE": "1"},
    {"RANK": "3"},
    {"MASTER_ADDR": "node-1", "MASTER_PORT": "29500"},
    {"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"},
    {**TORCHRUN, "WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"},
    ACCELERATE,
    MPI,
]


@pytest.mark.parametrize("left", LEFTOVERS, ids="+".join)
def test_leftovers_are_gone_before_a_command_begins(left: dict[str, str]) -> None:
    os.environ.update(left, RANKING_URL="mine")
    ranks.join()
    require_complete()
    assert left.keys().isdisjoint(os.environ)
    assert os.environ["RANKING_URL"] == "mine"
    assert (process_count(), ranks.rank(), ranks.ranks_here()) == (1, 0, 1)


def test_training_takes_no_orders_from_leftovers(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("toy.toml", "train.tsv", "dev.tsv"):
        shutil.copy(finished / name, tmp_path / name)
    (tmp_path / "model").symlink_to((finished / "model").resolve())
    monkeypatch.chdir(tmp_path)
    os.environ.update({**MPI, **ACCELERATE, "LOCAL_RANK": "0"})
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        done = CliRunner().invoke(app, ["finetune", "toy.toml", "--set", "finetune.epochs=0.2"])
        state = AcceleratorState()
        assert (state.num_processes, state.mixed_precision, state.distributed_type) == (1, "no", "NO")
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    assert done.exit_code == 0, done.output


def test_torchrun_is_obeyed_and_the_others_beside_it_are_not() -> None:
    os.environ.update({**TORCHRUN, **MPI, **ACCELERATE})
    clear_leftovers()
    assert (process_count(), ranks.rank()) == (2, 1)
    assert TORCHRUN.items() <= os.environ.items()
    assert (MPI | ACCELERATE).keys().isdisjoint(os.environ)
    require_complete()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"WORLD_SIZE": "4"}, "WORLD_SIZE is 4, .*RANK, LOCAL_RANK, MASTER_ADDR, MASTER_PORT not set"),
        ({name: TORCHRUN[name] for name in VARIABLES if name != "LOCAL_RANK"}, ": LOCAL_RANK not set"),
        ({**TORCHRUN, "RANK": "x"}, "RANK is 'x', no number"),
        ({**TORCHRUN, "RANK": "2"}, "RANK is 2, not below WORLD_SIZE"),
        ({"WORLD_SIZE": "many"}, "WORLD_SIZE is many"),
        ({"OMPI_COMM_WORLD_SIZE": "2"}, "OMPI_COMM_WORLD_SIZE is 2: MPI started several"),
    ],
)
def test_half_of_a_launch_is_refused_by_what_trains_alone(
    given: dict[str, str], words: str, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.environ.update(given)
    monkeypatch.chdir(finished)
    assert CliRunner().invoke(app, ["check", "toy.toml"]).exit_code == 0
    for command in (["run", "toy.toml"], ["study", "toy.toml", "--dry-run"]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 2, done.output
        assert "torchrun --nproc-per-node N -m sdp run RECIPE" in done.output
    with pytest.raises(UsageError, match=words) as caught:
        open_sweep(finished / "toy.toml", "0.5,0.8", [], None)
    # What the hint says to do helps.
    for option in caught.value.hint.partition("env ")[2].replace(" sdp run RECIPE", "").split("-u ")[1:]:
        del os.environ[option.strip()]
    clear_leftovers()
    require_complete()
