"""What is read from a path that somebody names is a file: devices and pipes may have no end, or never begin."""

from __future__ import annotations

import errno
import stat
from pathlib import Path


def check_regular(path: Path) -> None:
    """See that there is something to read at a path. A folder passes: opening it tells what is wrong.

    Raises:
        OSError: it is a device, a pipe or a socket, or there is nothing.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise OSError(errno.EINVAL, "a device or a pipe; save what it gives as a file", str(path))
