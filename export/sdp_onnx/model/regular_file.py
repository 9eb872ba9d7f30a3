"""Reject paths that are not regular files: reading a device or a pipe may never begin or end."""

from __future__ import annotations

import errno
import stat
from pathlib import Path


def check_regular(path: Path) -> None:
    """Check that a path can be read. A folder passes: opening it raises the right error.

    Raises:
        OSError: it is a device, a pipe or a socket, or does not exist.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "a device or a pipe; save its content as a file", str(path))
