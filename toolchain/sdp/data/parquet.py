"""Columns of a parquet file, read part by part so that a small file cannot unfold to more than memory holds."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

from sdp.data.untrusted import UntrustedDataError, most_unfolded

# Rows read at once: even where each holds a long text, the sum is checked after so many.
_ROWS = 256
# What Python needs for a row beside its text.
_BYTES_OF_A_ROW = 8


def parquet_columns(content: bytes, wanted: Sequence[str]) -> dict[str, list[Any]]:
    """Read a file's columns.

    Args:
        content: of the file.
        wanted: names of those that are read, as far as they are there; the others come without their rows.

    Raises:
        UntrustedDataError: a name occurs twice, or the file unfolds to more than `most_unfolded`.
        ValueError, OSError, pyarrow.ArrowException: it is damaged.
    """
    import pyarrow.parquet as pq

    file = pq.ParquetFile(io.BytesIO(content))
    names = [str(name) for name in file.schema_arrow.names]
    if len(set(names)) < len(names):
        raise UntrustedDataError(f"a column name occurs twice: {', '.join(names)}")
    chosen = [name for name in names if name in wanted]
    table: dict[str, list[Any]] = {name: [] for name in names}
    for batch in _batches(file, chosen, most_unfolded(len(content))):
        for name, column in zip(chosen, batch.columns, strict=True):
            table[name] += column.to_pylist()
    return table


def parquet_rows(content: bytes) -> int:
    """How many rows a file has, by reading its first column; what the file itself says is not believed.

    Raises:
        as `parquet_columns`.
    """
    import pyarrow.parquet as pq

    file = pq.ParquetFile(io.BytesIO(content))
    first = [str(name) for name in file.schema_arrow.names][:1]
    return sum(batch.num_rows for batch in _batches(file, first, most_unfolded(len(content))))


def _batches(file: Any, chosen: Sequence[str], limit: int) -> Iterator[Any]:
    size = 0
    for batch in file.iter_batches(batch_size=_ROWS, columns=list(chosen)):
        size += batch.nbytes + _BYTES_OF_A_ROW * batch.num_rows * len(chosen)
        if size > limit:
            raise UntrustedDataError(f"a parquet file that unfolds to more than {limit:,} bytes")
        yield batch
