"""What the system refuses is told as one error: what, where, what to do."""

from __future__ import annotations

import errno

import pytest

from sdp.errors import DataError, StageError, StorageError
from sdp.pipeline.files import storage_error


def chained(inner: Exception, outer: Exception) -> Exception:
    """`outer`, raised from `inner`."""
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "any", "a/file"), ["a/file: no space left on the disk", "Free some space"]),
        (OSError(errno.EDQUOT, "any"), ["the/run: no space left"]),
        (OSError(errno.EROFS, "any", "a/file"), ["a/file: Read-only file system"]),
        (OSError(errno.EFBIG, "any"), ["the/run: File too large"]),
        (PermissionError(errno.EACCES, "any", "a/file"), ["a/file: Permission denied"]),
        (RuntimeError("I/O error: No space left on device (os error 28)"), ["the/run: no space left"]),
        (RuntimeError("PytorchStreamWriter failed writing file data/1: file write failed"), ["no space left"]),
        (chained(OSError(errno.ENOSPC, "any", "x"), StageError("torch cannot export the model")), ["x: no space left"]),
        (StorageError("no space left on the disk", where="x"), ["x: no space left"]),
    ],
)
def test_a_refusal_is_reported(error: Exception, words: list[str]) -> None:
    found = storage_error(error, "the/run")
    assert found is not None
    assert found.exit_code == 1
    assert all(word in str(found) for word in words), str(found)
    assert "the same command goes on" in str(found) or isinstance(error, StorageError)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no"),
        FileNotFoundError(errno.ENOENT, "any", "x"),
        StageError("the loss became nan"),
        # It says better itself what is wrong.
        chained(PermissionError(errno.EACCES, "any", "x"), DataError("cannot be read")),
    ],
)
def test_other_errors_are_others(error: Exception) -> None:
    assert storage_error(error, "the/run") is None


def test_what_was_handled_before_is_no_cause() -> None:
    error = ValueError("another thing")
    error.__context__ = OSError(errno.ENOSPC, "any", "x")
    assert storage_error(error) is not None
    error.__suppress_context__ = True
    assert storage_error(error) is None
