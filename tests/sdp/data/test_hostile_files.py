"""Data files that are made to break what reads them."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sdp.data.files import count_data_rows, read_columns
from sdp.data.labels import class_ids, class_names, scores
from sdp.data.rows import RawSplit
from sdp.data.untrusted import ALWAYS_ALLOWED, max_decompressed_size
from sdp.errors import DataError

COLUMNS = ("text", "label")
NO_TEXT = pa.array([b"\xff"], pa.binary()).view(pa.string())
LINE = json.dumps({"text": "a", "label": "b"})


def parquet(table: pa.Table) -> bytes:
    content = io.BytesIO()
    pq.write_table(table, content)
    return content.getvalue()


def bomb() -> bytes:
    texts = pa.repeat("x" * 1000, ALWAYS_ALLOWED // 1000 + 1000)
    return parquet(pa.Table.from_arrays([texts, texts], names=COLUMNS))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("d.csv", b"\xef\xbb\xbf\n", "the file is empty"),
        ("d.tsv", b"\xef\xbb\xbf", "the file is empty"),
        ("d.jsonl", f"{LINE}\n{'[' * 100_000}\n".encode(), "nested too deeply"),
        ("d.jsonl", f"{LINE}\n{'1' * 5000}\n".encode(), "line 2"),
        ("d.jsonl", b'{"text": "a\\ud83d", "label": "b"}\n', "half of a surrogate pair"),
        ("d.jsonl", b'{"text": ["a", "\\udc00"], "label": "b"}\n', "half of a surrogate pair"),
        ("d.tsv.gz", gzip.compress(b"text\tlabel\n" + bytes(ALWAYS_ALLOWED), mtime=0), "decompress to more than"),
        ("d.tsv.gz", gzip.compress(b"text\tlabel\na\tb\n", mtime=0) + b"garbage", "gzip"),
        ("d.tsv.gz", gzip.compress(b"text\tlabel\n\xff and so on", mtime=0)[:-9], "gzip"),
        ("d.parquet", b"PAR1" + bytes(50) + b"PAR1", "not a readable parquet file"),
        ("d.parquet", parquet(pa.Table.from_arrays([pa.array(["a"])] * 3, names=[*COLUMNS, "text"])), "twice"),
        (
            "d.parquet",
            parquet(pa.table({"text": pa.array([b"\xff"], pa.binary()).view(pa.string()), "label": ["b"]})),
            "",
        ),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_refused(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_columns(tmp_path / name, COLUMNS)
    assert words in str(caught.value)
    assert name in str(caught.value)


def test_a_parquet_file_that_decompresses_to_more_than_memory(tmp_path: Path) -> None:
    path = tmp_path / "d.parquet"
    path.write_bytes(bomb())
    assert path.stat().st_size * 20 < ALWAYS_ALLOWED
    for read in (lambda: read_columns(path, COLUMNS), lambda: count_data_rows(path)):
        with pytest.raises(DataError, match="decompresses to more than"):
            read()


def test_a_pair_that_is_whole_is_a_character(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    path.write_text('{"text": "\\ud83d\\ude00", "label": "b"}\n')
    assert read_columns(path, COLUMNS)["text"] == ["😀"]


def test_real_text_is_far_from_the_limit() -> None:
    text = "".join(f"sentence {number} of a log that repeats itself\tlabel\n" for number in range(50_000)).encode()
    assert len(text) < max_decompressed_size(len(gzip.compress(text, 9)))


def test_devices_are_no_data(tmp_path: Path) -> None:
    (tmp_path / "d.tsv").symlink_to("/dev/zero")
    with pytest.raises(DataError, match="device or a pipe"):
        read_columns(tmp_path / "d.tsv", COLUMNS)


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("d.tsv", "text\tlabel\n\t\na\tb\n\n", 2),
        ("d.jsonl", f"{LINE}\n\u2028\n{LINE[:-1]}\r}}\n", 2),
        ("d.csv", "text,label\n,\n\na,b\n", 2),
    ],
)
def test_rows_are_counted_as_they_are_read(name: str, content: str, rows: int, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8", newline="")
    assert len(read_columns(tmp_path / name, COLUMNS)["text"]) == count_data_rows(tmp_path / name) == rows


def raw(*labels: object) -> RawSplit:
    return RawSplit("train", "here", (("a",),) * len(labels), labels, ("",) * len(labels))


@pytest.mark.parametrize("label", [[1], {"a": 1}, b"x", ["x" * 1000]])
def test_a_label_is_one_value(label: object) -> None:
    with pytest.raises(DataError, match="neither text nor a number"):
        class_names(raw("a", label))
    with pytest.raises(DataError, match="here, row 2"):
        class_ids(raw("a", label), ("a", "b"))


@pytest.mark.parametrize("label", [1e39, "-1e39", float("nan"), "inf", "1e999"])
def test_a_score_is_one_that_training_can_hold(label: object) -> None:
    with pytest.raises(DataError, match="no finite number"):
        scores(raw(1.0, label))
