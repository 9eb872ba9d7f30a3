"""Files without a name, for what may be larger than memory: they are gone when their reader is, however it ends.

They lie where temporary files do, with the run folder while a stage works (`temporary_files_in`). What
is read from them, the system keeps in memory as long as it has some.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO


def unnamed_file() -> BinaryIO:
    """A new file for bytes.

    Raises:
        OSError: it cannot be made; names the folder.
    """
    with naming_the_folder():
        return tempfile.TemporaryFile()


def mapped(file: BinaryIO) -> mmap.mmap | bytes:
    """The content of a file, read from disk where it is looked at; the file itself is closed.

    Raises:
        OSError: its last part cannot be written; names the folder.
    """
    with naming_the_folder(), file:
        file.flush()
        # Nothing cannot be mapped.
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if file.tell() else b""


@contextmanager
def naming_the_folder() -> Iterator[None]:
    """Add the folder to a write error: a file without a name has none to report."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, tempfile.gettempdir()) from None
