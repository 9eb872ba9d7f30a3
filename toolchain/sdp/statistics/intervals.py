"""Bootstrap intervals and paired tests over the rows of one split.

A resample in which a metric is undefined (see `metrics.why_undefined`) is left out of intervals and tests: they are
conditional on its being defined. Where fewer than `ENOUGH` of the resamples are left there is no interval, and the
result is `Undefined`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sdp.data.rows import Split
from sdp.evaluation.metrics import ANSWERS, Array, entity_counts, list_scores, same, score_predictions, why_undefined
from sdp.pipeline.artifacts.comparison import PairedTest
from sdp.recipe.benchmark_tasks import MetricName
from sdp_onnx.bench.interval import LEVEL, SAME, Interval, Undefined

ENOUGH = 0.05
"""Least share of resamples in which a metric must be defined for an interval."""
RATIOS: tuple[MetricName, ...] = ("accuracy", "f1", "micro-f1", "entity-f1", "ndcg", *ANSWERS)
"""Metrics that are one sum over units divided by another: what each unit adds is counted once for all resamples."""


def resampled_scores(
    metric: MetricName, split: Split, predicted: Sequence[Array], resamples: int, seed: int | tuple[int, ...]
) -> NDArray[np.float64]:
    """Score several models on the same bootstrap resamples of a split.

    What is drawn is what was sampled: rows; sentences with all their words for tagging; whole lists for ranking. Two
    splits with as many units, resampled with one seed, have the same units drawn.

    Args:
        metric: name of the metric.
        split: the rows.
        predicted: for each of K models its predictions, [N], for tagging [W], for multi-label [N, C].
        resamples: number R of resamples, each as many units as there are, drawn with replacement.
        seed: of the draws.

    Returns:
        [R, K]; NaN where the metric is undefined.
    """
    generator = np.random.default_rng(seed)
    scores = np.full((resamples, len(predicted)), np.nan)
    # Without lists that can be ordered there is nothing to draw.
    if why_undefined(metric, split):
        return scores
    if metric in RATIOS:
        terms = np.stack([ratio_terms(metric, split, p) for p in predicted], axis=1)
        units = len(terms)
        for draw in range(resamples):
            times = np.bincount(generator.integers(0, units, units), minlength=units)
            above, below, support = np.tensordot(times, terms, axes=1).T
            np.divide(above, below, out=scores[draw], where=support > 0)
        return scores
    for draw in range(resamples):
        chosen = generator.integers(0, len(split), len(split))
        drawn = replace(split, labels=split.labels[chosen])
        scores[draw] = [score_predictions(metric, drawn, p[chosen]) for p in predicted]
    return scores


def ratio_terms(metric: MetricName, split: Split, predicted: Array) -> NDArray[np.float64]:
    """Numerator and denominator that each unit adds to a metric of `RATIOS`, and support, [units, 3].

    accuracy: right, all. f1, micro-f1 and entity-f1: 2 true positives, predicted + true. ndcg: the list's NDCG, 1.
    Metrics of answers: the question's score, 1. The metric is undefined where the support (words, true positives and
    false negatives, lists) adds up to 0.
    """
    if metric == "entity-f1":
        right, found, true = entity_counts(split, predicted).T
        return np.stack([2 * right, found + true, true], axis=1)
    if metric == "ndcg":
        values = list_scores(split, predicted)
        return np.stack([values, np.ones_like(values), np.ones_like(values)], axis=1)
    if metric in ANSWERS:
        scores = predicted.astype(np.float64)
        return np.stack([scores, np.ones_like(scores), np.ones_like(scores)], axis=1)
    if metric == "f1":
        found, true = predicted == split.positive, (split.labels == split.positive).astype(float)
        return np.stack([2.0 * found * true, found + true, true], axis=1)
    if metric == "micro-f1":
        truth, answers = (own.astype(np.int64) for own in (split.labels, predicted))
        hits, found, true = ((own > 0).sum(axis=1) for own in (truth * answers, answers, truth))
        return np.stack([2.0 * hits, found + true, true], axis=1)
    right = same(predicted, split.labels).astype(float)
    units, owner = len(split), split.sentence_of_word
    words = np.bincount(owner, minlength=units)
    return np.stack([np.bincount(owner, right, units), words, words], axis=1)


def bootstrap_interval(value: float, resampled: NDArray[np.float64], reason: str = "") -> Interval | Undefined:
    """The percentile bootstrap interval of a value (Efron and Tibshirani 1993, chapter 13).

    Args:
        value: the estimate; NaN where it is undefined.
        resampled: its draws, [R]; NaN where it is undefined in one.
        reason: why the value is undefined, if it is.
    """
    if np.isnan(value):
        return Undefined(reason or "it is undefined on these rows")
    defined = resampled[~np.isnan(resampled)]
    if len(defined) < max(1, ENOUGH * len(resampled)):
        few = f"{len(resampled) - len(defined)} of {len(resampled)} resamples of the rows"
        return Undefined(f"it is {value:.3f}, but undefined in {few}: too few rows for an interval")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(value, float(low), float(high))


def joint_lows(values: NDArray[np.float64], resampled: NDArray[np.float64]) -> NDArray[np.float64]:
    """Low ends for K values that hold for all of them at once, each end at most that of its own interval.

    The bootstrap's max-t band (Romano and Wolf 2005): with se_k the standard deviation of value k's draws and c the
    97.5 % quantile, over draws, of the largest (draw - value) / se_k, the ends are value_k - c se_k.

    Args:
        values: [K].
        resampled: bootstrap draws of all values from the same resamples, [R, K]; NaN where one is undefined, which
            leaves the draw out for that value alone.

    Returns:
        [K]; NaN for a value that is NaN, or has no draw.
    """
    tail = (1 - LEVEL) / 2
    lows = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values) & ~np.isnan(resampled).all(axis=0))
    if not len(known):
        return lows
    values, resampled = values[known], resampled[:, known]
    errors = np.nanstd(resampled, axis=0)
    # A value that no draw moves is known exactly.
    above = np.divide(resampled - values, errors, out=np.zeros_like(resampled), where=errors > SAME)
    largest = np.max(np.where(np.isnan(above), -np.inf, above), axis=1)
    # Where no value is defined in a draw, it has no largest one.
    joint = values - np.quantile(largest[np.isfinite(largest)], 1 - tail) * errors
    lows[known] = np.minimum(joint, np.nanquantile(resampled, tail, axis=0))
    return lows


def wilson(share: float, count: int) -> Interval:
    """A share of `count` independent cases with its 95 % score interval (Wilson 1927).

    With z = 1.96: (share + z^2 / 2n +- z sqrt(share (1 - share) / n + z^2 / 4n^2)) / (1 + z^2 / n).
    """
    z = float(stats.norm.isf((1 - LEVEL) / 2))
    centre = share + z**2 / (2 * count)
    half = z * float(np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)))
    scale = 1 + z**2 / count
    return Interval(share, max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale))


def mcnemar(first_correct: NDArray[np.bool_], second_correct: NDArray[np.bool_]) -> PairedTest:
    """McNemar's exact test on the rows that only one of two models has right (McNemar 1947).

    Args:
        first_correct: whether the first model has a row right, [N].
        second_correct: the same for the second model, [N].
    """
    only_first = int(np.sum(first_correct & ~second_correct))
    only_second = int(np.sum(second_correct & ~first_correct))
    discordant = only_first + only_second
    p = float(stats.binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0
    return PairedTest(name="mcnemar", p=p, only_first=only_first, only_second=only_second)


def paired_bootstrap_test(differences: NDArray[np.float64]) -> PairedTest:
    """Two-sided p-value from R bootstrapped differences: twice the smaller share on one side of zero.

    NaN stands for a draw in which one is undefined; without any other there is no p.
    """
    defined = differences[~np.isnan(differences)]
    resamples = len(defined)
    if not resamples:
        return PairedTest(name="paired bootstrap", p=None, only_first=None, only_second=None)
    below, above = np.sum(defined <= SAME), np.sum(defined >= -SAME)
    p = float(min(1.0, 2 * (min(below, above) + 1) / (resamples + 1)))
    return PairedTest(name="paired bootstrap", p=p, only_first=None, only_second=None)
