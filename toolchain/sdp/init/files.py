"""Write rows to files in the task's formats, with the columns that the recipe names."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

from sdp.errors import UsageError

Row = Sequence[object]


def require_absent(paths: Iterable[Path], *, force: bool) -> None:
    """Check that nothing would be overwritten.

    Raises:
        UsageError: a file exists, and `force` is False.
    """
    there = [str(path) for path in paths if path.exists()]
    if there and not force:
        what = f"{', '.join(there)}: exists, and nothing is overwritten"
        raise UsageError(what, hint="Write elsewhere with --out FOLDER, or replace with --force.")


def write_rows(path: Path, columns: Sequence[str], rows: Iterable[Row], separator: str = " ") -> None:
    """Write rows in the format of a file's suffix.

    Args:
        path: ends in .tsv, .csv, .jsonl or .parquet, optionally followed by .gz.
        columns: the column names.
        rows: a value for each column.
        separator: stands between the items of a list in formats without lists; a list with an item that contains it is
            written as JSON.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    suffix = Path(path.name.removesuffix(".gz")).suffix
    if suffix == ".parquet":
        _write_parquet(path, columns, rows)
        return
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "wt", encoding="utf-8", newline="") as stream:
        if suffix == ".jsonl":
            for row in rows:
                stream.write(json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False) + "\n")
        else:
            _write_table(stream, suffix, columns, rows, separator)


def _write_table(stream: TextIO, suffix: str, columns: Sequence[str], rows: Iterable[Row], separator: str) -> None:
    if suffix == ".csv":
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_field(value, separator) for value in row] for row in rows)
        return
    # tsv has no quotes; values that were read from tsv have neither tabs nor line ends.
    for row in (columns, *rows):
        stream.write("\t".join(_field(value, separator) for value in row) + "\n")


def _field(value: object, separator: str) -> str:
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False)
    if not isinstance(value, tuple | list):
        return str(value)
    items = [str(item) for item in value]
    return json.dumps(items, ensure_ascii=False) if any(separator in item for item in items) else separator.join(items)


def _write_parquet(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    values = list(zip(*rows, strict=True))
    pq.write_table(pa.table({name: list(own) for name, own in zip(columns, values, strict=True)}), path)
