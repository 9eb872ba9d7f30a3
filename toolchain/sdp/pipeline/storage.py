"""The disk: waiting for it, and what it refuses (full, read-only, limits), told as one error."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from sdp.errors import StorageError, UsageError
from sdp_onnx.model.files import flush_file

FULL = (errno.ENOSPC, errno.EDQUOT)
# Reasons that lie outside sdp: permissions, a read-only or broken disk, a limit (ulimit -f), a name too long.
REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EFBIG, errno.EIO, errno.ENAMETOOLONG)
KEPT = "Finished stages are kept, and the same command goes on from there."


def storage_error(error: BaseException, where: str = "") -> StorageError | None:
    """What an exception, or one that it came from, says of the disk; None where it is about something else.

    A usage error says better itself what cannot be used.

    Args:
        error: any exception.
        where: the folder that was worked in, for exceptions that name no file.
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
    """Wait until all files in a folder are on the disk: what is then said of them is true after a power loss too.

    Raises:
        OSError: the disk refuses.
    """
    for path in (*sorted(folder.rglob("*")), folder):
        flush_file(path)


def causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and those that it came from."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _reason(error: BaseException) -> int | None:
    """The system's number of a refusal; None where it is another error."""
    if isinstance(error, OSError):
        return error.errno if error.errno in (*FULL, *REFUSALS) else None
    # safetensors and processes that ended say it in words only, torch's zip writer leaves the reason out.
    text = str(error)
    if "PytorchStreamWriter failed writing" in text:
        return errno.ENOSPC
    return next((number for number in (*FULL, errno.EROFS, errno.EFBIG) if os.strerror(number) in text), None)
