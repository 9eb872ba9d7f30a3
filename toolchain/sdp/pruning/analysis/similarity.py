"""Similarity of two networks' representations and predictions for the same rows."""

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
