"""The best set of labels to give every row of a multi-label task: what a model must be better than."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sdp.recipe.benchmark_tasks import MetricName


def constant_set(metric: MetricName, labels: NDArray[np.generic]) -> list[int]:
    """Return the labels that score best where every row gets the same ones.

    accuracy: the most frequent set. macro-f1: all labels that occur; with it the F1 of a label that n of N rows have is
    2 n / (N + n), without it 0. micro-f1: of the k most frequent labels, which n_1 >= n_2 >= ... rows have, the k with
    the largest 2 (n_1 + ... + n_k) / (k N + n_1 + n_2 + ...).

    Args:
        metric: accuracy, micro-f1 or macro-f1.
        labels: which of C labels each row has, 1 or 0, [N, C].
    """
    has = labels.astype(bool)
    counts = has.sum(axis=0)
    if metric == "accuracy":
        sets, times = np.unique(has, axis=0, return_counts=True)
        return np.flatnonzero(sets[int(times.argmax())]).tolist()
    if metric == "macro-f1":
        return np.flatnonzero(counts).tolist()
    order = np.argsort(-counts, kind="stable")
    sizes = np.arange(1, len(counts) + 1)
    scores = 2 * np.cumsum(counts[order]) / np.maximum(1, sizes * len(labels) + counts.sum())
    return sorted(order[: int(scores.argmax()) + 1].tolist())
