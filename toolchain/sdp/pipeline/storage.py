"""The disk: flush files, and convert errors of the disk (full, read-only, limits) to one error."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from sdp.errors import StorageError, UsageError
from sdp_onnx.model.files import flush_file

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
