"""The rows of tables: tsv, csv and jsonl one at a time, parquet part by part."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from sdp.data.untrusted import UntrustedDataError, max_decompressed_size
from sdp.data.value_names import named_in_metadata, with_names
from sdp.errors import DataError

Row = list[Any]


def text_table(path: Path, stream: TextIO, suffix: str, wanted: Sequence[str] = ()) -> tuple[list[str], Iterator[Row]]:
    """Return the column names of a table, and its rows in order.

    Args:
        path: the file, for messages.
        stream: the file, opened with the newline setting of `newline_of`.
        suffix: .tsv, .csv or .jsonl.
        wanted: the keys that every line of a jsonl file must have.

    Returns:
        names, empty for an empty file; rows, an iterator that raises on a bad row.

    Raises:
        DataError: a line does not fit the format or the lines before it.
    """
    rows = _objects(path, stream, wanted) if suffix == ".jsonl" else _fields(path, stream, suffix)
    return next(rows, []), rows


def newline_of(suffix: str) -> str:
    """Return the `newline` argument of `open`: in jsonl only line feeds end lines, texts may hold other separators."""
    return "\n" if suffix == ".jsonl" else ""


def _fields(path: Path, stream: TextIO, suffix: str) -> Iterator[Row]:
    """Yield the header of a tsv or csv file, then its rows."""
    csv.field_size_limit(2**31 - 1)
    first = next(stream, None)
    if first is None:
        return
    tabs = suffix == ".tsv"
    quoting: dict[str, Any] = {"quoting": csv.QUOTE_NONE} if tabs else {"strict": True}
    reader = csv.reader(chain([first], stream), delimiter="\t" if tabs else _separator(first), **quoting)
    try:
        header = next(reader, None)
        if header is None:
            return
        if twice := sorted({name for name in header if header.count(name) > 1}):
            hint = "Rename or remove one of the columns."
            raise DataError(
                f"a column name occurs twice: {', '.join(map(repr, twice))}", where=f"{path}, line 1", hint=hint
            )
        yield header
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                what = f"{len(row)} fields where the header has {len(header)}"
                raise DataError(what, where=f"{path}, line {reader.line_num}", hint=_quoting_hint(row, suffix))
            yield row
    except csv.Error as error:
        raise DataError(f"not valid {suffix[1:]}: {error}", where=f"{path}, line {reader.line_num}") from None


def _separator(line: str) -> str:
    """Return the separator of a csv file, by its first line."""
    return ";" if _field_count(line, ",") <= 1 < _field_count(line, ";") else ","


def _field_count(line: str, separator: str) -> int:
    """Count the fields that a separator makes of a line; 0 where it splits inside quotes."""
    try:
        fields = next(csv.reader([line], delimiter=separator, strict=True), [])
    except csv.Error:
        return 0
    return 0 if any('"' in field for field in fields) else len(fields)


def _quoting_hint(row: Sequence[str], suffix: str) -> str:
    if suffix == ".csv":
        return "Put fields that hold a separator in quotes."
    quoted = any(field.startswith('"') for field in row)
    return "tsv has no quotes: write texts that hold tabs or line ends as csv or jsonl." if quoted else ""


def _objects(path: Path, stream: TextIO, wanted: Sequence[str]) -> Iterator[Row]:
    """Yield the keys of a jsonl file's first line, then the values of every line; None for a key that is not wanted."""
    names: list[str] = []
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        record = _object(line, f"{path}, line {number}")
        if not names:
            names = list(record)
            yield names
        if missing := [name for name in wanted if name not in record]:
            odd = ", ".join(missing)
            raise DataError(f"other keys than the first line ({odd})", where=f"{path}, line {number}")
        yield [record.get(name) for name in names]


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line, object_pairs_hook=_unique)
    except ValueError as error:
        raise DataError(f"not valid JSON: {error}", where=where) from None
    except RecursionError:
        raise DataError("JSON nested too deeply", where=where) from None
    if not isinstance(record, dict):
        raise DataError("not a JSON object", where=where)
    if "\\u" in line and _has_half_character(record):
        what = "half of a surrogate pair (such as \\ud83d alone), which is no text in Unicode"
        raise DataError(what, where=where, hint="Write the file anew, as UTF-8.")
    return record


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build a JSON object and reject duplicate keys, which JSON would silently overwrite."""
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"a key occurs twice: {', '.join(map(repr, twice))}")
    return record


def _has_half_character(record: dict[str, Any]) -> bool:
    """Whether any text in it cannot be encoded: JSON can hold unpaired surrogates."""
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


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
