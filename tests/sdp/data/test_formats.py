"""The same rows are the same splits in every format: files, plain and gzip, and folders in hub form."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sdp.data.hub import load_prepared
from sdp.data.identity import count_rows
from sdp.data.load import load_task_data
from sdp.data.rows import RawSplit, TaskData
from sdp.errors import DataError
from sdp.recipe import Recipe

LABELS = [
    *("nan", "null", "None", "NA", "N/A", "NULL", "NaN", "<NA>", "1", "01", "001", "1.5", "-1", "1e3", "true", "yes"),
    *(" x ", "ä→☃", "2020-01-01", "inf", "#", "a,b", "a;b", "0x1"),
]
TEXTS = [*LABELS, "", "True", "007", "['a', 'b']", '"quoted" start', 'a " quote', "\\N", " ", "2020-01-01 10:00:00"]
ROWS = [(text, LABELS[number % len(LABELS)]) for number, text in enumerate(TEXTS)]
ON_LINES = [*ROWS, ("two\nlines", "nan"), ("a\ttab", "null"), ("carriage\r\nreturn", "1")]


def csv_bytes(rows: list[tuple[Any, ...]], header: tuple[str, ...] = ("text", "label"), **style: Any) -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, **style).writerows([header, *rows])
    return stream.getvalue().encode()


def tsv_bytes(rows: list[tuple[str, str]], end: str = "\n") -> bytes:
    return "".join(f"{text}\t{label}{end}" for text, label in [("text", "label"), *rows]).encode()


def jsonl_bytes(rows: list[tuple[Any, Any]], end: str = "\n") -> bytes:
    return "".join(json.dumps({"text": text, "label": label}) + end for text, label in rows).encode()


def parquet_bytes(rows: list[tuple[str, str]], kind: Any = None) -> bytes:
    columns = [pa.array([row[place] for row in rows], pa.string()) for place in range(2)]
    cast = [column if kind is None else column.cast(kind) for column in columns]
    return arrow_bytes(pa.table(dict(zip(("text", "label"), cast, strict=True))))


def arrow_bytes(table: pa.Table) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream)
    return stream.getvalue()


FORMATS: dict[str, tuple[str, list[tuple[str, str]], Callable[..., bytes]]] = {
    "csv": ("csv", ON_LINES, csv_bytes),
    "csv, all quoted, line feeds": (
        "csv",
        ON_LINES,
        lambda r: csv_bytes(r, quoting=csv.QUOTE_ALL, lineterminator="\n"),
    ),
    "csv, semicolons": ("csv", ON_LINES, lambda r: csv_bytes(r, delimiter=";")),
    "csv, semicolons, all quoted": ("csv", ON_LINES, lambda r: csv_bytes(r, delimiter=";", quoting=csv.QUOTE_ALL)),
    "csv, byte order mark": ("csv", ON_LINES, lambda r: b"\xef\xbb\xbf" + csv_bytes(r)),
    "tsv": ("tsv", ROWS, tsv_bytes),
    "tsv, carriage returns, byte order mark": ("tsv", ROWS, lambda r: b"\xef\xbb\xbf" + tsv_bytes(r, "\r\n")),
    "jsonl": ("jsonl", ON_LINES, jsonl_bytes),
    "jsonl, carriage returns, byte order mark": (
        "jsonl",
        ON_LINES,
        lambda r: b"\xef\xbb\xbf" + jsonl_bytes(r, "\r\n"),
    ),
    "parquet": ("parquet", ON_LINES, parquet_bytes),
    "parquet, categories": ("parquet", ON_LINES, lambda r: parquet_bytes(r, pa.dictionary(pa.int32(), pa.string()))),
    "parquet, large strings": ("parquet", ON_LINES, lambda r: parquet_bytes(r, pa.large_string())),
    "parquet, string views": ("parquet", ON_LINES, lambda r: parquet_bytes(r, pa.string_view())),
}


def recipe(data: dict[str, Any], **task: Any) -> Recipe:
    data = {"text": ("text",), "label": "label", **data}
    task = task or {"type": "classification"}
    return Recipe.model_validate({"name": "x", "model": {"name": "m"}, "task": task, "data": data})


def save(folder: Path, suffix: str, content: bytes) -> Path:
    """A folder with a train and a validation file of the same content."""
    folder.mkdir(parents=True)
    for split in ("train", "validation"):
        (folder / f"{split}.{suffix}").write_bytes(content)
    return folder


def as_files(folder: Path, suffix: str, **more: Any) -> dict[str, Any]:
    return {"train": str(folder / f"train.{suffix}"), "dev": str(folder / f"validation.{suffix}"), **more}


def as_folder(folder: Path, **more: Any) -> dict[str, Any]:
    return {"dataset": str(folder), "train": "train", "dev": "validation", **more}


def named_rows(data: TaskData) -> list[tuple[tuple[str, ...], str]]:
    return [(texts, data.label_names[label]) for texts, label in zip(data.dev.texts, data.dev.labels, strict=True)]


@pytest.mark.parametrize("name", FORMATS)
def test_the_same_rows_are_the_same_splits(name: str, tmp_path: Path) -> None:
    suffix, rows, write = FORMATS[name]
    content = write(rows)
    plain = save(tmp_path / "plain", suffix, content)
    packed = save(tmp_path / "packed", f"{suffix}.gz", gzip.compress(content))
    sources = [as_files(plain, suffix), as_files(packed, f"{suffix}.gz"), as_folder(plain)]
    # `datasets` decompresses no parquet files.
    for source in [*sources, *([] if suffix == "parquet" else [as_folder(packed)])]:
        data = load_task_data(recipe(source))
        assert data.label_names == tuple(sorted(LABELS))
        assert named_rows(data) == [((text,), label) for text, label in rows]


TYPED = {
    "integers": ([10, 9, 9, 10], ("9", "10")),
    "whole floats": ([10.0, 9.0, 9.0, 10.0], ("9", "10")),
    "floats": ([0.1, 1.0, 1.0, 0.1], ("0.1", "1.0")),
    "single precision": (pd.Series([0.1, 2.5, 2.5, 0.1], dtype="float32"), ("0.1", "2.5")),
    "booleans": ([True, False, False, True], ("False", "True")),
    "categories": (pd.Series(["b", "a", "a", "b"], dtype="category"), ("a", "b")),
    "categories of numbers": (pd.Series([10, 9, 9, 10], dtype="category"), ("9", "10")),
    "nullable integers": (pd.Series([10, 9, 9, 10], dtype="Int64"), ("9", "10")),
}


@pytest.mark.parametrize("kind", TYPED)
def test_a_column_with_a_type_has_the_same_classes_in_every_format(kind: str, tmp_path: Path) -> None:
    values, names = TYPED[kind]
    frame = pd.DataFrame({"text": list("wxyz"), "label": values})
    seen = {}
    # pandas writes ten digits of any number to jsonl.
    for suffix in ("csv", "tsv", "parquet", *(["jsonl"] if kind != "single precision" else [])):
        stream = io.BytesIO()
        if suffix == "parquet":
            frame.to_parquet(stream)
        elif suffix == "jsonl":
            frame.to_json(stream, orient="records", lines=True)
        else:
            frame.to_csv(stream, index=False, sep="," if suffix == "csv" else "\t")
        folder = save(tmp_path / suffix, suffix, stream.getvalue())
        seen[suffix] = as_files(folder, suffix)
        for source in (seen[suffix], as_folder(folder)):
            data = load_task_data(recipe(source))
            # As text, 1.0 beside 0.1 is the name of a class; the whole number of a typed column is 1.
            assert {name.removesuffix(".0") for name in data.label_names} == {name.removesuffix(".0") for name in names}
            assert [data.label_names[label].removesuffix(".0") for label in data.dev.labels[:2]] == [
                str(value).removesuffix(".0") for value in list(pd.Series(values).astype(str))[:2]
            ]
            if kind != "floats":
                assert data.label_names == names
    for train in seen.values():
        for dev in seen.values():
            mixed = load_task_data(recipe({"train": train["train"], "dev": dev["dev"]}))
            assert mixed.dev.labels.tolist() == mixed.train.labels.tolist()


MISSING: dict[str, tuple[str, bytes]] = {
    "csv": ("csv", b"text,label\na,x\nb,\nc,y\n"),
    "blank": ("csv", b"text,label\na,x\nb,  \nc,y\n"),
    "tsv": ("tsv", b"text\tlabel\na\tx\nb\t\nc\ty\n"),
    "null": ("jsonl", jsonl_bytes([("a", "x"), ("b", None), ("c", "y")])),
    "NaN": ("jsonl", jsonl_bytes([("a", 1), ("b", float("nan")), ("c", 2)])),
    "parquet": ("parquet", arrow_bytes(pa.table({"text": ["a", "b", "c"], "label": ["x", None, "y"]}))),
    "parquet, NaN": ("parquet", arrow_bytes(pa.table({"text": ["a", "b", "c"], "label": [1, float("nan"), 2]}))),
    "parquet, categories": (
        "parquet",
        arrow_bytes(pa.table({"text": ["a", "b", "c"], "label": pa.array(["x", None, "y"]).dictionary_encode()})),
    ),
}


@pytest.mark.parametrize("name", MISSING)
def test_a_missing_label_is_missing_in_every_format(name: str, tmp_path: Path) -> None:
    suffix, content = MISSING[name]
    folder = save(tmp_path / "set", suffix, content)
    for source in (as_files(folder, suffix), as_folder(folder)):
        with pytest.raises(DataError, match=r"row 2: the label is missing\n.*remove the row"):
            load_task_data(recipe(source))


@pytest.mark.parametrize("query", [None, "", " ", float("nan")])
def test_a_row_of_a_ranking_without_a_list_is_refused(query: object, tmp_path: Path) -> None:
    rows = [("q", "a", 1), ("q", "b", 0), (query, "c", 1), (query, "d", 0)]
    lines = [json.dumps(dict(zip(("query", "text", "label"), row, strict=True))) for row in rows]
    folder = save(tmp_path / "set", "jsonl", "\n".join(lines).encode())
    for source in (as_files(folder, "jsonl", group="query"), as_folder(folder, group="query")):
        with pytest.raises(
            DataError, match=r"row 3: the value of data\.group is missing\n  Fill it in, or remove the row"
        ):
            load_task_data(recipe(source, type="ranking"))


def test_lists_of_a_ranking_have_names_like_any_other(tmp_path: Path) -> None:
    rows = [(query, "a", number % 2) for number, query in enumerate(["nan", "nan", "01", "01", "1", "1", 1, 1.0])]
    lines = [json.dumps(dict(zip(("query", "text", "label"), row, strict=True))) for row in rows]
    folder = save(tmp_path / "set", "jsonl", "\n".join(lines).encode())
    data = load_task_data(recipe(as_files(folder, "jsonl", group="query"), type="ranking"))
    assert data.dev.groups is not None
    assert data.dev.groups.tolist() == [0, 0, 1, 1, 2, 2, 2, 2]


def test_a_missing_second_text_is_refused_with_its_row(tmp_path: Path) -> None:
    lines = [json.dumps({"text": "a", "second": second, "label": label}) for second, label in (("b", "x"), (None, "y"))]
    folder = save(tmp_path / "set", "jsonl", "\n".join(lines).encode())
    for source in (as_files(folder, "jsonl"), as_folder(folder)):
        with pytest.raises(DataError, match=r'row 2: the column "second" holds no text\n.*remove the row'):
            load_task_data(recipe({**source, "text": ("text", "second")}))


def test_a_place_names_the_row_of_its_file(tmp_path: Path) -> None:
    """Also where rows are drawn, and where a split is several files."""
    good = [("a", "x"), ("b", "y")] * 20
    for language, rows in (("en", good), ("de", [*good, ("c", "")])):
        for split in ("train", "dev"):
            (tmp_path / f"{split}.{language}.csv").write_bytes(csv_bytes(rows))
    files = {split: str(tmp_path / f"{split}.{{language}}.csv") for split in ("train", "dev")}
    languages = {"train_languages": ("en",), "eval_languages": ("en", "de")}
    with pytest.raises(DataError, match=r"dev\.de\.csv, row 41: the label is missing"):
        load_task_data(recipe(files, type="classification", **languages))
    raw = RawSplit("train", "x", (("a",),) * 9, tuple(range(9)), ("",) * 9, (), (("one", 0), ("two", 4)))
    assert [raw.take([2, 5, 8]).take([1, 2]).place_of(row) for row in range(2)] == ["two, row 2", "two, row 5"]
    assert [raw.place_of(row) for row in (0, 3, 4)] == ["one, row 1", "one, row 4", "two, row 1"]


SETTINGS = "---\nconfigs:\n- config_name: default\n  {}\n  data_files:\n"
SPLITS = "  - split: train\n    path: train.csv\n  - split: validation\n    path: validation.csv\n---\n"
HARD = [("null", "nan"), ("007", "01"), ("1", "1"), ("true", "true"), ("", "None"), ("2020-01-01", "1.0x")]


@pytest.mark.parametrize(("setting", "mark"), [('sep: "|"', "|"), ('sep: "\\t"', "\t"), ('delimiter: ";"', ";")])
def test_a_readme_may_say_how_its_files_are_read(setting: str, mark: str, tmp_path: Path) -> None:
    folder = save(tmp_path / "set", "csv", csv_bytes(HARD, delimiter=mark))
    (folder / "README.md").write_text(SETTINGS.format(setting) + SPLITS)
    data = load_task_data(recipe(as_folder(folder)))
    assert named_rows(data) == [((text,), label) for text, label in HARD]
    assert count_rows(recipe(as_folder(folder)))["train"] in (None, len(HARD))
    (folder / "train.csv").write_bytes(csv_bytes([("a", "b, c", "c")] * 3, delimiter=mark))
    assert count_rows(recipe(as_folder(folder)))["train"] is None
    with pytest.raises(DataError, match="more fields than the header"):
        load_task_data(recipe(as_folder(folder)))


def test_csv_files_of_the_hub_are_read_as_text(tmp_path: Path) -> None:
    """What a data set of the hub goes through, with a folder in its place."""
    folder = save(tmp_path / "set", "csv", csv_bytes(HARD))
    rows = load_prepared(str(folder), None, "train", cache_dir=str(tmp_path / "cache"))
    assert list(zip(rows["text"], rows["label"], strict=True)) == HARD
    features = "  - name: text\n    dtype: string\n  - name: label\n    dtype:\n      class_label:\n        names:\n"
    names = "".join(f"          '{number}': {name}\n" for number, name in enumerate(("neg", "nan")))
    (folder / "README.md").write_text(f"---\ndataset_info:\n  features:\n{features}{names}---\n")
    for split in ("train", "validation"):
        (folder / f"{split}.csv").write_bytes(csv_bytes([("null", 1), ("b", 0)]))
    rows = load_prepared(str(folder), None, "train", cache_dir=str(tmp_path / "cache"))
    assert (list(rows["text"]), list(rows["label"])) == (["null", "b"], [1, 0])
    assert rows.features["label"].names == ["neg", "nan"]


def test_dates_that_datasets_makes_of_texts_are_refused(tmp_path: Path) -> None:
    """Of files that sdp does not read itself: the same texts are texts in jsonl."""
    rows = [("2020-01-01", "a"), ("2020-01-02", "b")]
    folder = save(tmp_path / "json", "json", jsonl_bytes(rows))
    with pytest.raises(DataError, match=r'the column "text" holds dates.*\n.*jsonl'):
        load_task_data(recipe(as_folder(folder)))
    assert len(load_task_data(recipe(as_folder(save(tmp_path / "jsonl", "jsonl", jsonl_bytes(rows))))).dev) == 2


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_numbers_of_classes_have_the_names_of_the_readme(suffix: str, tmp_path: Path) -> None:
    write = csv_bytes if suffix == "csv" else jsonl_bytes
    folder = save(tmp_path / "set", suffix, write([("a", 1), ("b", 0)]))
    features = "  - name: text\n    dtype: string\n  - name: label\n    dtype:\n      class_label:\n        names:\n"
    names = "".join(f"          '{number}': {name}\n" for number, name in enumerate(("neg", "nan")))
    (folder / "README.md").write_text(f"---\ndataset_info:\n  features:\n{features}{names}---\n")
    assert named_rows(load_task_data(recipe(as_folder(folder)))) == [(("a",), "nan"), (("b",), "neg")]
    (folder / f"train.{suffix}").write_bytes(write([("a", 1), ("b", 2)]))
    with pytest.raises(DataError, match="class number 2, where 2 classes are named"):
        load_task_data(recipe(as_folder(folder)))


def test_a_parquet_file_may_name_its_classes(tmp_path: Path) -> None:
    """As `datasets` writes it: the same names as file and as folder."""
    kind = {"names": ["neg", "yes"], "_type": "ClassLabel"}
    features = {"text": {"dtype": "string", "_type": "Value"}, "label": kind}
    table = pa.table({"text": ["a", "b"], "label": [1, 0]})
    content = arrow_bytes(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}))
    folder = save(tmp_path / "set", "parquet", content)
    for source in (as_files(folder, "parquet"), as_folder(folder)):
        assert named_rows(load_task_data(recipe(source))) == [(("a",), "yes"), (("b",), "neg")]


def test_categories_are_counted_as_often_as_they_occur_and_no_more(tmp_path: Path) -> None:
    texts = pa.array([f"{number} " + "word " * 60 for number in range(20_000)]).dictionary_encode()
    labels = pa.array(["a", "b"] * 10_000).dictionary_encode()
    folder = save(tmp_path / "set", "parquet", arrow_bytes(pa.table({"text": texts, "label": labels})))
    data = load_task_data(recipe(as_files(folder, "parquet")))
    assert len(data.train) == 20_000
    bomb = pa.DictionaryArray.from_arrays(pa.array([0] * 70_000, pa.int32()), pa.array(["x" * 1000]))
    for column in (bomb, pa.ListArray.from_arrays(pa.array(range(70_001), pa.int32()), bomb)):
        table = pa.table({"text": column, "label": bomb})
        folder = save(tmp_path / str(column.type)[:4], "parquet", arrow_bytes(table))
        with pytest.raises(DataError, match=r"decompress(es)? to more than"):
            load_task_data(recipe(as_files(folder, "parquet")))
