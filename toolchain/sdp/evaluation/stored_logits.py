"""Intermediate logits on disk during prediction, which takes half an hour for a large split."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sdp.pipeline.files import read_arrays, write_arrays


@dataclass(frozen=True)
class LogitsFile:
    """The file for intermediate logits.

    Attributes:
        path: a file for this network and these rows only.
        seconds: time between two writes, the most work that is lost.
    """

    path: Path
    seconds: float


class RowLogits:
    """The logits of rows, starting with those that an interrupted attempt stored."""

    def __init__(self, rows: int, logits_file: LogitsFile | None = None) -> None:
        """
        Args:
            rows: number of rows.
            logits_file: the file; None for memory alone.
        """
        self._file = logits_file
        self._written = time.monotonic()
        self.of_row: dict[int, NDArray[np.float32]] = _read(logits_file.path, rows) if logits_file is not None else {}

    def add(self, new: Mapping[int, NDArray[np.float32]]) -> None:
        """Add the logits of rows, [1, C] each, [words, C] for tagging; writes them at intervals.

        Raises:
            SafetensorError: the disk is full.
        """
        self.of_row |= new
        if self._file is not None and time.monotonic() - self._written >= self._file.seconds:
            self._file.path.parent.mkdir(exist_ok=True)
            content = {
                "rows": np.fromiter(self.of_row, np.int64),
                "lengths": np.array([len(logits) for logits in self.of_row.values()], np.int64),
                "logits": np.concatenate(list(self.of_row.values())),
            }
            write_arrays(self._file.path, content)
            self._written = time.monotonic()


def _read(path: Path, rows: int) -> dict[int, NDArray[np.float32]]:
    """Read the logits in a file; empty where the file is missing or incomplete."""
    found = read_arrays(path)
    if found.keys() != {"rows", "lengths", "logits"}:
        return {}
    numbers, lengths, logits = found["rows"], found["lengths"], found["logits"]
    if len(numbers) != len(lengths) or lengths.sum() != len(logits) or not np.isin(numbers, np.arange(rows)).all():
        return {}
    return dict(zip(numbers.tolist(), np.split(logits, np.cumsum(lengths)[:-1]), strict=True))
