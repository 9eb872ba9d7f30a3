"""Signal-to-noise ratios in decibels."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor


def decibels(signal: float, noise: float) -> float | None:
    """10 log10(signal / noise) of two energies; None where either is zero: JSON knows no infinity."""
    return 10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None


def split_energy(weight: Tensor, mask: Tensor) -> tuple[float, float]:
    """Energy of what a mask keeps and of what it prunes: |M * W|_F^2 and |(1 - M) * W|_F^2.

    Args:
        weight: any shape, as it is just before the mask is applied.
        mask: bool, the same shape; True is kept.
    """
    squares = weight.detach().double().square()
    kept = squares * mask
    return float(kept.sum()), float((squares - kept).sum())


def output_snr(teacher: NDArray[np.floating], student: NDArray[np.floating]) -> float | None:
    """How loud the teacher's representation is over what pruning changed: 10 log10(|z_T|^2 / |z_T - z_S|^2).

    Args:
        teacher: z_T, [N, d].
        student: z_S, [N, d].

    Returns:
        decibels; None where the two are equal or the teacher's is zero.
    """
    signal = teacher.astype(np.float64)
    return decibels(float(np.sum(signal**2)), float(np.sum((signal - student) ** 2)))
