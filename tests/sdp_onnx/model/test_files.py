"""A written file is whole or absent; a read one has an end."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from sdp_onnx.model.files import TEMPORARY, atomic_write, check_regular, flush_file, read_json


def test_a_file_takes_its_name_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    with atomic_write(target) as temporary:
        temporary.write_text("{}")
        assert temporary.name == f"a.json{TEMPORARY}"
        assert not target.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert read_json(target) == {}


def write_half(path: Path) -> None:
    path.write_text("ne")
    raise ValueError("half")


def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(ValueError, match="half"), atomic_write(target) as temporary:
        write_half(temporary)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "old")]


def test_a_read_only_file_and_a_folder_are_flushed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    (tmp_path / "a").chmod(0o444)
    flush_file(tmp_path / "a")
    flush_file(tmp_path)
    assert (tmp_path / "a").read_text() == "x"


@pytest.mark.parametrize("content", ["[1]", "{", "9" * 5000, "[" * 100_000])
def test_damaged_json_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    assert read_json(tmp_path / "a.json") is None
    assert read_json(tmp_path / "b.json") is None


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes with a name")
def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="a device or a pipe"):
        check_regular(tmp_path / "pipe")
    assert read_json(tmp_path / "pipe") is None
