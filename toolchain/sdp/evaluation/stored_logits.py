"""What a network said so far, kept on disk while it is asked: a large split takes half an hour."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdp.pipeline.array_file import read_arrays, write_arrays


@dataclass(frozen=True)
class Kept:
    """Where answers are kept until all are there.

    Attributes:
        path: a file for this network and these rows alone.
        seconds: between two writes, so that much is lost at most.
    """

    path: Path
    seconds: float


class Answers:
    """The logits of rows: those that an interrupted attempt kept, and what is added."""

    def __init__(self, rows: int, kept: Kept | None = None) -> None:
        """
        Args:
            rows: how many there will be.
            kept: where they are kept; None for memory alone.
        """
        self._kept = kept
        self._written = time.monotonic()
        self.of_row: dict[int, NDArray[np.float32]] = _read(kept.path, rows) if kept is not None else {}

    def add(self, said: Mapping[int, NDArray[np.float32]]) -> None:
        """Add the logits of rows, [1, C] each, [words, C] for tagging; written when it is time to.

        Raises:
            SafetensorError: the disk is full.
        """
        self.of_row |= said
        if self._kept is not None and time.monotonic() - self._written >= self._kept.seconds:
            self._kept.path.parent.mkdir(exist_ok=True)
            content = {
                "rows": np.fromiter(self.of_row, np.int64),
                "lengths": np.array([len(logits) for logits in self.of_row.values()], np.int64),
                "logits": np.concatenate(list(self.of_row.values())),
            }
            write_arrays(self._kept.path, content)
            self._written = time.monotonic()


def _read(path: Path, rows: int) -> dict[int, NDArray[np.float32]]:
    """The answers in a file; none where there is no file, or it is not whole."""
    found = read_arrays(path)
    if found.keys() != {"rows", "lengths", "logits"}:
        return {}
    numbers, lengths, logits = found["rows"], found["lengths"], found["logits"]
    if len(numbers) != len(lengths) or lengths.sum() != len(logits) or not np.isin(numbers, np.arange(rows)).all():
        return {}
    return dict(zip(numbers.tolist(), np.split(logits, np.cumsum(lengths)[:-1]), strict=True))
