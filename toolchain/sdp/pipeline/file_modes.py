"""Permissions of written files: as the umask sets them, also where a library writes a private temporary file.

safetensors and other libraries that replace a file in one step make it readable for the owner alone (0600). A group or
a web server that may read the rest of a run could then not read its weights.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path


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
