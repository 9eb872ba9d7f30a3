"""Texts on disk are the texts: every one, in order, however they were added and are asked for."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdp.data import rows_on_disk as module
from sdp.data.rows_on_disk import Chosen, TextFile

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
ROWS = st.lists(st.lists(TEXT, max_size=3).map(tuple), max_size=15)


@settings(deadline=None)
@given(ROWS, st.integers(1, 4), st.integers(1, 5), st.data())
def test_rows_come_back(rows: list[tuple[str, ...]], size: int, batch: int, data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BATCH", batch)
        file = TextFile()
        for start in range(0, len(rows), size):
            file.add(rows[start : start + size])
        stored = file.close()
        assert len(stored) == len(rows)
        assert list(stored) == rows
        assert [stored[place] for place in range(-len(rows), len(rows))] == rows + rows
        assert [stored[place] for place in np.arange(len(rows))] == rows
        cut = data.draw(st.slices(len(rows)))
        assert list(stored[cut]) == rows[cut]


@given(ROWS, st.data())
def test_chosen_rows(rows: list[tuple[str, ...]], data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=9)) if rows else []
    chosen = Chosen(rows, np.array(places, dtype=np.int64))
    assert list(chosen) == [rows[place] for place in places]
    assert len(chosen) == len(places)
    cut = data.draw(st.slices(len(places)))
    assert list(chosen[cut]) == [rows[place] for place in places][cut]


def test_nothing_is_left_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    file = TextFile()
    file.add([("a",)] * 3000)
    stored = file.close()
    assert not list(tmp_path.iterdir())
    assert stored[2999] == ("a",)


def test_a_full_disk_is_reported_with_the_folder(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the system refuses in the same way."""
    script = """
        from sdp.data.rows_on_disk import TextFile
        from sdp.pipeline.files import storage_error
        file = TextFile()
        try:
            for _ in range(100):
                file.add([("x" * 100,)] * 1000)
            file.close()
        except OSError as error:
            print(storage_error(error))
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"{tmp_path}: File too large" in run.stdout
