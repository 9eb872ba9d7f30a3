"""Rows in files without a name: texts and token ids of many rows, of which memory holds only those in use."""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa
from collections.abc import Iterable


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


class Apart(Sequence[Texts]):
    """A view of rows of several texts: each text as a row of its own, those of a row behind each other.

    Args:
        rows: the rows.
        columns: texts of each.
    """

    def __init__(self, rows: Sequence[Texts], columns: int) -> None:
        self._rows = rows
        self._columns = columns

    def __len__(self) -> int:
        return self._columns * len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Texts: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Texts, ...]: ...
    def __getitem__(self, index: int | slice) -> Texts | tuple[Texts, ...]:
        if isinstance(index, slice):
            return tuple(self[place] for place in range(*index.indices(len(self))))
        row, column = divmod(range(len(self))[index], self._columns)
        return (self._rows[row][column],)

    def __iter__(self) -> Iterator[Texts]:
        for row in self._rows:
            yield from ((text,) for text in row)


TokenRow = dict[str, list[int]]
# These hold zeros and ones; all others are as wide as a token id.
_BYTES = ("attention_mask", "token_type_ids")


class Joined(Sequence[Item]):
    """Several sequences as one."""

    def __init__(self, parts: Sequence[Sequence[Item]]) -> None:
        self.parts = parts
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, index: int | slice) -> Item | tuple[Item, ...]:
        if isinstance(index, slice):
            return tuple(self[place] for place in range(*index.indices(len(self))))
        place = range(len(self))[index]
        part = int(np.searchsorted(self._ends, place, side="right"))
        return self.parts[part][place - (int(self._ends[part - 1]) if part else 0)]


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
    if isinstance(rows, Joined):
        return np.concatenate([row_lengths(part) for part in rows.parts])
    return np.array([len(row["input_ids"]) for row in rows], dtype=np.int64)
