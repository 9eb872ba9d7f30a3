"""Environment variables of launchers: torchrun's, and those that sdp hides from libraries.

Schedulers, containers and shells inside a job pass on variables of a launcher that did not start this command. torch,
accelerate and transformers would each follow some of them: wait for processes that do not exist, or train in another
precision than the recipe's. Only torchrun's complete set of variables, with more than one process, counts.
"""

from __future__ import annotations

import os

from sdp.errors import UsageError

# Set by torchrun for every process that it starts.
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")
_MORE = ("LOCAL_WORLD_SIZE", "NODE_RANK", "GROUP_RANK", "GROUP_WORLD_SIZE", "FORK_LAUNCHED")
# Set by MPI; accelerate reads ranks from these before torchrun's.
_MPI = ("OMPI_COMM_WORLD_", "PMI_", "MV2_COMM_WORLD_", "MPI_LOCAL")
_MPI_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
# Set by `accelerate launch`; sdp uses the recipe instead.
_ACCELERATE = ("ACCELERATE_", "FSDP_", "MEGATRON_LM_", "PARALLELISM_CONFIG_")


def process_count() -> int:
    """Return the number of processes that torchrun started for this command; 1 without torchrun."""
    return int(os.environ["WORLD_SIZE"]) if all(os.environ.get(name) for name in VARIABLES) and not _wrong() else 1


def clear_leftovers() -> None:
    """Remove variables that no launcher of this command set, also for child processes.

    Incomplete variables of several processes stay, so that `require_complete` can reject them.
    """
    several = process_count() > 1
    whole = several or _unmet() is None
    for name in list(os.environ):
        mpi, torchrun = name.startswith(_MPI), name.startswith("TORCHELASTIC_") or name in (*VARIABLES, *_MORE)
        if name.startswith(_ACCELERATE) or (mpi and whole) or (torchrun and whole and not several):
            del os.environ[name]


def require_complete() -> None:
    """Require a single process, or one of several that torchrun started.

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
    """Return the sign of several processes without torchrun, and the variables that show it."""
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
    """Return the error in torchrun's complete set of variables; empty if there is none."""
    for name in _NUMBERS:
        if not os.environ.get(name, "").isdecimal():
            return f"{name} is {os.environ.get(name, '')!r}, no number"
    if int(os.environ["RANK"]) >= int(os.environ["WORLD_SIZE"]):
        return f"RANK is {os.environ['RANK']}, not below WORLD_SIZE"
    return ""
