"""Files of a run folder: JSON and arrays that are whole or absent, permissions by the umask, and errors of the disk."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sdp.errors import StorageError, UsageError
from sdp_onnx.model.files import atomic_write, flush_file, read_json

FULL = (errno.ENOSPC, errno.EDQUOT)
# Causes outside sdp: permissions, a read-only or broken disk, a limit (ulimit -f), a name too long.
REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG, errno.EIO, errno.ENAMETOOLONG)
KEPT = "Finished stages are kept, and the same command goes on from there."


def storage_error(error: BaseException, where: str = "") -> StorageError | None:
    """Return the disk error in an exception or its causes; None for other errors.

    A usage error stays, because its own message is more specific.

    Args:
        error: any exception.
        where: the current folder, for exceptions that name no file.
    """
    if isinstance(error, UsageError):
        return None
    for cause in causes(error):
        if isinstance(cause, StorageError):
            return cause
        reason = _reason(cause)
        if reason is None:
            continue
        place = str(getattr(cause, "filename", None) or where)
        if reason in FULL:
            return StorageError("no space left on the disk", where=place, hint=f"Free some space. {KEPT}")
        return StorageError(os.strerror(reason), where=place, hint=f"Change that. {KEPT}")
    return None


def flush(folder: Path) -> None:
    """Wait until all files in a folder are on the disk, so that they survive a power loss.

    Raises:
        OSError: the disk reports an error.
    """
    for path in (*sorted(folder.rglob("*")), folder):
        flush_file(path)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its causes."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _reason(error: BaseException) -> int | None:
    """Return the errno of a disk error; None for other errors."""
    if isinstance(error, OSError):
        return error.errno if error.errno in (*FULL, *REFUSALS) else None
    # safetensors and child processes have it only in their message, and torch's zip writer omits the reason.
    text = str(error)
    if "PytorchStreamWriter failed writing" in text:
        return errno.ENOSPC
    return next((number for number in (*FULL, errno.EROFS, errno.EFBIG) if os.strerror(number) in text), None)


def follow_umask(path: Path) -> None:
    """Give a file, or all files of a folder, the permissions of a new file; executable files stay executable."""
    allowed = 0o777 & ~_umask()
    for file in (path, *sorted(path.rglob("*"))) if path.is_dir() else (path,):
        before = file.lstat().st_mode
        if not stat.S_ISREG(before):
            continue
        wanted = (0o666 | before & 0o111) & allowed
        if stat.S_IMODE(before) != wanted:
            # Some file systems have no permissions, and files of other users cannot be changed.
            with suppress(OSError):
                file.chmod(wanted)


def _umask() -> int:
    """Return the umask, which can only be read by setting another; the strictest is set for that moment."""
    before = os.umask(0o077)
    os.umask(before)
    return before


__all__ = ["read_json", "write_json"]


def write_json(path: Path, content: object) -> None:
    """Write JSON so that the file is complete or absent, also after a power loss."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


_SEAL = "sha256"


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a safetensors file with a hash of its content.

    Raises:
        SafetensorError: the disk is full.
        OSError: the disk reports an error.
    """
    with atomic_write(path) as temporary:
        save_file(dict(arrays), temporary, metadata={_SEAL: _hash(arrays)})
        follow_umask(temporary)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of such a file by name; empty where the file is missing or damaged."""
    try:
        # Torch's loader maps the file: a teacher's outputs for all training rows may be larger than memory.
        with safe_open(path, framework="pt") as file:
            arrays = {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118 it is no mapping
            return arrays if (file.metadata() or {}).get(_SEAL) == _hash(arrays) else {}
    except (OSError, SafetensorError):
        return {}


def _hash(arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(array.data)
    return digest.hexdigest()
