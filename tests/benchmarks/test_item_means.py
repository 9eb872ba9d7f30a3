"""benchmarks/studies/item_means.py, against loops and against every possible resample."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from item_means import average, drops, mean_intervals, zero_shot, zero_shot_gap

LANGUAGES = ("de", "en", "zh")
RIGHT = arrays(np.float64, (2, 3, 5), elements=st.sampled_from([0.0, 1.0]))


def by_language(right: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    return dict(zip(LANGUAGES, right, strict=True))


def naive_gap(dense: NDArray[np.float64], pruned: NDArray[np.float64], chosen: list[int]) -> float:
    """Accuracies of the drawn rows by language, then drops, then their average without English, then the difference."""
    drop = {}
    for place, language in enumerate(LANGUAGES):
        right = [sum(model[place][item] for item in chosen) / len(chosen) for model in (dense, pruned)]
        drop[language] = right[0] - right[1]
    return float((drop["de"] + drop["zh"]) / 2 - drop["en"])


@given(RIGHT)
def test_the_gap_of_a_resample_is_the_one_computed_from_its_accuracies(models: NDArray[np.float64]) -> None:
    dense, pruned = models
    gap = zero_shot_gap(by_language(dense), by_language(pruned), "en")
    for chosen in ([0, 1, 2, 3, 4], [0, 0, 3, 3, 3], [2, 2, 2, 2, 2]):
        assert np.mean(gap[chosen]) == pytest.approx(naive_gap(dense, pruned, chosen), abs=1e-12)


def test_the_interval_is_the_loop_over_the_same_draws() -> None:
    dense, pruned = (np.random.default_rng(1).random((2, 3, 40)) < [[[0.9]], [[0.7]]]).astype(np.float64)
    gap = zero_shot_gap(by_language(dense), by_language(pruned), "en")
    found = mean_intervals({"other": dense[0], "gap": gap}, resamples=300, seed=7)["gap"]
    generator = np.random.default_rng(7)
    draws = [naive_gap(dense, pruned, generator.integers(0, 40, 40).tolist()) for _ in range(300)]
    assert found.value == pytest.approx(naive_gap(dense, pruned, list(range(40))))
    assert [found.low, found.high] == pytest.approx(np.quantile(draws, [0.025, 0.975]).tolist())


def test_the_interval_is_that_of_all_resamples() -> None:
    """Of five items there are 5^5 resamples: the exact bootstrap distribution, whose quantiles many draws approach."""
    dense = np.array([[1, 1, 1, 0, 1], [1, 1, 0, 1, 1], [1, 0, 1, 1, 0]], dtype=np.float64)
    pruned = np.array([[0, 1, 0, 0, 1], [1, 1, 0, 0, 1], [0, 0, 1, 0, 1]], dtype=np.float64)
    every = [naive_gap(dense, pruned, list(chosen)) for chosen in product(range(5), repeat=5)]
    gap = zero_shot_gap(by_language(dense), by_language(pruned), "en")
    found = mean_intervals({"gap": gap}, resamples=20_000)["gap"]
    assert [found.low, found.high] == pytest.approx(np.quantile(every, [0.025, 0.975]).tolist(), abs=0.11)
    # The variance has a closed form, too.
    assert np.var(every) == pytest.approx(np.var(gap) / 5)


def test_translations_are_drawn_together() -> None:
    """Where every language loses the same items, no resample has a gap; drawn one by one they would differ."""
    right = np.ones((3, 60))
    pruned = right.copy()
    pruned[:, ::3] = 0
    gap = mean_intervals({"gap": zero_shot_gap(by_language(right), by_language(pruned), "en")})["gap"]
    assert (gap.value, gap.low, gap.high) == (0, 0, 0)


@given(RIGHT)
def test_averages_and_drops_are_those_of_loops(models: NDArray[np.float64]) -> None:
    dense, pruned = (by_language(model) for model in models)
    assert zero_shot(LANGUAGES, "en") == ("de", "zh")
    for item in range(5):
        assert average(dense, ("de", "zh"))[item] == (dense["de"][item] + dense["zh"][item]) / 2
        assert all(drops(dense, pruned)[name][item] == dense[name][item] - pruned[name][item] for name in LANGUAGES)


def test_an_undefined_column_is_an_error() -> None:
    with pytest.raises(ValueError, match="en: it is undefined"):
        mean_intervals({"en": np.array([1.0, np.nan])}, resamples=100)
