"""Rows from files: tsv, csv, jsonl and parquet, and lines from txt, plain or gzip.

tsv is what GLUE means by it: tabs between fields and no quoting. csv follows RFC 4180. Nothing is guessed: the texts
"NA", "null" and "" are texts.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from gzip import BadGzipFile
from pathlib import Path
from typing import Any

from sdp.data.parquet import parquet_columns, parquet_rows
from sdp.data.source import SUFFIXES
from sdp.data.untrusted import UntrustedDataError, read_file
from sdp.errors import DataError

Columns = dict[str, list[Any]]


def read_columns(path: Path, columns: Sequence[str]) -> Columns:
    """Read the named columns of a file.

    Args:
        path: the file; its suffix says the format.
        columns: names of the wanted columns.

    Returns:
        column name -> values, all of the same length, at least one row.

    Raises:
        DataError: the file is missing, empty, damaged, not UTF-8, of an unknown format, or lacks a column.
    """
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix not in SUFFIXES:
        raise DataError(f"unknown format {suffix!r}", where=str(path), hint=f"Known: {', '.join(SUFFIXES)}, also .gz.")
    content = _read_bytes(path)
    if not content.strip():
        raise DataError("the file is empty", where=str(path))
    table = (
        _read_parquet(path, content, columns)
        if suffix == ".parquet"
        else _read_text_table(path, _decode(path, content), suffix)
    )
    missing = [name for name in columns if name not in table]
    if missing:
        raise missing_columns(missing, list(table), str(path))
    rows = len(table[columns[0]])
    if not rows:
        raise DataError("the file has a header and no rows", where=str(path))
    return {name: table[name] for name in columns}


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, plain or gzip, without blank ones.

    Raises:
        DataError: the file is missing, damaged, or not UTF-8.
    """
    return [line for line in _decode(path, _read_bytes(path)).splitlines() if line.strip()]


def missing_columns(missing: Sequence[str], present: Sequence[str], where: str) -> DataError:
    """The error for columns that are not there: which, what is there, and the nearest."""
    near = difflib.get_close_matches(missing[0], present, n=1)
    hint = "Name the columns with data.text and data.label."
    if near:
        hint = f'Did you mean "{near[0]}"? {hint}'
    wanted = ", ".join(f'"{name}"' for name in missing)
    return DataError(f"no column {wanted}; the columns are {', '.join(present) or 'none'}", where=where, hint=hint)


def count_data_rows(path: Path) -> int:
    """Number of rows in a file, by reading it.

    Raises:
        DataError: as `read_columns`.
    """
    content = _read_bytes(path)
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix == ".tsv":
        # Empty lines are none, but a line of tabs is a row of empty texts.
        return max(0, sum(1 for line in content.splitlines() if line) - 1)
    if suffix == ".jsonl":
        return sum(1 for line in _decode(path, content).split("\n") if line.strip())
    if suffix == ".parquet":
        with _refusing_parquet(path):
            return parquet_rows(content)
    return max(map(len, _read_text_table(path, _decode(path, content), suffix).values()), default=0)


def _read_bytes(path: Path) -> bytes:
    try:
        return read_file(path)
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


def _nearest(path: Path) -> str:
    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.4)
    return f'Did you mean "{near[0]}"?' if near else f"Looked in {path.parent}."


def _decode(path: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        what = f"not UTF-8: byte 0x{content[error.start]:02x} in line {line}"
        raise DataError(what, where=str(path), hint="Convert it: iconv -f ENCODING -t utf-8.") from None


def _read_text_table(path: Path, text: str, suffix: str) -> Columns:
    if suffix == ".jsonl":
        return _read_jsonl(path, text)
    quoting: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if suffix == ".tsv" else {"strict": True}
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(io.StringIO(text, newline=""), **quoting)
    table: Columns = {}
    try:
        header = next(reader, [])
        table = {name: [] for name in header}
        if len(table) < len(header):
            raise DataError(f"a column name occurs twice: {', '.join(header)}", where=f"{path}, line 1")
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                what = f"{len(row)} fields where the header has {len(header)}"
                raise DataError(what, where=f"{path}, line {reader.line_num}")
            for name, value in zip(header, row, strict=True):
                table[name].append(value)
    except csv.Error as error:
        raise DataError(f"not valid {suffix[1:]}: {error}", where=f"{path}, line {reader.line_num}") from None
    return table


def _read_jsonl(path: Path, text: str) -> Columns:
    table: Columns = {}
    rows = 0
    # Only line feeds end a line: texts may hold any other separator.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"not valid JSON: {error}", where=f"{path}, line {number}") from None
        except RecursionError:
            raise DataError("JSON nested too deeply", where=f"{path}, line {number}") from None
        if not isinstance(record, dict):
            raise DataError("not a JSON object", where=f"{path}, line {number}")
        if "\\u" in line and _has_half_character(record):
            what = "half of a surrogate pair (such as \\ud83d alone), which is no text in Unicode"
            raise DataError(what, where=f"{path}, line {number}", hint="Write the file anew, as UTF-8.")
        if rows == 0:
            table = {name: [] for name in record}
        if record.keys() != table.keys():
            odd = ", ".join(sorted(record.keys() ^ table.keys()))
            raise DataError(f"other keys than the first line ({odd})", where=f"{path}, line {number}")
        for name, value in record.items():
            table[name].append(value)
        rows += 1
    return table


def _has_half_character(record: dict[str, Any]) -> bool:
    """Whether any text in it cannot be encoded: JSON can write what Unicode has not."""
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _read_parquet(path: Path, content: bytes, columns: Sequence[str]) -> Columns:
    with _refusing_parquet(path):
        return parquet_columns(content, columns)


@contextmanager
def _refusing_parquet(path: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except UntrustedDataError as error:
        raise DataError(str(error), where=str(path)) from None
    # Arrow's own errors are partly none of Python's kinds.
    except (OSError, ValueError, TypeError, KeyError, MemoryError, pa.ArrowException) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"not a readable parquet file: {reason}", where=str(path)) from None
