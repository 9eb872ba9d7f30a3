"""Where inputs to predict for come from, and how they are grouped, for every kind of task."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sdp.cli.predict_inputs import argument_rows, file_rows, stream_rows
from sdp.errors import DataError, UsageError

SINGLE: Any = SimpleNamespace(type="classification", text_columns=1, columns=("text",))
PAIR: Any = SimpleNamespace(type="regression", text_columns=2, columns=("first", "second"))
WORDS: Any = SimpleNamespace(type="tagging", text_columns=1, columns=("words",))
# An export without the names.
UNNAMED: Any = SimpleNamespace(type="classification", text_columns=1, columns=())


def read(predictor: Any, content: bytes) -> list[tuple[str, ...]]:
    return [row for rows in stream_rows(predictor, io.BytesIO(content)) for row in rows]


def test_arguments_are_inputs_one_after_the_other() -> None:
    assert argument_rows(SINGLE, ["a b", ""]) == [("a b",), ("",)]
    assert argument_rows(PAIR, ["a", "b", "c", "d"]) == [("a", "b"), ("c", "d")]
    assert argument_rows(WORDS, ["the film  was", "fine"]) == [("the", "film", "was"), ("fine",)]
    with pytest.raises(UsageError, match="takes 2 texts, not 3"):
        argument_rows(PAIR, ["a", "b", "c"])


def test_lines_are_inputs_whatever_ends_them() -> None:
    assert read(SINGLE, b"\xef\xbb\xbfa\tb\r\n\nc") == [("a\tb",), ("",), ("c",)]
    assert read(SINGLE, b"") == []
    assert read(PAIR, "é\tb\nc\t\n".encode()) == [("é", "b"), ("c", "")]
    assert read(WORDS, b"the film\n\n") == [("the", "film"), ()]
    with pytest.raises(UsageError, match="takes 2 texts, and the line has 3") as caught:
        read(PAIR, b"a\tb\na\tb\tc\n")
    assert caught.value.where == "stdin, line 2"


def test_lines_longer_than_a_read_are_whole() -> None:
    long = "x" * 200_000
    assert read(SINGLE, f"{long}\n{long}y\nz".encode()) == [(long,), (f"{long}y",), ("z",)]


def test_files_have_the_columns_of_training_or_those_that_are_named(tmp_path: Path) -> None:
    rows = [("a", "b"), ("", "d")] * 700
    file = tmp_path / "rows.jsonl.gz"
    lines = "".join(json.dumps({"first": first, "other": 1, "second": second}) + "\n" for first, second in rows)
    file.write_bytes(gzip.compress(lines.encode()))
    assert [row for chunk in file_rows(PAIR, file, ()) for row in chunk] == rows
    assert [row for chunk in file_rows(SINGLE, file, ("second",)) for row in chunk] == [(row[1],) for row in rows]
    (tmp_path / "words.tsv").write_text("words\nthe film\nfine\n")
    assert list(file_rows(WORDS, tmp_path / "words.tsv", ())) == [[("the", "film"), ("fine",)]]
    for predictor, names, message in (
        (SINGLE, (), 'no column "text"'),
        (PAIR, ("first",), r"takes 2 text columns \(first, second\), and 1 are named"),
        (UNNAMED, (), "takes 1 text columns, and 0 are named"),
        (SINGLE, ("other",), "row 1: the column .* no text"),
    ):
        with pytest.raises((UsageError, DataError), match=f"{message}") as caught:
            list(file_rows(predictor, file, names))
        assert "--column NAME" in str(caught.value) or "row 1" in str(caught.value)
