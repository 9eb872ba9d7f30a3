"""Recall and F1 by class, against scikit-learn, and their intervals against a bootstrap written out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support

from sdp.data.rows import Split
from sdp.evaluation.by_class import by_class

NAMES = ("dense", "exported")


def split_of(labels: np.ndarray, parts: tuple[str, ...] | None = None, lengths: list[int] | None = None) -> Split:
    if lengths is None:
        return Split("test", (("x",),) * len(labels), labels, parts or ("",) * len(labels))
    texts = tuple(("w",) * length for length in lengths)
    return Split("test", texts, labels, parts or ("",) * len(texts), tags=("A", "B", "C"))


@given(st.integers(2, 60), st.integers(2, 4), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_values_are_scikit_learns(rows: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels, first, second = rng.integers(0, classes, (3, rows))
    second[0] = -1
    names = [f"class {i}" for i in range(classes)]
    found = by_class(split_of(labels), names, NAMES, (first, second), resamples=100, seed=0)
    records = [own.to_json() for own in found]
    assert [record["class"] for record in records] == [names[i] for i in range(classes) if i in labels]
    for model, answers in zip(NAMES, (first, second), strict=True):
        _, recall, f1, support = precision_recall_fscore_support(
            labels, answers, labels=range(classes), zero_division=0
        )
        for record in records:
            i = names.index(record["class"])
            assert record["rows"] == support[i]
            assert record["recall"][model]["value"] == pytest.approx(recall[i])
            assert record["f1"][model]["value"] == pytest.approx(f1[i])
    for record in records:
        for measure in ("recall", "f1"):
            values = record[measure]
            drop = values["dense"]["value"] - values["exported"]["value"]
            assert values["drop"]["value"] == pytest.approx(drop)
            assert values["drop"]["low"] <= values["drop"]["high"]


def bootstrap(labels: np.ndarray, answers: tuple[np.ndarray, ...], units: list[np.ndarray], kind: int) -> np.ndarray:
    """Differences of one class's recall over resamples of units, written out."""
    rng, drops = np.random.default_rng(1), []
    for _ in range(2000):
        chosen = np.concatenate([units[i] for i in rng.integers(0, len(units), len(units))])
        right = [np.mean((p[chosen] == kind)[labels[chosen] == kind]) for p in answers]
        drops.append(right[0] - right[1])
    return np.quantile(drops, [0.025, 0.975])


@pytest.mark.parametrize("kind", ["rows", "sentences", "translations"])
def test_intervals_draw_what_was_sampled(kind: str) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    answers = tuple(np.where(rng.random(300) < share, labels, rng.integers(0, 3, 300)) for share in (0.8, 0.6))
    if kind == "rows":
        split, units = split_of(labels), [np.array([i]) for i in range(300)]
    elif kind == "sentences":
        # Words of a sentence are right or wrong together.
        answers = tuple(np.repeat(p[::5], 5) for p in answers)
        labels = np.repeat(labels[::5], 5)
        split, units = split_of(labels, lengths=[5] * 60), list(np.arange(300).reshape(60, 5))
    else:
        # One row in three languages.
        labels, answers = np.tile(labels[:100], 3), tuple(np.tile(p[:100], 3) for p in answers)
        parts = ("en",) * 100 + ("de",) * 100 + ("sw",) * 100
        split, units = split_of(labels, parts), list(np.arange(300).reshape(3, 100).T)
    record = by_class(split, ["A", "B", "C"], NAMES, answers, resamples=2000, seed=0)[1].to_json()
    drop = record["recall"]["drop"]
    low, high = bootstrap(labels, answers, units, 1)
    assert (drop["low"], drop["high"]) == (pytest.approx(low, abs=0.03), pytest.approx(high, abs=0.03))
    if kind != "rows":
        naive = bootstrap(labels, answers, [np.array([i]) for i in range(300)], 1)
        assert high - low > 1.4 * (naive[1] - naive[0])
