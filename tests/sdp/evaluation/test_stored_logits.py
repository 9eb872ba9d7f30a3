"""Answers that are kept on disk: whole or none, the same after reading."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sdp.evaluation.stored_logits import Answers, Kept
from sdp.pipeline.files import read_arrays, write_arrays


@pytest.fixture
def kept(tmp_path: Path) -> Kept:
    return Kept(tmp_path / "checkpoints" / "logits.safetensors", 0)


def test_rows_of_any_length_come_back_by_number(kept: Kept) -> None:
    expected = {number: np.full((words, 3), number, np.float32) for number, words in ((4, 1), (0, 2), (2, 0), (3, 5))}
    answers = Answers(5, kept)
    answers.add({4: expected[4], 0: expected[0]})
    answers.add({2: expected[2], 3: expected[3]})
    found = Answers(5, kept).of_row
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[number], logits) for number, logits in expected.items())


def test_nothing_is_written_before_its_time(tmp_path: Path) -> None:
    answers = Answers(1, Kept(tmp_path / "logits.safetensors", 3600))
    answers.add({0: np.zeros((1, 2), np.float32)})
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
def test_a_damaged_file_counts_as_none(damage: dict[str, np.ndarray] | None, kept: Kept) -> None:
    answers = Answers(5, kept)
    answers.add({row: np.zeros((1, 2), np.float32) for row in (0, 1)})
    assert Answers(5, kept).of_row.keys() == {0, 1}
    if damage is None:
        content = kept.path.read_bytes()
        kept.path.write_bytes(content[:-1] + b"?")
    else:
        write_arrays(kept.path, {**read_arrays(kept.path), **damage})
    assert Answers(5, kept).of_row == {}
