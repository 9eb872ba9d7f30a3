"""Bytes out of files that nobody vouches for: regular files only, unfolded within bounds."""

from __future__ import annotations

import io
from gzip import GzipFile
from pathlib import Path
from typing import TYPE_CHECKING

from sdp_onnx.model.files import check_regular

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# A gzip file of text unfolds to three to ten times its size, one of the emptiest logs to 200 times.
MOST_UNFOLDED = 200
# Whatever its size, a file may unfold to so much.
ALWAYS_ALLOWED = 64 * 2**20


class UntrustedDataError(ValueError):
    """The file is no data file, or one that is made to fill the memory."""


def most_unfolded(size: int) -> int:
    """How many bytes a compressed file of so many may unfold to."""
    return max(ALWAYS_ALLOWED, MOST_UNFOLDED * size)


def open_file(path: Path) -> io.BufferedReader:
    """A regular file, opened for reading; .gz is unfolded as it is read.

    Reading raises `UntrustedDataError` where it unfolds to more than `most_unfolded`, and OSError, EOFError or
    zlib.error where it is no whole gzip file.

    Raises:
        OSError: it cannot be opened, or is a device or a pipe.
    """
    check_regular(path)
    if path.suffix != ".gz":
        return path.open("rb")
    return io.BufferedReader(_Unfolded(GzipFile(path), path.stat().st_size))


class _Unfolded(io.RawIOBase):
    """What a gzip file unfolds to, up to a limit."""

    def __init__(self, file: GzipFile, size: int) -> None:
        self._file = file
        self._size = size
        self._left = most_unfolded(size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        part = self._file.read1(len(view))
        self._left -= len(part)
        if self._left < 0:
            what = f"{self._size:,} bytes of gzip that unfold to more than {most_unfolded(self._size):,}"
            raise UntrustedDataError(what)
        view[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self._file.close()
        super().close()
