"""Unnamed temporary files for data larger than memory. They disappear with the process that reads them.

They lie in the folder for temporary files, which is the run folder while a stage works (`temporary_files_in`). The
system caches what is read from them while memory is free.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO


def unnamed_file() -> BinaryIO:
    """Open a new file for bytes.

    Raises:
        OSError: it cannot be created; the error names the folder.
    """
    with folder_in_errors():
        return tempfile.TemporaryFile()


def mapped(file: BinaryIO) -> mmap.mmap | bytes:
    """Map a file into memory, so that it is read from disk on access; closes the file.

    Raises:
        OSError: its last part cannot be written; the error names the folder.
    """
    with folder_in_errors(), file:
        file.flush()
        # An empty file cannot be mapped.
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if file.tell() else b""


@contextmanager
def folder_in_errors() -> Iterator[None]:
    """Add the folder to a write error: a file without a name has none to report."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, tempfile.gettempdir()) from None
