"""Reading and writing files safely: a device is never read, and a written file is whole or absent."""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

TEMPORARY = ".tmp"
"""The end of a file's name until it is whole."""


def check_regular(path: Path) -> None:
    """Check that a path can be read to an end: devices and pipes may have none, or never begin.

    A folder passes, since opening it raises a clearer error.

    Raises:
        OSError: the path is a device, a pipe or a socket, or does not exist.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "a device or a pipe; save its content as a file", str(path))


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON object; None where the file does not exist or is damaged."""
    try:
        check_regular(path)
        content = json.loads(path.read_text(encoding="utf-8"))
    # ValueError: no UTF-8, no JSON, or a number of thousands of digits; RecursionError: thousands of brackets.
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path, whose file takes the name `path` when the block ends well and is removed otherwise.

    The content is on the disk before the file takes its name, so that it is never half-written, also after a power
    loss. The block writes and closes the file.

    Raises:
        OSError: the disk refuses.
    """
    temporary = path.with_name(f"{path.name}{TEMPORARY}")
    try:
        yield temporary
        flush_file(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def flush_file(path: Path) -> None:
    """Wait until a file, or the list of a folder's names, is on the disk.

    Raises:
        OSError: the disk refuses.
    """
    windows = sys.platform == "win32"
    if windows and path.is_dir():
        return
    # Windows flushes only what is open for writing; elsewhere a file may be read-only.
    descriptor = os.open(path, os.O_RDWR if windows else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
