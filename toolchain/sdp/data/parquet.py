"""Read columns of a parquet file in parts, so that a small file cannot expand to more than memory holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from sdp.data.untrusted import UntrustedDataError, max_decompressed_size
from sdp.data.value_names import named_in_metadata, with_names

# Rows read at once: the size limit is checked after each batch, also where every row holds a long text.
_ROWS = 256
# Bytes that Python needs for a row beside its text.
_BYTES_OF_A_ROW = 8


class ParquetTable:
    """The columns of a parquet file.

    Args:
        file: the file, read on access.
        size: its bytes, which limit what it may expand to.

    Attributes:
        names: the column names.

    Raises:
        UntrustedDataError: a name occurs twice.
        ValueError, OSError, pyarrow.ArrowException: it is damaged; also of every method.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        import pyarrow.parquet as pq

        self._file = pq.ParquetFile(file)
        self._limit = max_decompressed_size(size)
        self.names = [str(name) for name in self._file.schema_arrow.names]
        if twice := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise UntrustedDataError(f"a column name occurs twice: {', '.join(twice)}")
        self._classes = named_in_metadata(self._file.schema_arrow.metadata)

    def chunks(self, columns: Sequence[str]) -> Iterator[dict[str, list[Any]]]:
        """Yield chunks of rows: column name -> values, as class names where the file has them.

        Raises:
            UntrustedDataError: the file expands to more than `max_decompressed_size`.
        """
        for batch in self._batches(columns):
            yield {name: with_names(_values(batch.column(name)), self._classes.get(name, ())) for name in columns}

    def count(self) -> int:
        """Count the rows by reading the first column; the count in the file is not trusted.

        Raises:
            UntrustedDataError: as `chunks`.
        """
        return sum(batch.num_rows for batch in self._batches(self.names[:1]))

    def _batches(self, columns: Sequence[str]) -> Iterator[Any]:
        size = 0
        for batch in self._file.iter_batches(batch_size=_ROWS, columns=list(columns)):
            size += sum(map(_decompressed_bytes, batch.columns)) + _BYTES_OF_A_ROW * batch.num_rows * len(columns)
            # A batch holds a whole dictionary, even if its rows use few entries; both are freed together.
            if max(size, batch.nbytes) > self._limit:
                raise UntrustedDataError(f"a parquet file that decompresses to more than {self._limit:,} bytes")
            yield batch


def _decompressed_bytes(column: Any) -> int:
    """Return the bytes of the values of an Arrow array; a dictionary entry counts once for each use."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        lengths = pc.binary_length(column.dictionary.cast(pa.large_binary()))
        return int(pc.sum(lengths.take(column.indices)).as_py() or 0) + int(column.indices.nbytes)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _decompressed_bytes(column.flatten()) + _BYTES_OF_A_ROW * len(column)
    if pa.types.is_struct(kind):
        return sum(_decompressed_bytes(column.field(place)) for place in range(kind.num_fields))
    return int(column.nbytes)


def _values(column: Any) -> list[Any]:
    """Return the values of an Arrow array; a float32 becomes its shortest decimal, as text formats write it."""
    import pyarrow as pa

    if pa.types.is_float32(column.type):
        column = column.cast(pa.string()).cast(pa.float64())
    values: list[Any] = column.to_pylist()
    return values
