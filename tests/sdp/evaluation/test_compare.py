"""Comparisons: signs, languages, and the list of rows that flipped."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdp.data.rows import Split
from sdp.evaluation import compare as comparing
from sdp.evaluation.flips import write_flips

TEXTS = (("plain",), ('with, comma and "quotes"',), ("two\nlines",), ("日本語",))


def split(labels: list, languages: tuple[str, ...] = ("", "", "", "")) -> Split:
    return Split("test", TEXTS, np.array(labels), languages)


def logits(classes: list[int]) -> np.ndarray:
    return np.eye(2, dtype=np.float32)[classes] * 4


def compare(*arguments: Any, **settings: Any) -> dict[str, Any]:
    """The comparison as it is stored."""
    return comparing.compare(*arguments, **settings).to_json()


def test_a_loss_is_a_positive_drop() -> None:
    dense, pruned = logits([0, 1, 0, 1]), logits([0, 1, 1, 0])
    record = compare("accuracy", split([0, 1, 0, 1]), ("dense", dense), ("pruned", pruned), resamples=100, seed=0)
    assert record["models"]["dense"]["value"] == 1
    assert record["models"]["pruned"]["value"] == 0.5
    assert record["drop"]["value"] == 0.5
    assert record["drop"]["low"] <= 0.5 <= record["drop"]["high"]
    assert (record["test"]["only_first"], record["test"]["only_second"]) == (2, 0)
    assert record["flips"] == 2
    assert (record["parts"], record["averages"], record["also"]) == ({}, {}, {})


def test_languages_are_distinguished() -> None:
    dense, pruned = logits([0, 1, 0, 1]), logits([0, 1, 1, 0])
    record = compare(
        "accuracy",
        split([0, 1, 0, 1], ("en", "en", "de", "de")),
        ("dense", dense),
        ("pruned", pruned),
        resamples=100,
        seed=0,
    )
    assert {language: part["drop"]["value"] for language, part in record["parts"].items()} == {"de": 1, "en": 0}
    assert record["parts"]["de"]["rows"] == 2


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


def parallel(languages: list[str], rows: int, right: dict[str, np.ndarray]) -> tuple[Split, np.ndarray, np.ndarray]:
    """The same rows in several languages, all right for the dense model, and for the pruned one where told."""
    parts = tuple(language for language in languages for _ in range(rows))
    labels = np.zeros(len(parts), dtype=np.int64)
    made = Split("test", (("t",),) * len(parts), labels, parts)
    pruned = np.concatenate([1 - right[language].astype(int) for language in languages])
    return made, logits(labels.tolist()), logits(pruned.tolist())


def test_the_score_of_parts_is_their_mean_and_the_zero_shot_average_leaves_training_out() -> None:
    right = {"en": np.arange(40) < 40, "de": np.arange(40) < 30, "sw": np.arange(40) < 10}
    made, dense, pruned = parallel(["en", "de", "sw"], 40, right)
    record = compare(
        "accuracy", made, ("dense", dense), ("pruned", pruned), resamples=400, seed=0, part="language", trained=("en",)
    )
    assert list(record["parts"]) == ["en", "de", "sw"]
    assert record["models"]["pruned"]["value"] == pytest.approx((1 + 0.75 + 0.25) / 3)
    assert record["mean_over"] == "3 languages"
    zero = record["averages"]["zero-shot"]
    assert zero["over"] == ("de", "sw")
    assert zero["drop"]["value"] == pytest.approx((0.25 + 0.75) / 2)
    assert zero["drop"]["low"] < zero["drop"]["value"] < zero["drop"]["high"]
    assert record["averages"]["all"]["drop"] == record["drop"]
    assert record["flips"] == 10 + 30 == sum(part["flips"] for part in record["parts"].values())
    assert record["parts"]["de"]["test"]["name"] == "mcnemar"
    assert record["test"]["name"] == "paired bootstrap"


def test_the_low_end_of_a_part_allows_for_the_other_parts() -> None:
    rng = np.random.default_rng(0)
    right = {language: rng.random(100) < 0.8 for language in ("en", "de", "sw", "fr", "ru")}
    made, dense, pruned = parallel(list(right), 100, right)
    record = compare("accuracy", made, ("dense", dense), ("pruned", pruned), resamples=1000, seed=0, part="language")
    for part in record["parts"].values():
        joint, own = part["drop_of_all"], part["drop"]
        assert joint["low"] < own["low"]
        assert (joint["value"], joint["high"]) == (own["value"], own["high"])
    assert "drop_of_all" not in record


def test_parallel_rows_are_drawn_together() -> None:
    """A copy of a language adds no rows to be surer with; another language of as many other rows does."""
    once = np.arange(100) % 2 == 0
    spreads = []
    for second in (once, ~once):
        made, dense, pruned = parallel(["de", "fr"], 100, {"de": once, "fr": second})
        drop = compare("accuracy", made, ("dense", dense), ("pruned", pruned), resamples=800, seed=0)["drop"]
        spreads.append(drop["high"] - drop["low"])
    assert spreads[0] == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 100), rel=0.1)
    assert spreads[1] == pytest.approx(0, abs=1e-9), "each draw has the opposite rows"


def test_rows_that_are_not_parallel_are_drawn_apart() -> None:
    parts = ("de",) * 100 + ("fr",) * 101
    labels = np.zeros(201, dtype=np.int64)
    made = Split("test", (("t",),) * 201, labels, parts)
    pruned = logits((np.arange(201) % 2).tolist())
    record = compare("accuracy", made, ("dense", logits([0] * 201)), ("pruned", pruned), resamples=800, seed=0)
    drop = record["drop"]
    assert drop["high"] - drop["low"] == pytest.approx(2 * 1.96 * np.sqrt(0.25 / 200), rel=0.1)


def test_subsets_have_no_zero_shot_average_and_other_metrics_stand_beside() -> None:
    parts = ("matched",) * 4 + ("mismatched",) * 4
    made = Split("dev", TEXTS * 2, np.array([0, 1, 0, 1] * 2), parts)
    dense, pruned = logits([0, 1, 0, 1] * 2), logits([0, 1, 1, 1, 0, 1, 0, 1])
    record = compare(
        "f1", made, ("dense", dense), ("pruned", pruned), resamples=100, seed=0, also=("accuracy",), part="subset"
    )
    assert set(record["averages"]) == {"all"}
    assert record["parts"]["matched"]["drop"]["value"] == pytest.approx(1 - 0.8)
    assert record["parts"]["matched"]["also"]["accuracy"]["drop"]["value"] == 0.25
    assert record["also"]["accuracy"]["models"]["pruned"]["value"] == pytest.approx((0.75 + 1) / 2)


def test_words_whose_tag_changed_are_listed_with_their_sentence(tmp_path: Path) -> None:
    words = (("a", "film"), ("lost", "in", "Rome"))
    made = Split("test", words, np.array([0, 1, 0, 0, 1]), ("en", "de"), tags=("O", "B-LOC"))
    dense, pruned = logits([0, 1, 0, 0, 1]), logits([0, 0, 0, 0, 0])
    dense[1] = pruned[1] = np.nan
    assert write_flips(tmp_path / "flips.csv", made, ("O", "B-LOC"), dense, pruned) == 1
    with (tmp_path / "flips.csv").open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["row"], row["word"], row["part"], row["text_word"], row["text"]) == (
        "1",
        "2",
        "de",
        "Rome",
        "lost in Rome",
    )
    assert (row["label"], row["dense"], row["pruned"], row["change"]) == ("B-LOC", "B-LOC", "O", "lost")


def test_a_tagger_predicts_words_and_one_language_is_one() -> None:
    words = (("a", "film"), ("lost", "in", "Rome"))
    made = Split("test", words, np.array([0, 1, 0, 0, 1]), ("de", "de"), tags=("O", "B-LOC"))
    dense, pruned = logits([0, 1, 0, 0, 1]), logits([1, 0, 1, 1, 0])
    record = compare(
        "entity-f1", made, ("dense", dense), ("pruned", pruned), resamples=100, seed=0, part="language", trained=("en",)
    )
    assert (record["rows"], record["predictions"], record["flips"]) == (2, 5, 5)
    assert record["mean_over"] == "1 language"
    assert list(record["averages"]) == ["all", "zero-shot"]
