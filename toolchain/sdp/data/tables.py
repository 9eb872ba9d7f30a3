"""The rows of tables that are text, one at a time: tsv, csv and jsonl.

tsv is what GLUE means by it: tabs between fields and no quoting. csv follows RFC 4180. Nothing is guessed: the texts
"NA", "null" and "" are texts.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

from sdp.errors import DataError

Row = list[Any]


def text_table(path: Path, stream: TextIO, suffix: str) -> tuple[list[str], Iterator[Row]]:
    """The names of a table's columns, and its rows in their order.

    Args:
        path: of the file, for messages.
        stream: the file, opened with `newline_of` its format.
        suffix: .tsv, .csv or .jsonl.

    Returns:
        names, none where the file is empty; rows, which raise as they are read.

    Raises:
        DataError: a line does not fit the format or the lines before it.
    """
    rows = _objects(path, stream) if suffix == ".jsonl" else _fields(path, stream, suffix)
    return next(rows, []), rows


def newline_of(suffix: str) -> str:
    """What ends a line, as `open` takes it: in jsonl line feeds alone, since texts may hold any other separator."""
    return "\n" if suffix == ".jsonl" else ""


def _fields(path: Path, stream: TextIO, suffix: str) -> Iterator[Row]:
    """The header of a tsv or csv file, then its rows."""
    quoting: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if suffix == ".tsv" else {"strict": True}
    csv.field_size_limit(2**31 - 1)
    reader = csv.reader(stream, **quoting)
    try:
        header = next(reader, None)
        if header is None:
            return
        if len(set(header)) < len(header):
            raise DataError(f"a column name occurs twice: {', '.join(header)}", where=f"{path}, line 1")
        yield header
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                what = f"{len(row)} fields where the header has {len(header)}"
                raise DataError(what, where=f"{path}, line {reader.line_num}")
            yield row
    except csv.Error as error:
        raise DataError(f"not valid {suffix[1:]}: {error}", where=f"{path}, line {reader.line_num}") from None


def _objects(path: Path, stream: TextIO) -> Iterator[Row]:
    """The keys of a jsonl file's first line, then the values of every line."""
    names: list[str] = []
    for number, line in enumerate(stream, start=1):
        if not line.strip():
            continue
        record = _object(line, f"{path}, line {number}")
        if not names:
            names = list(record)
            yield names
        if record.keys() != set(names):
            odd = ", ".join(sorted(record.keys() ^ set(names)))
            raise DataError(f"other keys than the first line ({odd})", where=f"{path}, line {number}")
        yield [record[name] for name in names]


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        record = json.loads(line)
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


def _has_half_character(record: dict[str, Any]) -> bool:
    """Whether any text in it cannot be encoded: JSON can write what Unicode has not."""
    try:
        json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False
