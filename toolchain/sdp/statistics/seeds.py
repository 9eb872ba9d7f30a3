"""The arithmetic of a study's table: means over seeds, differences paired by seed, correction for many arms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from sdp.statistics.pairs import pair_by_key
from sdp_onnx.bench.interval import LEVEL, SAME, Interval


@dataclass(frozen=True)
class Summary:
    """Values of n seeds: mean and standard deviation (n - 1 in the divisor; None for one value)."""

    n: int
    mean: float
    sd: float | None


@dataclass(frozen=True)
class PairedDifference:
    """The difference of two arms over n seeds.

    Attributes:
        n: pairs.
        mean: of the n differences.
        interval: the mean with its t interval; None for one pair.
        p: of the paired t-test; None where it is undefined.
    """

    n: int
    mean: float
    interval: Interval | None
    p: float | None


def summarize(values: Sequence[float]) -> Summary:
    """Mean and standard deviation of at least one value."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Summary(len(values), float(np.mean(values)), sd)


def paired_difference(values: Mapping[int, float], baseline: Mapping[int, float]) -> PairedDifference | None:
    """Compare two arms over the seeds that both have: mean of values - baseline, t interval, paired t-test.

    Student 1908.

    One pair has a mean only. Differences that are all equal have no variance to test with: all zero is p = 1, any
    other number has no p, and the interval is that number in both cases.

    Args:
        values: seed -> score.
        baseline: the same of the other arm.

    Returns:
        the difference; None where no seed is in both.
    """
    pairs = np.array(pair_by_key(values, baseline), dtype=np.float64)
    if not len(pairs):
        return None
    differences = pairs[:, 0] - pairs[:, 1]
    mean = float(np.mean(differences))
    if len(differences) == 1:
        return PairedDifference(1, mean, None, None)
    if float(np.ptp(differences)) <= SAME:
        p = 1.0 if abs(mean) <= SAME else None
        return PairedDifference(len(differences), mean, Interval.exact(mean), p)
    test = stats.ttest_rel(pairs[:, 0], pairs[:, 1])
    ends = test.confidence_interval(LEVEL)
    interval = Interval(mean, float(ends.low), float(ends.high))
    return PairedDifference(len(differences), mean, interval, float(test.pvalue))


def mean_interval(values: Sequence[float]) -> Interval | None:
    """The 95 % t interval of a mean; None for fewer than two values."""
    summary = summarize(values)
    if summary.sd is None:
        return None
    half = float(stats.t.ppf((1 + LEVEL) / 2, summary.n - 1)) * summary.sd / summary.n**0.5
    return Interval(summary.mean, summary.mean - half, summary.mean + half)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Holm's step-down correction (Holm 1979): p of rank k among m is multiplied by m - k + 1, and never falls.

    Args:
        p_values: of a family of tests; None stands for a test that is not defined, and does not count.

    Returns:
        the corrected values in the same order.
    """
    defined = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, place) in enumerate(defined):
        largest = max(largest, min(1.0, p * (len(defined) - rank)))
        corrected[place] = largest
    return corrected
