"""The score of a task, from logits; the arithmetic is scikit-learn's and scipy's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics as sklearn_metrics

from sdp.recipe.sections import MetricName

Array = NDArray[np.generic]


def predictions(metric: MetricName, logits: NDArray[np.float32]) -> Array:
    """What a metric compares with the labels: class ids [N], or scores [N] for regression metrics.

    Args:
        metric: name of the metric.
        logits: [N, C]; C = 1 for regression.
    """
    if metric in ("pearson", "spearman"):
        return logits[:, 0].astype(np.float64)
    classes: Array = logits.argmax(axis=1)
    return classes


def score_predictions(metric: MetricName, labels: Array, predicted: Array) -> float:
    """Score predictions [N] against labels [N]; higher is better for every metric.

    f1 is that of class 1, macro-f1 the mean over classes, matthews the correlation of class ids. A correlation with a
    constant is undefined and counts as 0.
    """
    return float(_METRICS[metric](labels, predicted))


def score(metric: MetricName, labels: Array, logits: NDArray[np.float32]) -> float:
    """Score logits [N, C] against labels [N]."""
    return score_predictions(metric, labels, predictions(metric, logits))


def _correlation(function: Callable[[Array, Array], float]) -> Callable[[Array, Array], float]:
    def correlate(labels: Array, predicted: Array) -> float:
        if np.ptp(labels.astype(float)) == 0 or np.ptp(predicted.astype(float)) == 0:
            return 0.0
        return float(function(labels, predicted))

    return correlate


_METRICS: dict[MetricName, Callable[[Array, Array], float]] = {
    "accuracy": lambda labels, predicted: float(np.mean(labels == predicted)),
    "f1": lambda labels, predicted: sklearn_metrics.f1_score(labels, predicted, zero_division=0.0),
    "macro-f1": lambda labels, predicted: sklearn_metrics.f1_score(
        labels, predicted, average="macro", zero_division=0.0
    ),
    "matthews": sklearn_metrics.matthews_corrcoef,
    "pearson": _correlation(lambda labels, predicted: stats.pearsonr(labels, predicted).statistic),
    "spearman": _correlation(lambda labels, predicted: stats.spearmanr(labels, predicted).statistic),
}
