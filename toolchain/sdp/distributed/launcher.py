"""What launchers leave in the environment of a process: torchrun's variables, and those that sdp keeps from libraries.

Schedulers, containers and shells inside a job hand down variables of a launcher that did not start this command. torch,
accelerate and transformers would each take a part of them for orders: to meet processes that are not there, or to train
in another precision than the recipe's. Only the whole set of torchrun, with more than one process, counts.
"""

from __future__ import annotations

import os

from sdp.errors import UsageError

# What torchrun sets for every process that it starts.
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")
_MORE = ("LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK", "GROUP_WORLD_SIZE", "FORK_LAUNCHED")
# MPI's, from which accelerate reads ranks before torchrun's.
_MPI = ("OMPI_COMM_WORLD_", "PMI_", "MV2_COMM_WORLD_", "MPI_LOCAL")
_MPI_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
# Settings of `accelerate launch`; here the recipe decides.
_ACCELERATE = ("ACCELERATE_", "FSDP_", "MEGATRON_LM_", "PARALLELISM_CONFIG_")


def process_count() -> int:
    """Number of processes that torchrun started for this command; 1 without torchrun."""
    return int(os.environ["WORLD_SIZE"]) if all(os.environ.get(name) for name in VARIABLES) and not _wrong() else 1


def clear_leftovers() -> None:
    """Take out of the environment what no launcher of this command set; child processes do not get it either.

    What hints at several processes and is not whole stays, for `require_whole` to refuse.
    """
    several = process_count() > 1
    whole = several or _unmet() is None
    for name in list(os.environ):
        mpi, torchrun = name.startswith(_MPI), name.startswith("TORCHELASTIC_") or name in (*VARIABLES, *_MORE)
        if name.startswith(_ACCELERATE) or (mpi and whole) or (torchrun and whole and not several):
            del os.environ[name]


def require_whole() -> None:
    """See that this process is one alone, or one of several that torchrun started.

    Raises:
        UsageError: a launcher started several processes, and not as torchrun does.
    """
    if process_count() == 1 and (found := _unmet()) is not None:
        what, names = found
        hint = (
            "Several processes are started by torchrun: torchrun --nproc-per-node N -m sdp run RECIPE. "
            f"To train in one process: env {' '.join(f'-u {name}' for name in names)} sdp run RECIPE"
        )
        raise UsageError(what, where="environment", hint=hint)


def _unmet() -> tuple[str, list[str]] | None:
    """What in the environment hints at several processes without torchrun, and the variables that do."""
    size = os.environ.get("WORLD_SIZE")
    if size and size != "1":
        missing = [name for name in VARIABLES if not os.environ.get(name)]
        why = f"{', '.join(missing)} not set" if missing else _wrong()
        return f"WORLD_SIZE is {size}, but torchrun did not start this process: {why}", ["WORLD_SIZE"]
    if all(os.environ.get(name) for name in VARIABLES):
        return None
    sizes = {name: os.environ[name] for name in _MPI_SIZES if os.environ.get(name, "1") not in ("", "1")}
    if not sizes:
        return None
    found = ", ".join(f"{name} is {value}" for name, value in sizes.items())
    return f"{found}: MPI started several processes, and sdp needs torchrun for that", list(sizes)


def _wrong() -> str:
    """What is wrong with torchrun's whole set; empty where nothing is."""
    for name in _NUMBERS:
        if not os.environ.get(name, "").isdecimal():
            return f"{name} is {os.environ.get(name, '')!r}, no number"
    if int(os.environ["RANK"]) >= int(os.environ["WORLD_SIZE"]):
        return f"RANK is {os.environ['RANK']}, not below WORLD_SIZE"
    return ""
