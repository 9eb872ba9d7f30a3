"""Folders in hub form: read as they are now, whole, and nothing beside them; and what the disk refuses."""

from __future__ import annotations

import errno
import gzip
import os
import subprocess
import sys
from pathlib import Path

import datasets
import pytest

from sdp.data.hub import hub_chunks
from sdp.data.untrusted import ALWAYS_ALLOWED
from sdp.errors import DataError, StorageError

COLUMNS = ("text", "label")
ROWS = b"text,label\na,x\nb,y\n"
OUTSIDE = "---\nconfigs:\n- config_name: default\n  data_files: {}\n---\n"


def read(folder: Path, split: str = "train") -> list[tuple[str, ...]]:
    chunks = hub_chunks(str(folder), None, split, None, COLUMNS)
    return [row for chunk in chunks for row in zip(*chunk.values(), strict=True)]


def test_a_file_that_changes_within_its_time_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "train.csv"
    for label in ("x", "z"):
        file.write_text(f"text,label\na,{label}\n")
        os.utime(file, (10**9, 10**9))
        assert read(tmp_path) == [("a", label)]


def test_several_files_several_splits_and_a_link_to_a_file(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "elsewhere.csv").write_bytes(ROWS)
    (tmp_path / "set" / "train-1.csv").symlink_to(tmp_path / "elsewhere.csv")
    (tmp_path / "set" / "train-2.csv").write_text("text,label\n" + "c,x\n" * 2500)
    (tmp_path / "set" / "validation.csv").write_text("text,label\nd,y\n")
    assert read(tmp_path / "set") == [("a", "x"), ("b", "y"), *[("c", "x")] * 2500]
    assert read(tmp_path / "set", "train+validation")[-2:] == [("c", "x"), ("d", "y")]
    with pytest.raises(DataError, match=r"no such split; the splits are train, validation"):
        read(tmp_path / "set", "train[:50%]")


@pytest.mark.parametrize("data_files", ["../outside/train.csv", "../outside/*.csv", "{}/outside/train.csv", "link/*"])
def test_data_outside_of_the_folder_is_refused(data_files: str, tmp_path: Path) -> None:
    for name in ("set", "outside"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.csv").write_bytes(ROWS)
    (tmp_path / "set" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "set" / "README.md").write_text(OUTSIDE.format(data_files.format(tmp_path)))
    with pytest.raises(DataError, match=r"set: README.md names data outside of the folder: .*train.csv"):
        read(tmp_path / "set")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("train.csv", b'a,"b', "train.csv, line 1: not valid csv: unexpected end of data"),
        ("train.csv", b"text,label\na,x,1\nb,y,2\n", "train.csv, line 2: 3 fields where the header has 2"),
        ("train.csv", b"text,label\na,x\nb,y,2\n", "train.csv, line 3: 3 fields where the header has 2"),
        ("train.csv", b"text,label\n", "train.csv: the split has no rows"),
        ("train.csv", b"text,label\n\xff,x\n", "not UTF-8: byte 0xff in line 2"),
        ("train.csv", b"", "train.csv: the file is empty"),
        ("train.csv", b"text,names\na,x\n", 'no column "label"'),
        ("train.jsonl", b'{"text": "a"\n{"text":', "train.jsonl, line 1: not valid JSON"),
        ("train.parquet", b"PAR1", "not a readable parquet file"),
        ("train.csv.gz", gzip.compress(ROWS, mtime=0)[:-4], "not a whole gzip file"),
        ("train.csv.gz", gzip.compress(bytes(2 * ALWAYS_ALLOWED)), r"decompress(es)? to more than"),
        ("README.md", b"---\nconfigs: [\n---\n", "set, train: the data set cannot be loaded: while parsing"),
    ],
)
def test_damage_is_reported(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        read(folder)


def test_a_shifted_column_is_seen_where_the_readme_lists_the_columns(tmp_path: Path) -> None:
    features = "".join(f"  - name: {name}\n    dtype: string\n" for name in COLUMNS)
    (tmp_path / "README.md").write_text(f"---\ndataset_info:\n  features:\n{features}---\n")
    (tmp_path / "train.csv").write_bytes(b"text,label\na,x,1\n")
    with pytest.raises(DataError, match="3 fields where the header has 2"):
        read(tmp_path)


def test_a_disk_that_refuses_is_reported_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_dataset(*_: object, **__: object) -> None:
        try:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise datasets.exceptions.DatasetGenerationError("An error occurred") from error

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(StorageError, match="no space left on the disk") as caught:
        next(hub_chunks("org/set", None, "train", None, COLUMNS))
    assert caught.value.where == str(datasets.config.HF_DATASETS_CACHE)


def test_a_folder_is_read_without_the_cache(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_bytes(ROWS)
    code = f"from sdp.data.hub import hub_chunks; print(*hub_chunks({str(tmp_path)!r}, None, 'train', None, {COLUMNS}))"
    environment = {**os.environ, "HF_HOME": "/proc/none"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("{'text': ['a', 'b'], 'label': ['x', 'y']}\n", "")
