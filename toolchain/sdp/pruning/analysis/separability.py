"""Separability of classes in representations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sdp.pruning.analysis.similarity import unit_rows

# Below this, a scatter is rounding.
_NOTHING = 1e-12


def class_separability(rows: NDArray[np.floating], labels: NDArray[np.integer]) -> float | None:
    """Share of the cosine distance between rows that lies between classes, every class counting the same.

        R^2 = 1 - d_within / d_total
        d_within = mean over classes of the mean of 1 - cos(x, y) over the pairs of rows of the class
        d_total  = mean over pairs of classes, a class with itself among them, of the same mean over their rows

    (Kornblith et al., arXiv 2010.16402.) Pairs of a row with itself count. In closed form, with s_k the mean of the
    normalized rows of class k: d_within = 1 - mean |s_k|^2 and d_total = 1 - |mean s_k|^2.

    Args:
        rows: [N, d]. A zero row has cosine 0 with every row, itself too.
        labels: class of each row, [N].

    Returns:
        R^2, at most 1; None with fewer than two classes, or where all rows point the same way.
    """
    classes = np.unique(labels)
    if len(classes) < 2:
        return None
    unit = unit_rows(rows)
    means = np.stack([unit[labels == value].mean(axis=0) for value in classes])
    within = 1 - float(np.mean(np.sum(means**2, axis=1)))
    total = 1 - float(np.sum(means.mean(axis=0) ** 2))
    return 1 - within / total if total > _NOTHING else None


def fisher_ratio(rows: NDArray[np.floating], labels: NDArray[np.integer]) -> float | None:
    """Scatter between classes over scatter within them, tr(S_b) / tr(S_w).

        tr(S_b) = sum over classes of N_k |m_k - m|^2,  tr(S_w) = sum over rows of |x - m_class(x)|^2

    with m_k the mean of class k and m that of all rows (Fisher's discriminant, in its multi-class form by traces).

    Args:
        rows: [N, d].
        labels: class of each row, [N].

    Returns:
        the ratio; None with fewer than two classes, or where no class has any scatter.
    """
    classes, counts = np.unique(labels, return_counts=True)
    if len(classes) < 2:
        return None
    exact = rows.astype(np.float64)
    centred = exact - exact.mean(axis=0)
    means = np.stack([centred[labels == value].mean(axis=0) for value in classes])
    between = float(counts @ np.sum(means**2, axis=1))
    within = float(np.sum((centred - means[np.searchsorted(classes, labels)]) ** 2))
    return between / within if within > _NOTHING * (between + within) else None
