"""Inputs of `sdp predict` in chunks: arguments, lines of stdin, or a file in one of the task's formats.

Needs neither torch nor transformers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from sdp.errors import DataError, UsageError
from sdp_onnx.deploy.predictor import Predictor

Rows = list[tuple[str, ...]]
STDIN = "-"
_READ = 2**16


def argument_rows(predictor: Predictor, texts: Sequence[str]) -> Rows:
    """Return inputs from arguments: one text each, or as many consecutive texts as the task has columns.

    Raises:
        UsageError: their number is not a multiple of the columns.
    """
    columns = predictor.text_columns
    if predictor.type == "tagging":
        return [tuple(text.split()) for text in texts]
    if len(texts) % columns:
        hint = "Give the texts of one input consecutively, then the texts of the next input."
        raise UsageError(f"this model takes {columns} texts, not {len(texts)}", hint=hint)
    return [tuple(texts[start : start + columns]) for start in range(0, len(texts), columns)]


def stream_rows(predictor: Predictor, stream: BinaryIO) -> Iterator[Rows]:
    """Yield inputs from a stream, one a line in UTF-8: a text, tab-separated texts of several columns, or words.

    Yields every line that is available, so that a writer that waits gets its answer.

    Raises:
        UsageError: a line is not UTF-8, or its number of texts is not the task's number of columns.
    """
    number = 0
    for lines in _lines(stream):
        rows = []
        for line in lines:
            number += 1
            rows.append(_row(predictor, line, number))
        yield rows


def file_rows(predictor: Predictor, path: Path, columns: Sequence[str]) -> Iterator[Rows]:
    """Yield inputs from a file (tsv, csv, jsonl, parquet; plain or .gz).

    Args:
        predictor: has the number of columns, and their names in training.
        path: the file.
        columns: their names in the file; empty for the names in training.

    Raises:
        UsageError: the number of named columns is not the task's.
        DataError: the file cannot be read, lacks a column, or has a row without text.
    """
    from sdp.data.files import column_chunks
    from sdp.data.load import text_rows
    from sdp.data.words import word_lists

    names = tuple(columns) or predictor.columns
    hint = "Name the text columns of the file, in the order of training: --column NAME, once for each."
    if len(names) != predictor.text_columns:
        known = f" ({', '.join(predictor.columns)})" if predictor.columns else ""
        what = f"this model takes {predictor.text_columns} text columns{known}, and {len(names)} are named"
        raise UsageError(what, hint=hint)
    first = 1
    try:
        for chunk in column_chunks(path, names):
            if predictor.type == "tagging":
                yield word_lists(chunk[names[0]], names[0], str(path), first)
            else:
                yield text_rows([chunk[name] for name in names], names, str(path), first)
            first += len(chunk[names[0]])
    except DataError as error:
        if error.what.startswith("no column"):
            raise DataError(error.what, where=error.where, hint=hint) from None
        raise


def _row(predictor: Predictor, line: bytes, number: int) -> tuple[str, ...]:
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError:
        raise UsageError("not UTF-8", where=f"stdin, line {number}", hint="Convert it: iconv -t utf-8.") from None
    if predictor.type == "tagging":
        return tuple(text.split())
    texts = tuple(text.split("\t")) if predictor.text_columns > 1 else (text,)
    if len(texts) != predictor.text_columns:
        what = f"this model takes {predictor.text_columns} texts, and the line has {len(texts)}"
        raise UsageError(what, where=f"stdin, line {number}", hint="Put one tab between the texts of an input.")
    return texts


def _lines(stream: BinaryIO) -> Iterator[list[bytes]]:
    """Yield the lines of a stream without line ends, as many at a time as one read returns."""
    read = getattr(stream, "read1", stream.read)
    begun: list[bytes] = []
    while data := read(_READ):
        first, *more = data.split(b"\n")
        begun.append(first)
        if more:
            lines = [b"".join(begun), *more[:-1]]
            begun = [more[-1]]
            yield [line.removesuffix(b"\r") for line in lines]
    if rest := b"".join(begun):
        yield [rest.removesuffix(b"\r")]
