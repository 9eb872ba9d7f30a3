"""Read files in chunks of rows: tsv, csv, jsonl and parquet; and lines from txt. Plain or gzip."""

from __future__ import annotations

import difflib
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from gzip import BadGzipFile
from itertools import islice
from pathlib import Path
from typing import Any

from sdp.data.source import SUFFIXES
from sdp.data.tables import ParquetTable, Row, newline_of, text_table
from sdp.data.untrusted import UntrustedDataError, open_file
from sdp.errors import DataError

Columns = dict[str, list[Any]]
CHUNK = 1000
"""Rows of text in a chunk."""
_OTHER_SUFFIX = {
    "\t": "a file with tabs between its fields ends in .tsv.",
    ";": "a file with semicolons between its fields ends in .csv.",
    ",": "a file with commas between its fields ends in .csv.",
    "|": "put commas between the fields in place of |.",
}
"""Separator -> hint, where the header is one name that contains it."""


def column_chunks(path: Path, columns: Sequence[str]) -> Iterator[Columns]:
    """Read the named columns of a file in chunks of rows: a file may be larger than memory.

    Args:
        path: the file; its suffix gives the format.
        columns: names of the wanted columns.

    Returns:
        for each chunk, column name -> values, all of the same length; at least one row in total.

    Raises:
        DataError: the file is missing, empty, damaged, not UTF-8, of an unknown format, or lacks a column.
    """
    found = False
    for chunk in all_chunks(path, columns):
        found = found or bool(chunk[columns[0]])
        yield chunk
    if not found:
        raise DataError("the file has a header and no rows", where=str(path))


def all_chunks(path: Path, columns: Sequence[str]) -> Iterator[Columns]:
    """Read as `column_chunks` does a file that may have no rows: one of several.

    Raises:
        DataError: as `column_chunks`, except for a file without rows.
    """
    suffix = _suffix(path)
    yield from _parquet_chunks(path, columns) if suffix == ".parquet" else _text_chunks(path, suffix, columns)


def read_columns(path: Path, columns: Sequence[str]) -> Columns:
    """Read all rows of `column_chunks` at once.

    Raises:
        DataError: as `column_chunks`.
    """
    table: Columns = {name: [] for name in columns}
    for chunk in column_chunks(path, columns):
        for name, values in chunk.items():
            table[name] += values
    return table


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a text file, plain or gzip, without blank lines and line ends.

    Raises:
        DataError: the file is missing, damaged, or not UTF-8.
    """
    with _file_errors(path), _open_text(path, newline=None) as stream:
        for part in stream:
            yield from (line for line in part.splitlines() if line.strip())


def count_data_rows(path: Path) -> int:
    """Count the rows of a file by reading it.

    Raises:
        DataError: as `column_chunks`, except for missing columns.
    """
    suffix = _suffix(path)
    if suffix == ".parquet":
        with _file_errors(path), _open_parquet(path) as table:
            return table.count()
    with _file_errors(path), _open_text(path, newline_of(suffix)) as stream:
        return sum(1 for _ in text_table(path, stream, suffix)[1])


def column_names(path: Path) -> list[str]:
    """Return the column names of a file, in its order.

    Raises:
        DataError: as `column_chunks`, except for missing columns and damaged rows.
    """
    suffix = _suffix(path)
    if suffix == ".parquet":
        with _file_errors(path), _open_parquet(path) as table:
            return table.names
    with _file_errors(path), _open_text(path, newline_of(suffix)) as stream:
        names = text_table(path, stream, suffix)[0]
    if not names:
        raise _empty(path)
    return names


def check_decompression(path: Path, columns: Sequence[str]) -> None:
    """Check that a compressed file is complete and expands to no more than the limit, before other code reads it.

    Raises:
        DataError: it is damaged, expands beyond the limit, or is parquet and lacks a column.
    """
    if path.suffix == ".parquet":
        for _ in _parquet_chunks(path, columns):
            pass
    elif path.suffix == ".gz":
        with _file_errors(path), open_file(path) as stream:
            while stream.read(io.DEFAULT_BUFFER_SIZE):
                pass


def missing_columns(missing: Sequence[str], present: Sequence[str], where: str) -> DataError:
    """Return the error for missing columns: which, the existing ones, and the nearest name."""
    near = difflib.get_close_matches(missing[0], present, n=1)
    hint = "Name the columns with data.text and data.label."
    if len(present) == 1 and (found := next((mark for mark in _OTHER_SUFFIX if mark in present[0]), None)):
        hint = f"The header is one name: {_OTHER_SUFFIX[found]}"
    elif any(";" in name for name in present):
        hint = "The header holds semicolons and commas: put names that hold a comma in quotes."
    elif any(name[:1] == name[-1:] == '"' for name in present):
        hint = "tsv has no quotes: take them out of the file, or write it as csv."
    elif near:
        hint = f'Did you mean "{near[0]}"? {hint}'
    wanted = ", ".join(f'"{name}"' for name in missing)
    return DataError(f"no column {wanted}; the columns are {', '.join(present) or 'none'}", where=where, hint=hint)


def _suffix(path: Path) -> str:
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix not in SUFFIXES:
        raise DataError(f"unknown format {suffix!r}", where=str(path), hint=f"Known: {', '.join(SUFFIXES)}, also .gz.")
    return suffix


def _text_chunks(path: Path, suffix: str, columns: Sequence[str]) -> Iterator[Columns]:
    with _file_errors(path), _open_text(path, newline_of(suffix)) as stream:
        names, rows = text_table(path, stream, suffix, columns)
        if not names:
            raise _empty(path)
        _check_columns(path, names, columns)
        places = [names.index(name) for name in columns]
        while chunk := list(islice(rows, CHUNK)):
            yield {name: _column(chunk, place) for name, place in zip(columns, places, strict=True)}


def _column(rows: list[Row], place: int) -> list[Any]:
    return [row[place] for row in rows]


def _parquet_chunks(path: Path, columns: Sequence[str]) -> Iterator[Columns]:
    with _file_errors(path), _open_parquet(path) as table:
        _check_columns(path, table.names, columns)
        yield from table.chunks(columns)


def _check_columns(path: Path, names: Sequence[str], columns: Sequence[str]) -> None:
    missing = [name for name in columns if name not in names]
    if missing:
        raise missing_columns(missing, names, str(path))


def _open_text(path: Path, newline: str | None) -> io.TextIOWrapper:
    return io.TextIOWrapper(open_file(path), encoding="utf-8-sig", newline=newline)


@contextmanager
def _open_parquet(path: Path) -> Iterator[ParquetTable]:
    with open_file(path) as stream:
        # Parquet is read from its end, and a gzip file has to be expanded completely to reach that.
        file = io.BytesIO(stream.read()) if path.suffix == ".gz" else stream
        if not file.seek(0, io.SEEK_END):
            raise _empty(path)
        with _parquet_errors(path):
            yield ParquetTable(file, file.tell())


@contextmanager
def _file_errors(path: Path) -> Iterator[None]:
    """Raise errors of a file, or of its bytes, as DataError."""
    try:
        try:
            yield
        except UnicodeDecodeError:
            # Reads the file once more, up to the first invalid byte.
            raise _not_utf8(path) from None
    except UntrustedDataError as error:
        raise DataError(str(error), where=str(path)) from None
    except FileNotFoundError:
        raise DataError("no such data file", where=str(path), hint=_nearest(path)) from None
    except IsADirectoryError:
        raise DataError("is a folder, not a file", where=str(path), hint="For a folder use data.dataset.") from None
    except (BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"not a whole gzip file ({error})", where=str(path)) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", where=str(path)) from None


@contextmanager
def _parquet_errors(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except UntrustedDataError:
        raise
    # Some of Arrow's errors derive from no standard exception.
    except (OSError, ValueError, TypeError, KeyError, MemoryError, pa.ArrowException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"not a readable parquet file: {reason}", where=str(path)) from None


def _empty(path: Path) -> DataError:
    return DataError("the file is empty", where=str(path))


def _nearest(path: Path) -> str:
    names = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.4)
    return f'Did you mean "{near[0]}"?' if near else f"Looked in {path.parent}."


def _not_utf8(path: Path) -> DataError:
    """Return the error for a file that is not UTF-8, with the first invalid byte and its line."""
    hint = "Convert it: iconv -f ENCODING -t utf-8."
    with open_file(path) as stream:
        # No multi-byte character contains a line feed, so each line can be decoded separately.
        for number, line in enumerate(stream, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                what = f"not UTF-8: byte 0x{line[error.start]:02x} in line {number}"
                return DataError(what, where=str(path), hint=hint)
    return DataError("not UTF-8", where=str(path), hint=hint)
