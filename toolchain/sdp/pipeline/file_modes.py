"""Who may read what is written: as the umask says, also where a library writes through a private temporary file.

safetensors, and others that replace a file in one step, leave it to its owner alone (0600), so that a group or a web
server that may read the rest of a run could not read its weights.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path


def follow_umask(path: Path) -> None:
    """Give a file, or all files of a folder, the permissions that the umask gives a new one; programs stay programs."""
    allowed = 0o777 & ~_umask()
    for file in (path, *sorted(path.rglob("*"))) if path.is_dir() else (path,):
        before = file.lstat().st_mode
        if not stat.S_ISREG(before):
            continue
        wanted = (0o666 | before & 0o111) & allowed
        if stat.S_IMODE(before) != wanted:
            # Some file systems have no permissions, and a file that another user shares is his.
            with suppress(OSError):
                file.chmod(wanted)


def _umask() -> int:
    """The umask, which the system gives only in exchange for another: for the moment the strictest."""
    before = os.umask(0o077)
    os.umask(before)
    return before
