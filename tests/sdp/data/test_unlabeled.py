"""Texts without labels: which rows are read, from which files, and which are left out."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from sdp.data.load import load_task_data
from sdp.data.unlabeled import read_unlabeled, unlabeled_identity
from sdp.errors import DataError
from sdp.recipe.sections import Recipe


def recipe(folder: Path, unlabeled: list[str], text: list[str] | None = None, kind: str = "classification") -> Recipe:
    """A recipe of three small files."""
    columns = text or ["text"]
    for split, word in (("train", "train"), ("dev", "dev"), ("test", "test")):
        rows = [{**{name: f"{word} {name} {n}" for name in columns}, "label": f"c{n % 2}"} for n in range(4)]
        if kind == "tagging":
            rows = [{"text": [word, str(n)], "label": ["O", "B-X"]} for n in range(4)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files: dict[str, Any] = {split: str(folder / f"{split}.jsonl") for split in ("train", "dev", "test")}
    return Recipe.model_validate(
        {
            "name": "toy",
            "model": {"name": "none"},
            "task": {"type": kind},
            "data": {
                **files,
                "text": columns,
                "label": "label",
                "unlabeled": [str(folder / name) for name in unlabeled],
            },
        }
    )


def read(own: Recipe) -> list[tuple[str, ...]]:
    return list(read_unlabeled(own, load_task_data(own)))


def test_files_of_every_kind_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n\n  \ntwo\n")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"drei\n", mtime=0))
    (tmp_path / "c.tsv").write_text("id\ttext\n1\tfour\n2\t\n".replace("2\t\n", "2\tfive\n"))
    (tmp_path / "d.jsonl").write_text('{"text": "six", "label": null}\n')
    own = recipe(tmp_path, ["a.txt", "b.txt.gz", "[cd].*"])
    assert read(own) == [("one",), ("two",), ("drei",), ("four",), ("five",), ("six",)]
    assert [name.partition(": ")[2] for name in unlabeled_identity(own)] == ["a.txt", "b.txt.gz", "c.tsv", "d.jsonl"]


def test_rows_of_the_labelled_data_are_left_out_whatever_their_case_and_spaces(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Dev  TEXT 1\ntest text 2\ntrain text 3\nnew\nNew\nother\n")
    assert read(recipe(tmp_path, ["a.txt"])) == [("new",), ("other",)]
    (tmp_path / "a.txt").write_text("dev text 1\n")
    with pytest.raises(DataError, match=r"no text is left.*\n"):
        read(recipe(tmp_path, ["a.txt"]))


def test_pairs_are_rows_of_tables(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("first\tsecond\na\tb\nb\ta\ndev first 1\tdev second 1\n")
    assert read(recipe(tmp_path, ["a.tsv"], ["first", "second"])) == [("a", "b"), ("b", "a")]
    (tmp_path / "a.txt").write_text("a\n")
    with pytest.raises(DataError, match="reads 2 texts in a row, and a txt file has one"):
        read(recipe(tmp_path, ["a.txt"], ["first", "second"]))


def test_sentences_for_tagging_are_split_into_words(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a good  film\ndev 1\n")
    (tmp_path / "b.jsonl").write_text('{"text": ["two", "words"]}\n')
    assert read(recipe(tmp_path, ["a.txt", "b.jsonl"], kind="tagging")) == [("a", "good", "film"), ("two", "words")]


def test_a_missing_file_and_a_value_that_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data.unlabeled: .*none\*.txt"):
        unlabeled_identity(recipe(tmp_path, ["none*.txt"]))
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": 3}\n')
    with pytest.raises(DataError, match="row 2"):
        read(recipe(tmp_path, ["a.jsonl"]))
