"""Columns of a parquet file, read part by part so that a small file cannot unfold to more than memory holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from sdp.data.untrusted import UntrustedDataError, most_unfolded

# Rows read at once: even where each holds a long text, the sum is checked after so many.
_ROWS = 256
# What Python needs for a row beside its text.
_BYTES_OF_A_ROW = 8


class ParquetTable:
    """A parquet file's columns.

    Args:
        file: the file, read from where it is asked for.
        size: its bytes, which bound what it may unfold to.

    Attributes:
        names: of the columns.

    Raises:
        UntrustedDataError: a name occurs twice.
        ValueError, OSError, pyarrow.ArrowException: it is damaged; also of every method.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(file)
        self._limit = most_unfolded(size)
        self.names = [str(name) for name in self._file.schema_arrow.names]
        if len(set(self.names)) < len(self.names):
            raise UntrustedDataError(f"a column name occurs twice: {', '.join(self.names)}")

    def chunks(self, columns: Sequence[str]) -> Iterator[dict[str, list[Any]]]:
        """Some rows at a time: name of the column -> values.

        Raises:
            UntrustedDataError: the file unfolds to more than `most_unfolded`.
        """
        for batch in self._batches(columns):
            yield {name: column.to_pylist() for name, column in zip(columns, batch.columns, strict=True)}

    def count(self) -> int:
        """How many rows the file has, by reading its first column; what the file itself says is not believed.

        Raises:
            UntrustedDataError: as `chunks`.
        """
        return sum(batch.num_rows for batch in self._batches(self.names[:1]))

    def _batches(self, columns: Sequence[str]) -> Iterator[Any]:
        size = 0
        for batch in self._file.iter_batches(batch_size=_ROWS, columns=list(columns)):
            size += batch.nbytes + _BYTES_OF_A_ROW * batch.num_rows * len(columns)
            if size > self._limit:
                raise UntrustedDataError(f"a parquet file that unfolds to more than {self._limit:,} bytes")
            yield batch
