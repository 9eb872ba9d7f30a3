"""Bytes out of files that nobody vouches for: regular files only, unfolded within bounds."""

from __future__ import annotations

import io
import stat
from gzip import GzipFile
from pathlib import Path

# A gzip file of text unfolds to three to ten times its size, one of the emptiest logs to 200 times.
MOST_UNFOLDED = 200
# Whatever its size, a file may unfold to so much.
ALWAYS_ALLOWED = 64 * 2**20
_CHUNK = 2**22


class UntrustedDataError(ValueError):
    """The file is no data file, or one that is made to fill the memory."""


def most_unfolded(size: int) -> int:
    """How many bytes a compressed file of so many may unfold to."""
    return max(ALWAYS_ALLOWED, MOST_UNFOLDED * size)


def read_file(path: Path) -> bytes:
    """The content of a regular file; .gz is unfolded.

    Raises:
        UntrustedDataError: it is a device or a pipe, which may have no end, or unfolds to more than `most_unfolded`.
        OSError, EOFError, zlib.error: it cannot be read, or is no whole gzip file.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise UntrustedDataError("no regular file but a device or a pipe")
    content = path.read_bytes()
    return unfold(content) if path.suffix == ".gz" and content else content


def unfold(content: bytes) -> bytes:
    """A gzip file's content.

    Raises:
        UntrustedDataError: it is more than `most_unfolded`.
        OSError, EOFError, zlib.error: the file is not whole.
    """
    limit = most_unfolded(len(content))
    parts, size = [], 0
    with GzipFile(fileobj=io.BytesIO(content)) as file:
        while part := file.read(_CHUNK):
            parts.append(part)
            size += len(part)
            if size > limit:
                raise UntrustedDataError(f"{len(content):,} bytes of gzip that unfold to more than {limit:,}")
    return b"".join(parts)
