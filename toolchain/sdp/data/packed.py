"""Tokenized rows in a few flat arrays on disk: memory holds the end of each row, and the rows in use."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import BinaryIO, overload

import numpy as np
from numpy.typing import NDArray

from sdp.data.on_disk import folder_in_errors, mapped, unnamed_file

TokenRow = dict[str, list[int]]
# These hold zeros and ones; all others are as wide as a token id.
_BYTES = ("attention_mask", "token_type_ids")


class PackedRows(Sequence[TokenRow]):
    """A sequence of rows; a row becomes lists on access.

    Args:
        chunks: the rows in chunks, so that not all are in memory at once. All have the same names, and a row has the
            same number of values for each name.

    Raises:
        OSError: the disk is full; the error names the folder.
    """

    def __init__(self, chunks: Iterable[Sequence[TokenRow]]) -> None:
        files: dict[str, BinaryIO] = {}
        lengths = [np.zeros(1, dtype=np.int64)]
        for rows in chunks:
            for name in rows[0] if rows else ():
                if name not in files:
                    files[name] = unnamed_file()
                values = np.array([value for row in rows for value in row[name]], dtype=_kind(name))
                with folder_in_errors():
                    files[name].write(values.tobytes())
            lengths.append(np.array([len(next(iter(row.values()))) for row in rows], dtype=np.int64))
        self._values = {name: np.frombuffer(mapped(file), dtype=_kind(name)) for name, file in files.items()}
        self._ends = np.cumsum(np.concatenate(lengths))

    def __len__(self) -> int:
        return len(self._ends) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Return the number of tokens of every row, [N]."""
        return np.diff(self._ends)

    @overload
    def __getitem__(self, index: int) -> TokenRow: ...
    @overload
    def __getitem__(self, index: slice) -> list[TokenRow]: ...
    def __getitem__(self, index: int | slice) -> TokenRow | list[TokenRow]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        place = range(len(self))[index]
        start, stop = self._ends[place], self._ends[place + 1]
        return {name: values[start:stop].tolist() for name, values in self._values.items()}


def _kind(name: str) -> type[np.int8 | np.int32]:
    return np.int8 if name in _BYTES else np.int32


def row_lengths(rows: Sequence[TokenRow]) -> NDArray[np.int64]:
    """Return the number of tokens of every row, [N]."""
    if isinstance(rows, PackedRows):
        return rows.lengths
    return np.array([len(row["input_ids"]) for row in rows], dtype=np.int64)
