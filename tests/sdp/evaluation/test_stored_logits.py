"""Logits in a file on disk: whole or none, the same after reading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sdp.evaluation.stored_logits import LogitsFile, RowLogits
from sdp.pipeline.files import read_arrays, write_arrays


@pytest.fixture
def logits_file(tmp_path: Path) -> LogitsFile:
    return LogitsFile(tmp_path / "checkpoints" / "logits.safetensors", 0)


def test_rows_of_any_length_come_back_by_number(logits_file: LogitsFile) -> None:
    expected = {number: np.full((words, 3), number, np.float32) for number, words in ((4, 1), (0, 2), (2, 0), (3, 5))}
    logits = RowLogits(5, logits_file)
    logits.add({4: expected[4], 0: expected[0]})
    logits.add({2: expected[2], 3: expected[3]})
    found = RowLogits(5, logits_file).of_row
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[number], logits) for number, logits in expected.items())


def test_nothing_is_written_before_its_time(tmp_path: Path) -> None:
    logits = RowLogits(1, LogitsFile(tmp_path / "logits.safetensors", 3600))
    logits.add({0: np.zeros((1, 2), np.float32)})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "damage",
    [
        {"rows": np.array([0, 9])},
        {"rows": np.array([0])},
        {"lengths": np.array([1, 2])},
        {"more": np.array([1])},
        None,
    ],
)
def test_a_damaged_file_counts_as_none(damage: dict[str, np.ndarray] | None, logits_file: LogitsFile) -> None:
    logits = RowLogits(5, logits_file)
    logits.add({row: np.zeros((1, 2), np.float32) for row in (0, 1)})
    assert RowLogits(5, logits_file).of_row.keys() == {0, 1}
    if damage is None:
        content = logits_file.path.read_bytes()
        logits_file.path.write_bytes(content[:-1] + b"?")
    else:
        write_arrays(logits_file.path, {**read_arrays(logits_file.path), **damage})
    assert RowLogits(5, logits_file).of_row == {}
