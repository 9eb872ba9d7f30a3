"""What the rows of a task are, in numbers."""

from __future__ import annotations

import numpy as np
import pytest

from sdp.data.profile import Overlap, SplitProfile, profile_data
from sdp.data.rows import Split, SplitName, TaskData


def split(
    name: SplitName,
    rows: list[tuple[str, int]],
    parts: tuple[str, ...] | None = None,
) -> Split:
    labels = np.array([label for _, label in rows], dtype=np.int64)
    return Split(name, tuple((text,) for text, _ in rows), labels, parts or ("",) * len(rows))


TRAIN = [("good film", 1), ("Good  film", 0), ("bad", 0), ("a much longer text", 1), ("bad", 0)]
DEV = [("GOOD FILM", 1), ("bad ", 1), ("new", 0)]


@pytest.fixture(scope="module")
def found() -> dict[SplitName, SplitProfile]:
    test = split("test", [("new", 1), ("bad", 1), ("other", 1)], ("de", "de", "en"))
    return profile_data(TaskData(split("train", TRAIN), split("dev", DEV), test, ("neg", "pos"))).splits


def test_rows_and_classes(found: dict[SplitName, SplitProfile]) -> None:
    assert list(found) == ["train", "dev", "test"]
    assert found["train"].classes == {"neg": 3, "pos": 2}
    assert found["dev"].classes == {"neg": 1, "pos": 2}
    assert found["test"].parts == {"de": 2, "en": 1}
    assert (found["train"].longest, found["train"].longest_row) == (18, 4)


def test_texts_are_compared_without_case_and_white_space(found: dict[SplitName, SplitProfile]) -> None:
    assert (found["train"].repeated, found["train"].contradictory) == (2, 2)
    assert found["dev"].also_in == {"train": Overlap(2, 1)}
    assert found["test"].also_in == {"train": Overlap(1, 1), "dev": Overlap(2, 1)}


def test_parts_in_which_no_model_differs_from_another(found: dict[SplitName, SplitProfile]) -> None:
    assert found["train"].constant == found["dev"].constant == ()
    assert found["test"].constant == ("de", "en")


def tagged(name: SplitName, rows: list[tuple[str, list[int]]], tags: tuple[str, ...]) -> Split:
    labels = np.array([tag for _, own in rows for tag in own], dtype=np.int64)
    return Split(name, tuple(tuple(text.split()) for text, _ in rows), labels, ("",) * len(rows), tags=tags)


def test_tags_are_counted_by_word_and_a_split_without_entities_is_found() -> None:
    tags = ("B-X", "O")
    train = tagged("train", [("a b", [0, 1]), ("c", [0]), ("A B", [1, 1])], tags)
    dev = tagged("dev", [("a b", [1, 1]), ("c", [1])], tags)
    found = profile_data(TaskData(train, dev, None, tags)).splits
    assert found["train"].classes == {"B-X": 2, "O": 3}
    assert (found["train"].constant, found["dev"].constant) == ((), ("",))
    assert found["train"].contradictory == 2
    assert found["dev"].also_in == {"train": Overlap(2, 1)}
    whole = tagged("dev", [("a b", [0, 0])], tags)
    assert profile_data(TaskData(train, whole, None, tags)).splits["dev"].constant == ()


def test_numbers_and_lists() -> None:
    values = np.array([0.0, 2.0, 4.0], dtype=np.float32)
    rows = (("a", "b"), ("a b", ""), ("a", "b"))
    train = Split("train", rows, values, ("",) * 3, np.array([0, 0, 1]))
    dev = Split("dev", rows[:1], values[:1], ("",), np.array([0]))
    found = profile_data(TaskData(train, dev, None, ())).splits
    assert found["train"].numbers == (0.0, 2.0, 4.0)
    assert (found["train"].classes, found["train"].lists) == ({}, 2)
    # Two columns are not one text with a space.
    assert (found["train"].repeated, found["train"].contradictory) == (1, 2)
    assert found["dev"].constant == ("",)
