"""Data files: every format comes back as it was written, and every defect has its own message."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sdp.data.files import count_data_rows, read_columns
from sdp.errors import DataError

# Surrogates cannot be written as UTF-8.
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
# csv's reader takes NUL, but no format keeps a lone carriage return apart from a line end without quotes.
TSV_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\t\n\r\0"), max_size=30)
COLUMNS = ("text", "label")


def write(path: Path, rows: list[tuple[str, str]]) -> Path:
    """Write rows in the format of the suffix, by other means than the reader's."""
    kind = path.name.removesuffix(".gz").rsplit(".", 1)[1]
    if kind == "parquet":
        content = io.BytesIO()
        pd.DataFrame(rows, columns=list(COLUMNS)).to_parquet(content)
        path.write_bytes(content.getvalue())
        return path
    if kind == "tsv":
        text = "".join(f"{a}\t{b}\n" for a, b in [COLUMNS, *rows])
    elif kind == "csv":
        stream = io.StringIO(newline="")
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([COLUMNS, *rows])
        text = stream.getvalue()
    else:
        text = "".join(json.dumps(dict(zip(COLUMNS, row, strict=True)), ensure_ascii=False) + "\n" for row in rows)
    content = text.encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("suffix", ["tsv", "tsv.gz", "csv", "csv.gz", "jsonl", "jsonl.gz", "parquet"])
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_texts_come_back_as_they_were(suffix: str, data: st.DataObject, tmp_path: Path) -> None:
    texts = data.draw(st.lists(TSV_TEXT if "tsv" in suffix else ANY_TEXT, min_size=1, max_size=8))
    rows = [(text, str(index)) for index, text in enumerate(texts)]
    path = write(tmp_path / f"rows.{suffix}", rows)
    columns = read_columns(path, COLUMNS)
    assert columns["text"] == texts
    assert columns["label"] == [str(index) for index in range(len(texts))]
    assert count_data_rows(path) == len(texts)


@pytest.mark.parametrize("suffix", ["tsv", "csv", "jsonl", "parquet"])
def test_words_that_others_take_for_missing_are_texts(suffix: str, tmp_path: Path) -> None:
    words = ["NA", "null", "None", "nan", "1e5", "007", "true", '"quoted" word']
    assert read_columns(write(tmp_path / f"w.{suffix}", [(w, "x") for w in words]), ["text"])["text"] == words


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    (tmp_path / "bom.csv").write_bytes("\ufefftext,label\na,b\n".encode())
    assert read_columns(tmp_path / "bom.csv", COLUMNS) == {"text": ["a"], "label": ["b"]}


DEFECTS = [
    ("train.tsv", b"", "empty"),
    ("train.tsv", b"text\tlabel\n", "a header and no rows"),
    ("train.tsv", b"txt\tlabel\na\tb\n", 'no column "text"; the columns are txt, label\n  Did you mean "txt"?'),
    ("train.tsv", b"text\tlabel\na\tb\nonly one\n", "line 3: 1 fields where the header has 2"),
    ("train.csv", b'text,label\n"open,b\n', "line 2"),
    ("train.csv", b"text,text\na,b\n", "line 1: a column name occurs twice: 'text'\n  Rename or remove one"),
    (
        "train.jsonl",
        b'{"text": "a", "label": "b", "text": "c"}\n',
        "line 1: not valid JSON: a key occurs twice: 'text'",
    ),
    ("train.csv", b"text ,label\na,b\n", 'no column "text"; the columns are text , label\n  Did you mean "text "?'),
    ("train.csv", b"text\tlabel\na\tb\n", "The header is one name: a file with tabs between its fields ends in .tsv."),
    ("train.tsv", b"text,label\na,b\n", "The header is one name: a file with commas between its fields ends in .csv."),
    ("train.tsv", b'"text"\t"label"\n"a"\t"b"\n', "tsv has no quotes: take them out of the file, or write it as csv."),
    ("train.tsv", b"text;label\na;b\n", "a file with semicolons between its fields ends in .csv."),
    ("train.csv", b"text|label\na|b\n", "put commas between the fields in place of |."),
    ("train.csv", b"my text, long;label\na;b\n", "semicolons and commas: put names that hold a comma in quotes."),
    ("train.csv", b"text,label\na, with a comma,b\n", "line 2: 3 fields where the header has 2\n  Put fields that"),
    ("train.csv", b"text;label\na;with one;b\n", "line 2: 3 fields where the header has 2\n  Put fields that"),
    (
        "train.tsv",
        b'text\tlabel\n"two\nlines"\tb\n',
        "tsv has no quotes: write texts that hold tabs or line ends as csv",
    ),
    ("train.tsv", b"text\tlabel\na\tb\n\xe9t\xe9\tb\n", "not UTF-8: byte 0xe9 in line 3"),
    ("train.tsv.gz", b"text\tlabel\na\tb\n", "gzip"),
    ("train.tsv.gz", gzip.compress(b"text\tlabel\na\tb\n" * 50, mtime=0)[:-20], "gzip"),
    ("train.jsonl", b'{"text": "a", "label": "b"}\n{"text": \n', "line 2: not valid JSON"),
    ("train.jsonl", b'{"text": "a", "label": "b"}\n["a"]\n', "line 2: not a JSON object"),
    ("train.jsonl", b'{"text": "a", "label": "b"}\n{"text": "a"}\n', "line 2: other keys than the first line (label)"),
    ("train.parquet", b"PAR1 and then nothing", "parquet"),
    ("train.xlsx", b"x", "unknown format '.xlsx'"),
]


@pytest.mark.parametrize(("name", "content", "message"), DEFECTS)
def test_every_defect_is_reported(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_columns(tmp_path / name, COLUMNS)
    assert str(tmp_path / name) in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", ["d.csv", "d.csv.gz"])
@pytest.mark.parametrize("header", ["text;label", '"text";"label"', "\ufefftext;label", 'text;"a, b";label'])
def test_semicolons_are_read_and_counted(name: str, header: str, tmp_path: Path) -> None:
    extra = ";" * (header.count(";") - 1)
    content = f'{header}\r\n"a; b"{extra};x\r\n"c, d"{extra};"y"\r\n'.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert read_columns(tmp_path / name, COLUMNS) == {"text": ["a; b", "c, d"], "label": ["x", "y"]}
    assert count_data_rows(tmp_path / name) == 2


def test_lines_of_jsonl_may_lack_keys_that_nobody_wants(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"text": "a", "label": "b", "id": 1}\n{"label": "b", "text": "c", "note": "n"}\n')
    assert read_columns(path, COLUMNS) == {"text": ["a", "c"], "label": ["b", "b"]}
    assert count_data_rows(path) == 2


def test_a_missing_file_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "training.tsv").write_text("x")
    with pytest.raises(DataError, match=r'no such data file\n.*"training.tsv"'):
        read_columns(tmp_path / "trainin.tsv", COLUMNS)
    (tmp_path / "folder.tsv").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        read_columns(tmp_path / "folder.tsv", COLUMNS)
