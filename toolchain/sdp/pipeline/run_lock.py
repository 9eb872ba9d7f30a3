"""The lock of a folder, which the system releases with its process, and the name of its holder."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from sdp.errors import RunError
from sdp.pipeline.files import read_json, storage_error, write_json
from sdp_onnx.model.files import TEMPORARY

LOCK_FILE = ".lock"
HOLDER_FILE = ".holder.json"
# Files that a kill before any other write may leave.
LOCK_FILES = frozenset({LOCK_FILE, HOLDER_FILE, f"{HOLDER_FILE}{TEMPORARY}"})


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Create a folder and lock it against other sdp processes. The lock ends with the process, in any case.

    Raises:
        RunError: another process uses the folder, or the file system does not support locks.
        StorageError: the disk is full, or writing fails; also for such errors in the block.
    """
    # A soft lock is a file: it would remain after a kill or a copy of the folder, and block it for ever.
    lock = FileLock(folder / LOCK_FILE, fallback_to_soft=False)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except (FileExistsError, NotADirectoryError, PermissionError) as error:
        hint = "Name another folder (--run-dir; for a study, sweep or tuning --out)."
        raise RunError(f"cannot be a run folder: {error.strerror}", where=str(folder), hint=hint) from None
    except Timeout:
        what = f"another sdp process is working in this folder{_holder(folder)}"
        hint = "Wait for it, stop it, or name another folder (--run-dir; for a study, sweep or tuning --out)."
        raise RunError(what, where=str(folder), hint=hint) from None
    except OSError as error:
        raise storage_error(error, str(folder)) or _unlockable(folder, error) from error
    try:
        _sign(folder)
        yield
    except Exception as error:
        if (found := storage_error(error, str(folder))) is None:
            raise
        raise found from error
    finally:
        with suppress(OSError):
            (folder / HOLDER_FILE).unlink()
        lock.release()


def _unlockable(folder: Path, error: OSError) -> RunError:
    hint = (
        "If its file system has no locks, name a folder on a local disk (--run-dir; for a study, sweep or tuning "
        "--out), or mount it with locks: NFS with lockd, Lustre with -o flock."
    )
    return RunError(f"the folder cannot be locked: {error.strerror}", where=str(folder), hint=hint)


def _sign(folder: Path) -> None:
    """Write the holder of the lock for other processes."""
    since = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
    write_json(folder / HOLDER_FILE, {"pid": os.getpid(), "host": socket.gethostname(), "since": since})


def _holder(folder: Path) -> str:
    """Describe the holder of the lock; empty where it is unknown, as in the moment after locking."""
    holder = read_json(folder / HOLDER_FILE)
    if holder is None or not {"pid", "host", "since"} <= holder.keys():
        return ""
    # The file of a killed holder remains until the next holder writes its own.
    if holder["host"] == socket.gethostname() and not _is_alive(holder["pid"]):
        return ""
    return f" (process {holder['pid']} on {holder['host']}, since {holder['since']})"


def _is_alive(pid: object) -> bool:
    """Whether a process of this machine is alive; true where it cannot be determined."""
    # For the system 0 and negative numbers are process groups.
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
