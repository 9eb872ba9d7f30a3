"""How sure a score is: bootstrap intervals and paired tests over the rows of one split."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sdp.evaluation.metrics import Array, score_predictions
from sdp.recipe.sections import MetricName

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """The three numbers by name."""
        return asdict(self)


@dataclass(frozen=True)
class PairedTest:
    """A test of "both models are equally good" on the same rows.

    Attributes:
        name: "mcnemar" or "paired bootstrap".
        p: two-sided p-value.
        only_first: rows that only the first model has right (McNemar only).
        only_second: rows that only the second has right (McNemar only).
    """

    name: str
    p: float
    only_first: int | None = None
    only_second: int | None = None


def resampled_scores(
    metric: MetricName, labels: Array, predicted: list[Array], resamples: int, seed: int
) -> NDArray[np.float64]:
    """Score several models on the same bootstrap resamples of the rows.

    Args:
        metric: name of the metric.
        labels: [N].
        predicted: for each of K models its predictions, [N].
        resamples: number R of resamples, each N rows drawn with replacement.
        seed: of the draws.

    Returns:
        [R, K].
    """
    generator = np.random.default_rng(seed)
    rows = len(labels)
    correct = [(labels == p).astype(np.float32) for p in predicted] if metric == "accuracy" else None
    scores = np.empty((resamples, len(predicted)))
    for draw in range(resamples):
        chosen = generator.integers(0, rows, rows)
        if correct is not None:
            scores[draw] = [float(c[chosen].mean()) for c in correct]
        else:
            scores[draw] = [score_predictions(metric, labels[chosen], p[chosen]) for p in predicted]
    return scores


def interval(value: float, resampled: NDArray[np.float64]) -> Estimate:
    """The percentile bootstrap interval of a value (Efron and Tibshirani 1993, chapter 13)."""
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Estimate(value, float(low), float(high))


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
    return PairedTest("mcnemar", p, only_first, only_second)


def paired_bootstrap_test(differences: NDArray[np.float64]) -> PairedTest:
    """Two-sided p-value from R bootstrapped differences: twice the smaller share on one side of zero."""
    resamples = len(differences)
    below, above = np.sum(differences <= 0), np.sum(differences >= 0)
    return PairedTest("paired bootstrap", float(min(1.0, 2 * (min(below, above) + 1) / (resamples + 1))))
