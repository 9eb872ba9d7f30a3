"""Comparisons: signs, languages, and the list of rows that flipped."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from sdp.data.rows import Split
from sdp.evaluation.compare import compare, write_flips

TEXTS = (("plain",), ('with, comma and "quotes"',), ("two\nlines",), ("日本語",))


def split(labels: list, languages: tuple[str, ...] = ("", "", "", "")) -> Split:
    return Split("test", TEXTS, np.array(labels), languages)


def logits(classes: list[int]) -> np.ndarray:
    return np.eye(2, dtype=np.float32)[classes] * 4


def test_a_loss_is_a_positive_drop() -> None:
    dense, pruned = logits([0, 1, 0, 1]), logits([0, 1, 1, 0])
    record = compare("accuracy", split([0, 1, 0, 1]), ("dense", dense), ("pruned", pruned), resamples=100, seed=0)
    assert record["models"]["dense"]["value"] == 1
    assert record["models"]["pruned"]["value"] == 0.5
    assert record["drop"]["value"] == 0.5
    assert record["drop"]["low"] <= 0.5 <= record["drop"]["high"]
    assert (record["test"]["only_first"], record["test"]["only_second"]) == (2, 0)
    assert record["flips"] == 2
    assert record["languages"] == {}


def test_languages_are_told_apart() -> None:
    dense, pruned = logits([0, 1, 0, 1]), logits([0, 1, 1, 0])
    record = compare(
        "accuracy",
        split([0, 1, 0, 1], ("en", "en", "de", "de")),
        ("dense", dense),
        ("pruned", pruned),
        resamples=100,
        seed=0,
    )
    assert {language: part["drop"]["value"] for language, part in record["languages"].items()} == {"de": 1, "en": 0}
    assert record["languages"]["de"]["rows"] == 2


def test_flips_are_listed_with_their_texts(tmp_path: Path) -> None:
    dense, pruned = logits([0, 1, 0, 0]), logits([0, 0, 1, 1])
    assert write_flips(tmp_path / "flips.csv", split([0, 1, 0, 1]), ("no", "yes"), dense, pruned) == 3
    with (tmp_path / "flips.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["text1"] for row in rows] == [text for (text,) in TEXTS[1:]]
    assert [row["change"] for row in rows] == ["lost", "lost", "gained"]
    assert (rows[0]["label"], rows[0]["dense"], rows[0]["pruned"]) == ("yes", "yes", "no")
    assert float(rows[0]["dense_probability"]) == pytest.approx(1 / (1 + np.exp(-4)), abs=1e-3)


def test_regression_lists_the_largest_moves(tmp_path: Path) -> None:
    dense = np.array([[1.0], [2.0], [3.0], [4.0]], dtype=np.float32)
    pruned = np.array([[1.0], [2.5], [3.1], [4.0]], dtype=np.float32)
    labels = [1.0, 2.0, 3.0, 4.0]
    record = compare("pearson", split(labels), ("dense", dense), ("pruned", pruned), resamples=100, seed=0)
    assert record["flips"] is None
    assert record["test"]["name"] == "paired bootstrap"
    write_flips(tmp_path / "flips.csv", split(labels), (), dense, pruned)
    with (tmp_path / "flips.csv").open(encoding="utf-8", newline="") as stream:
        assert [row["row"] for row in csv.DictReader(stream)][:2] == ["1", "2"]
