"""Representations compared: how well they separate classes, and how similar two networks represent the same rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def unit_rows(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    """Divide each row by its length, in float64; a zero row stays zero.

    Args:
        rows: [N, d].
    """
    exact = rows.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    unit: NDArray[np.float64] = np.divide(exact, lengths, out=np.zeros_like(exact), where=lengths > 0)
    return unit


def linear_cka(first: NDArray[np.floating], second: NDArray[np.floating]) -> float | None:
    """Linear centred kernel alignment of two representations of the same rows (Kornblith et al., arXiv 1905.00414).

        CKA = |Y^T X|_F^2 / (|X^T X|_F |Y^T Y|_F),  the columns of X and Y centred

    Args:
        first: X, [N, d].
        second: Y, [N, e].

    Returns:
        a number in [0, 1]; None where one of the two is the same for all rows.
    """
    x, y = (rows.astype(np.float64) - rows.mean(axis=0, dtype=np.float64) for rows in (first, second))
    scale = float(np.linalg.norm(x.T @ x) * np.linalg.norm(y.T @ y))
    return float(np.linalg.norm(y.T @ x) ** 2 / scale) if scale > 0 else None


def mean_cosine(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Mean over rows of the cosine of the two representations of a row; a zero row counts as 0.

    Args:
        first: [N, d].
        second: [N, d].
    """
    return float(np.mean(np.sum(unit_rows(first) * unit_rows(second), axis=1)))


def agreement(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Share of rows on which two classifiers predict the same class.

    Args:
        first: logits, [N, C].
        second: logits, [N, C].
    """
    return float(np.mean(first.argmax(axis=1) == second.argmax(axis=1)))


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
