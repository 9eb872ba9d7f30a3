"""Intervals and tests against closed forms and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from sdp.data.rows import Split
from sdp.statistics.intervals import (
    bootstrap_interval,
    joint_lows,
    mcnemar,
    paired_bootstrap_test,
    resampled_scores,
    wilson,
)


def rows(labels: np.ndarray) -> Split:
    return Split("dev", (("text",),) * len(labels), labels, ("",) * len(labels))


def test_the_interval_of_an_accuracy_is_that_of_a_proportion() -> None:
    labels = np.zeros(1000, dtype=int)
    predicted = np.array([0] * 800 + [1] * 200)
    draws = resampled_scores("accuracy", rows(labels), [predicted], 4000, seed=1)
    estimate = bootstrap_interval(0.8, draws[:, 0])
    half = 1.96 * np.sqrt(0.8 * 0.2 / 1000)
    assert (estimate.low, estimate.high) == pytest.approx((0.8 - half, 0.8 + half), abs=0.003)


def test_the_interval_agrees_with_scipys_bootstrap() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 300)
    predicted = np.where(generator.random(300) < 0.8, labels, 1 - labels)
    ours = bootstrap_interval(0.0, resampled_scores("f1", rows(labels), [predicted], 1500, seed=2)[:, 0])

    def f1(y: np.ndarray, p: np.ndarray) -> float:
        return 2 * np.sum((y == 1) & (p == 1)) / (np.sum(y == 1) + np.sum(p == 1))

    theirs = stats.bootstrap(
        (labels, predicted), f1, paired=True, vectorized=False, n_resamples=1500, method="percentile", rng=generator
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.012)


def test_models_are_scored_on_the_same_draws() -> None:
    labels = np.random.default_rng(3).integers(0, 2, 50)
    draws = resampled_scores("accuracy", rows(labels), [labels, 1 - labels, labels], 200, seed=3)
    assert np.all(draws[:, 0] - draws[:, 2] == 0)
    assert np.allclose(draws[:, 0] + draws[:, 1], 1)


def test_mcnemar_is_the_binomial_test_of_the_discordant_rows() -> None:
    first = np.array([True] * 10 + [False] * 2 + [True] * 50)
    second = np.array([False] * 10 + [True] * 2 + [True] * 50)
    test = mcnemar(first, second)
    assert (test.only_first, test.only_second) == (10, 2)
    tail = sum(stats.binom.pmf(k, 12, 0.5) for k in (0, 1, 2))
    assert test.p == pytest.approx(2 * tail)
    assert mcnemar(second, first).p == pytest.approx(test.p)


def test_equal_models_are_not_distinguished() -> None:
    same = np.array([True, False, True])
    assert mcnemar(same, same).p == 1
    assert paired_bootstrap_test(np.zeros(500)).p == 1


def test_a_difference_that_never_changes_sign_is_as_sure_as_the_draws_allow() -> None:
    assert paired_bootstrap_test(np.full(999, 0.1)).p == pytest.approx(2 / 1000)
    mixed = np.array([-0.1] * 100 + [0.1] * 899)
    assert paired_bootstrap_test(mixed).p == pytest.approx(2 * 101 / 1000)


@pytest.mark.parametrize(("right", "count"), [(0, 10), (7, 10), (400, 400), (399, 400), (5000, 9000)])
def test_a_share_has_scipys_wilson_interval(right: int, count: int) -> None:
    theirs = stats.binomtest(right, count).proportion_ci(method="wilson")
    found = wilson(right / count, count)
    assert (found.value, found.low, found.high) == pytest.approx((right / count, theirs.low, theirs.high))


@pytest.mark.parametrize("together", [False, True])
def test_low_ends_hold_for_all_parts_at_once(together: bool) -> None:
    """12 parts of equal truth, sampled apart or from the same rows: any end above it is an error, 2.5 % allowed."""
    rng = np.random.default_rng(11)
    wrong = alone = 0
    for _ in range(400):
        rows = rng.normal(0, 1, (200, 1 if together else 12)) + rng.normal(0, 0.1 if together else 0, (200, 12))
        means, errors = rows.mean(axis=0), rows.std(axis=0) / np.sqrt(200)
        correlation = np.corrcoef(rows.T)
        draws = means + errors * rng.multivariate_normal(np.zeros(12), correlation, 500, method="cholesky")
        lows = joint_lows(means, draws)
        wrong += bool((lows > 0).any())
        alone += bool((np.quantile(draws, 0.025, axis=0) > 0).any())
    # Three standard errors of the simulation are 2.3 %.
    assert wrong <= 400 * 0.048
    assert alone > (0 if together else 400 * 0.15)


def test_a_part_that_no_draw_moves_is_known_exactly() -> None:
    draws = np.stack([np.zeros(100), np.linspace(-1, 1, 100)], axis=1)
    lows = joint_lows(np.zeros(2), draws)
    assert lows[0] == 0
    assert lows[1] < -0.9


def test_rounding_is_no_difference() -> None:
    """Means over parts of equal models differ in the last bit: not on one side of zero, and nothing to divide by."""
    noise = np.where(np.arange(500) % 2, 1e-17, 3e-17)
    assert paired_bootstrap_test(noise).p == 1
    lows = joint_lows(np.zeros(2), np.stack([noise * 1e3, np.zeros(500)], axis=1))
    assert lows == pytest.approx([0, 0], abs=1e-12)
