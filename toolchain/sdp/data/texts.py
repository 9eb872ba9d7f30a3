"""Texts of many rows in a file: memory holds the rows in use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from sdp.data.on_disk import folder_in_errors, mapped, unnamed_file

if TYPE_CHECKING:
    import pyarrow as pa

Texts = tuple[str, ...]
"""A row's texts, one a column; its words for tagging."""
Item = TypeVar("Item")
_BATCH = 1000


class TextFile:
    """Writer that receives rows in chunks and stores them on disk."""

    def __init__(self) -> None:
        import pyarrow as pa

        self._schema = pa.schema([("texts", pa.list_(pa.large_string()))])
        self._file = unnamed_file()
        self._writer = pa.ipc.new_file(self._file, self._schema)
        self._waiting: list[Texts] = []

    def add(self, rows: Sequence[Texts]) -> None:
        """Append rows.

        Raises:
            OSError: the disk is full; the error names the folder.
        """
        self._waiting += rows
        if len(self._waiting) >= _BATCH:
            self._write()

    def close(self) -> StoredTexts:
        """Finish writing, and return all added rows in order.

        Raises:
            OSError: the disk is full; the error names the folder.
        """
        import pyarrow as pa

        self._write()
        with folder_in_errors():
            self._writer.close()
        return StoredTexts(pa.ipc.open_file(pa.py_buffer(mapped(self._file))).read_all().column("texts"))

    def _write(self) -> None:
        import pyarrow as pa

        with folder_in_errors():
            self._writer.write_batch(pa.record_batch([self._waiting], schema=self._schema))
        self._waiting = []


class StoredTexts(Sequence[Texts]):
    """Rows of a `TextFile`, read on access."""

    def __init__(self, column: pa.ChunkedArray) -> None:
        self._column = column

    def __len__(self) -> int:
        return len(self._column)

    @overload
    def __getitem__(self, index: int) -> Texts: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Texts, ...]: ...
    def __getitem__(self, index: int | slice) -> Texts | tuple[Texts, ...]:
        if not isinstance(index, slice):
            return tuple(self._column[int(index)].as_py())
        start, stop, step = index.indices(len(self))
        if step != 1:
            return tuple(self[place] for place in range(start, stop, step))
        return tuple(map(tuple, self._column.slice(start, max(0, stop - start)).to_pylist()))

    def __iter__(self) -> Iterator[Texts]:
        for start in range(0, len(self), _BATCH):
            yield from self[start : start + _BATCH]


class Chosen(Sequence[Item]):
    """A view of some items of a sequence, in a given order.

    Args:
        items: all items.
        places: indices of the chosen items, int64 [n].
    """

    def __init__(self, items: Sequence[Item], places: NDArray[np.int64]) -> None:
        self._items = items
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, index: int | slice) -> Item | tuple[Item, ...]:
        if not isinstance(index, slice):
            return self._items[int(self._places[index])]
        return tuple(self._items[place] for place in self._places[index].tolist())
