"""Read untrusted files: regular files only, decompressed within limits."""

from __future__ import annotations

import io
from gzip import GzipFile
from pathlib import Path
from typing import TYPE_CHECKING

from sdp_onnx.model.files import check_regular

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# A gzip file of text expands to three to ten times its size, the most repetitive logs to 200 times.
MOST_UNFOLDED = 200
# A file of any size may expand to so much.
ALWAYS_ALLOWED = 64 * 2**20


class UntrustedDataError(ValueError):
    """The file is not a data file, or expands beyond the limit."""


def max_decompressed_size(size: int) -> int:
    """Return the limit in bytes that a compressed file of this size may expand to."""
    return max(ALWAYS_ALLOWED, MOST_UNFOLDED * size)


def open_file(path: Path) -> io.BufferedReader:
    """Open a regular file for reading; .gz is decompressed as it is read.

    Reading raises `UntrustedDataError` if it expands to more than `max_decompressed_size`, and OSError, EOFError or
    zlib.error if it is not a complete gzip file.

    Raises:
        OSError: it cannot be opened, or is a device or a pipe.
    """
    check_regular(path)
    if path.suffix != ".gz":
        return path.open("rb")
    return io.BufferedReader(_Decompressed(GzipFile(path), path.stat().st_size))


class _Decompressed(io.RawIOBase):
    """The decompressed content of a gzip file, up to a limit."""

    def __init__(self, file: GzipFile, size: int) -> None:
        self._file = file
        self._size = size
        self._left = max_decompressed_size(size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        part = self._file.read1(len(view))
        self._left -= len(part)
        if self._left < 0:
            what = f"{self._size:,} bytes of gzip that decompress to more than {max_decompressed_size(self._size):,}"
            raise UntrustedDataError(what)
        view[: len(part)] = part
        return len(part)

    def close(self) -> None:
        self._file.close()
        super().close()
